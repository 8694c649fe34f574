"""Reasoning that comes in a field of its own, put back between think tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.turn import THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Turn


class ThoughtField:
    """Joins the two fields of a stream into one text.

    Args:
        turn: The turn that is continued.
        drops: The reasoning is none of the turn's.
        goes_on: The thought was given in the field, so that text outside it comes after the thought.
    """

    def __init__(self, turn: Turn, *, drops: bool = False, goes_on: bool = False) -> None:
        self._drops = drops
        self._open = turn.channel == "thinking" and bool(turn.spans or turn.pending)
        self._closed = turn.thinking_closed
        self._in_field = goes_on and self._open

    def join(self, reasoning: str, text: str) -> str:
        """Return what comes next of the text, think tags included."""
        if self._drops:
            return text
        if reasoning and not self._closed:  # else the thought is over, whatever the server takes this for
            opening = "" if self._open else THINK_OPEN
            self._open = self._in_field = True
            reasoning = f"{opening}{reasoning}"
        if text and self._in_field:
            self._in_field = self._open = False
            text = f"\n{THINK_CLOSE}\n\n{text}"
        return f"{reasoning}{text}"
