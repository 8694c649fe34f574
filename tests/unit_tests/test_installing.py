"""What readers and users are told to install, and the description in the metadata of a wheel."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from langchain_spec_thinking.installing import install_hint, require_modules

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "installing.md"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
FROM_INDEX = re.compile(r"(pip|uv|pipx|poetry) (install|add|tool install)[^\n]*langchain-spec-thinking")
"""A command that takes this package from a package index."""
READ = (
    "README.md",
    "CHANGELOG.md",
    "docs/**/*.md",
    "integrations/**/*",
    "benchmarks/**/*",
    "langchain_spec_thinking/**/*.py",
)
RELATIVE = re.compile(r"\]\((?!https?://)|<img|src=")
"""A link or a picture that only the repository has."""


def files() -> list[Path]:
    return [file for pattern in READ for file in sorted(ROOT.glob(pattern)) if file.suffix in {".md", ".py", ".ipynb"}]


def test_one_page_and_one_function_tell_how_to_install_from_an_index() -> None:
    found = [file for file in files() if FROM_INDEX.search(file.read_text(encoding="utf-8"))]
    assert found == [PAGE, ROOT / "langchain_spec_thinking" / "installing.py"]


def test_each_command_that_installs_an_extra_names_one_that_exists() -> None:
    named = re.compile(r"pip install [^\n]*?(?:\.|\.whl|langchain-spec-thinking)\[([a-z,]+)\]")
    found = [
        extra
        for file in files()
        for names in named.findall(file.read_text(encoding="utf-8"))
        for extra in names.split(",")
    ]
    assert len(found) > 10
    assert set(found) <= EXTRAS.keys()


def test_the_page_explains_each_extra() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == list(EXTRAS)


@pytest.mark.parametrize(
    ("on_index", "expected"),
    [
        (False, "`pip install '.[otel]'` in a clone, or `pip install 'FILE.whl[otel]'` with a wheel"),
        (True, "`pip install 'langchain-spec-thinking[otel]'`"),
    ],
)
def test_a_hint_names_the_commands_that_work(on_index: bool, expected: str) -> None:
    assert install_hint("otel", on_index=on_index) == expected


def test_only_missing_modules_are_named() -> None:
    require_modules("This", "cli", "json", "re")
    expected = (
        r"^This needs no_such_one and no_such_two\. Install the extra \[cli\]: `pip install '\.\[cli\]'` in a clone, "
    )
    with pytest.raises(ImportError, match=expected):
        require_modules("This", "cli", "no_such_one", "json", "no_such_two")


def test_the_metadata_of_a_wheel_have_no_relative_links_and_no_pictures(tmp_path: Path) -> None:
    """hatchling makes the metadata here as it does for a wheel."""
    code = "import sys; from hatchling.build import prepare_metadata_for_build_wheel as make; make(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=ROOT)  # noqa: S603
    [file] = tmp_path.glob("*.dist-info/METADATA")
    metadata = email.message_from_string(file.read_text(encoding="utf-8"))
    assert metadata["Description-Content-Type"] == "text/markdown"
    described, readme = str(metadata.get_payload()), (ROOT / "README.md").read_text(encoding="utf-8")
    assert RELATIVE.findall(described) == []
    assert RELATIVE.findall(readme)  # so there was something to remove
    for kept in ("# langchain-spec-thinking", "```python\n", "[arXiv:2504.12329](https://arxiv.org/abs/2504.12329)"):
        assert kept in described
    assert described.count("```") == readme.count("```")
