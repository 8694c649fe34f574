"""The parts into which the readers of a model's text split it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from langchain_spec_thinking.tools import ToolCall

LATE_REASONING = "the model reasoned again after its answer had begun, and this reasoning was left out"


class Part(NamedTuple):
    """A part of a reply.

    Attributes:
        text: The text, with think tags.
        thought: Whether it belongs to the thought.
        note: Something that is not as asked.
        call: A tool call. The part then has no text.
    """

    text: str
    thought: bool = False
    note: str = ""
    call: ToolCall | None = None
