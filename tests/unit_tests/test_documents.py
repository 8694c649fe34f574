"""The code of the documents runs, and prints what they say it prints."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["agents.md", "tools.md"]
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SAID = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


def run(page: Path) -> None:
    """Run the blocks of a page, one after the other, as a reader does who types them into one session.

    What a line prints is held to the comment behind it: `print(1 + 1)  # 2`.
    """
    text = page.read_text(encoding="utf-8")
    session: dict[str, Any] = {"__name__": "__main__"}
    for block in _BLOCK.finditer(text):
        line = text[: block.start(1)].count("\n")  # so that errors name the line of the page
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + block[1], str(page), "exec"), session)  # noqa: S102 - as readers do
        assert printed.getvalue().splitlines() == _SAID.findall(block[1]), f"{page.name}, block at line {line}"


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_does_what_the_page_says(page: str) -> None:
    run(DOCS / page)


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("```python\nx = 1\n```\nand\n```python\nprint(x + 1)  # 2\n```\n", None),
        ("```bash\nnonsense\n```\n", None),
        ("```python\nprint(1)  # 2\n```\n", AssertionError),
        ("```python\nprint(1)\n```\n", AssertionError),
        ("```python\nnonsense\n```\n", NameError),
    ],
)
def test_a_page_that_says_something_else_fails(text: str, fails: type[Exception] | None, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(fails) if fails else contextlib.nullcontext():
        run(page)
