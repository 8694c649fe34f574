"""The code in the documents runs and prints the documented output."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import re
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest

from langchain_spec_thinking.policy.commands import Kind
from tests.unit_tests.library_output import collect_output

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "integrations/**/*.md", "benchmarks/**/*.md")
    for path in ROOT.glob(pattern)
)
NOTEBOOKS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/notebooks/*.ipynb"))
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>.+?) -->\n)?```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SAID = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


def read(page: str) -> str:
    """Return the text of a page, or the texts of a notebook without its code."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if page not in NOTEBOOKS:
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


async def check(text: str, folder: Path) -> int:
    """Run the code blocks of a page one after the other in one session, as a reader would.

    The output of a block must match the block of text that follows, or the comments: `print(1 + 1)  # 2`. A mark in the
    page's source names the reason why a block cannot run: `<!-- not run: ... -->`.

    Args:
        text: The page.
        folder: Working directory of the code.

    Returns:
        The number of blocks that ran.
    """
    session: dict[str, Any] = {"__name__": "__main__"}
    ran = 0
    for block in _BLOCK.finditer(text):
        if block["why"]:
            continue
        line = text[: block.start("code")].count("\n")  # errors then name the line of the page
        code = compile("\n" * line + block["code"], "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.chdir(folder):
            running = eval(code, session)  # noqa: S307 - runs the code as readers do
            if inspect.isawaitable(running):
                await running
        expected = _SAID.findall(block["code"]) if block["shown"] is None else block["shown"].splitlines()
        assert [printed_line.rstrip() for printed_line in printed.getvalue().splitlines()] == expected
        ran += 1
    return ran


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in read(page)])
async def test_the_code_of_a_page_does_what_the_page_says(page: str, tmp_path: Path) -> None:
    text = read(page)
    with collect_output() as output:
        ran = await check(text, tmp_path)
    assert output == []
    assert ran + text.count("<!-- not run: ") == text.count("```python")


@pytest.mark.parametrize("page", PAGES + NOTEBOOKS)
def test_links_have_existing_targets(page: str) -> None:
    for link in _LINK.findall(_FENCED.sub("", read(page))):
        address = urlsplit(link)
        if address.scheme:  # tests have no network, so only the form of external links is checked
            assert (address.scheme, "." in address.netloc) == ("https", True), link
            assert address.netloc != "arxiv.org" or re.fullmatch(r"/abs/\d{4}\.\d{5}", address.path), link
        elif address.path:
            assert ((ROOT / page).parent / address.path).exists(), link


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_holds_the_outputs_of_one_run(notebook: str) -> None:
    """`make notebooks` checks that the code gives these outputs."""
    cells = json.loads((ROOT / notebook).read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert "stderr" not in {output.get("name") for output in outputs}


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("```python\nx = 1\n```\nand\n```python\nprint(x + 1)  # 2\n```\n", None),
        ("```bash\nnonsense\n```\n", None),
        ("```python\nprint(1)  # 2\n```\n", AssertionError),
        ("```python\nprint(1)\n```\n", AssertionError),
        ("```python\nnonsense\n```\n", NameError),
        ("```python\nprint(1)\nprint(2)\n```\n\n```text\n1\n2\n```\n", None),
        ("```python\nprint(1)\n```\n\n```text\n1\n2\n```\n", AssertionError),
        ("<!-- not run: it needs a server -->\n```python\nnonsense\n```\n", None),
    ],
)
async def test_a_page_with_other_output_fails(text: str, fails: type[Exception] | None, tmp_path: Path) -> None:
    with pytest.raises(fails) if fails else contextlib.nullcontext():
        await check(text, tmp_path)


def test_the_report_page_explains_every_kind_of_segment() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", read("docs/report.md").partition("## Kinds of segments")[2], re.MULTILINE)
    assert sorted(explained) == sorted({"kind", *get_args(Kind)} - {"score"})  # no segment holds a score
