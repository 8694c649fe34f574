"""The page about security names a test for each promise, and each of these tests exists."""

from __future__ import annotations

import ast
import re
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


def test_there_is_something_to_check() -> None:
    assert len(NAMED) == len(PROMISES) > 15
    assert "test_a_named_test_exists" in functions_of("tests/unit_tests/test_security.py")
    assert "test_that_nobody_wrote" not in functions_of("tests/unit_tests/test_security.py")


def test_the_policy_leads_to_the_page() -> None:
    assert "(docs/security.md)" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "security.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
