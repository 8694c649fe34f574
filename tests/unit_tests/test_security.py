"""The page about security names a test for each promise, and each of these tests exists."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
PROMISES = re.findall(r"^\| (?!promise \||attacker \||-)(.+?) \| (.*) \|$", PAGE.partition("## Keys")[2], re.MULTILINE)


def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_a_named_test_exists(file: str, test: str) -> None:
    assert test.startswith("test_")
    assert test in functions_of(file)


@pytest.mark.parametrize(("promise", "test"), PROMISES, ids=[promise[:50] for promise, _ in PROMISES])
def test_a_promise_names_its_test(promise: str, test: str) -> None:
    assert re.fullmatch(r"`tests/[\w/]+\.py::\w+`", test), promise


NO_LIMITS_OF_OTHERS = {"policy": "how the policy divides text", "backends/local": "how much a local model does at once"}
"""Folders whose constants say how this package works, and not what it accepts from others."""


def limits() -> dict[str, float]:
    """Return the public constants that limit what a server, a model, a user or a file may bring."""
    package = ROOT / "langchain_spec_thinking"
    found: dict[str, float] = {}
    for file in sorted(package.rglob("*.py")):
        path = file.relative_to(package).as_posix()
        names = re.findall(r"^([A-Z][A-Z_]*_(?:MAX|SECONDS)) = ", file.read_text(encoding="utf-8"), re.MULTILINE)
        if names and not path.startswith(tuple(NO_LIMITS_OF_OTHERS)):
            module = import_module(f"langchain_spec_thinking.{path.removesuffix('.py').replace('/', '.')}")
            found |= {name: getattr(module, name) for name in names}
    return found


LIMITS = limits()


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_is_in_the_table_with_its_value(name: str) -> None:
    page = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    table = page.partition("\n## Limits\n")[2].partition("\n## ")[0]
    (row,) = (line for line in table.splitlines() if line.startswith("| ") and re.search(rf"`{name}\b", line))
    value = LIMITS[name]
    shown = f"{value / 2**20:g} MiB" if value >= 2**20 else f"{value:,g}" if isinstance(value, float) else f"{value:,}"
    assert re.search(rf"\b{re.escape(shown)}\b", row), f"{name} is {shown}"


def test_there_is_something_to_check() -> None:
    assert {"DEPTH_MAX", "EVENT_BYTES_MAX", "STOP_STRINGS_MAX", "RESUMES_MAX", "AFTER_END_SECONDS"} <= LIMITS.keys()
    assert len(NAMED) == len(PROMISES) > 15
    assert "test_a_named_test_exists" in functions_of("tests/unit_tests/test_security.py")
    assert "test_that_nobody_wrote" not in functions_of("tests/unit_tests/test_security.py")


def test_the_policy_leads_to_the_page() -> None:
    assert "(docs/security.md)" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "security.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
