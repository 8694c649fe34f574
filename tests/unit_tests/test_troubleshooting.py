"""The troubleshooting page explains every message of the package, and no others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
KEYS = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
INTERNAL = {
    "the turn is finished",
    "the server's strategy is not known yet",
    "internal error: TRANSITIONS has no transition from … for …",
    "internal error: no question is open",
    "internal error: a replay asks no model about …",
    "…: …",
}
"""Messages that need no heading: bugs in this package, and the prefix that says where a message belongs."""


def text_of(node: ast.AST) -> str | None:
    """Return a string literal with … for each formatted value, or None if the node is not a string."""
    match node:
        case ast.Constant(str(text)):
            return text.replace("`", "")
        case ast.JoinedStr(parts):
            return "".join(text_of(part) or "…" for part in parts)
    return None


def nodes() -> list[ast.AST]:
    files = sorted((ROOT / "langchain_spec_thinking").rglob("*.py"))
    return [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]


STRINGS = {text for node in nodes() if (text := text_of(node))}
MESSAGES = {
    text
    for node in nodes()
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "msg" and (text := text_of(node.value))
}


def covers(key: str, said: str) -> bool:
    """Return whether a heading matches a message in the source. `…` matches any text."""
    return re.search(".*".join(map(re.escape, key.split("…"))), said, re.DOTALL) is not None


@pytest.mark.parametrize("key", KEYS)
def test_a_heading_matches_a_message_in_the_source(key: str) -> None:
    assert any(covers(key, said) for said in STRINGS), f"no message of the package is like {key!r} any more"


@pytest.mark.parametrize("said", sorted(MESSAGES - INTERNAL))
def test_a_message_is_explained(said: str) -> None:
    named = re.match(r"((--\w+ )?(\w+|…): )?expected ", said)  # such a message already says what to do
    assert named or any(covers(key, said) for key in KEYS), f"docs/troubleshooting.md has no heading for {said!r}"


def test_there_is_something_to_compare() -> None:
    assert len(KEYS) > 50
    assert len(MESSAGES) > 25
    assert not covers("nobody … says this", "nobody says that")
