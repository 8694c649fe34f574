"""Puts reasoning from a separate field back between think tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.replies.continuation import parts
from langchain_spec_thinking.turn import THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Turn


class ReasoningFieldJoiner:
    """Joins the reasoning field and the content of a stream into one text.

    Args:
        turn: The turn that is continued.
        drops_reasoning: Whether to drop the reasoning because it does not belong to the turn.
        in_reasoning_field: Whether the request sent the thought in the reasoning field. If so, content comes after the
            thought.
    """

    def __init__(self, turn: Turn, *, drops_reasoning: bool = False, in_reasoning_field: bool = False) -> None:
        self._drops_reasoning = drops_reasoning
        _, _, self._closed = parts(turn)  # a stream may have broken right after the tag
        self._open = turn.channel == "thinking" and bool(turn.spans or turn.pending) and not self._closed
        self._in_field = in_reasoning_field and self._open

    def join(self, reasoning: str, text: str) -> str:
        """Return the next part of the text, including think tags."""
        if self._drops_reasoning:
            return text
        if reasoning and not self._closed:  # after the thought, reasoning is passed on as text
            opening = "" if self._open else THINK_OPEN
            self._open = self._in_field = True
            reasoning = f"{opening}{reasoning}"
        if text and self._in_field:
            self._in_field = self._open = False
            text = f"\n{THINK_CLOSE}\n\n{text}"
        return f"{reasoning}{text}"
