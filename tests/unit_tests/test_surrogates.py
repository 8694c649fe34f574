"""Halves of characters in texts of users and models."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langchain_spec_thinking.messages import history_of
from langchain_spec_thinking.surrogates import SurrogateJoiner, require_whole_characters, whole_characters

HALF = "\ud83d"
TEXTS = st.text(alphabet=["a", "é", "😀", "\ud83d", "\ude00", "\ufffd"], max_size=8)


@given(st.lists(TEXTS, max_size=5))
def test_pieces_give_the_same_text_as_the_whole(pieces: list[str]) -> None:
    joiner = SurrogateJoiner()
    joined = "".join([*map(joiner.join, pieces), joiner.rest()])
    assert joined == whole_characters("".join(pieces))
    joined.encode()  # possible


@given(TEXTS)
def test_a_text_with_a_half_is_refused_and_no_other(text: str) -> None:
    if whole_characters(text) == text:
        require_whole_characters("text", text)
    else:
        with pytest.raises(ValueError, match=r"^text: expected whole characters, got half a character \('\\u"):
            require_whole_characters("text", text)


CALL: Any = {"name": "add", "args": {"x": HALF}, "id": "1", "type": "tool_call"}
BROKEN: Any = {"name": "add", "args": HALF, "id": "1", "error": None, "type": "invalid_tool_call"}


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage(f"half {HALF}"),
        HumanMessage([{"type": "text", "text": HALF}]),
        AIMessage("", tool_calls=[CALL]),
        AIMessage("", invalid_tool_calls=[BROKEN]),
        ToolMessage(HALF, tool_call_id="1"),
        ToolMessage("x", tool_call_id=HALF),
    ],
)
def test_the_error_names_the_message(message: Any) -> None:
    with pytest.raises(ValueError, match=r"^messages: .*half a character"):
        history_of([HumanMessage("hi"), message])
