"""The events of a turn: committed text, and the start and the end of each takeover."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_spec_thinking.report import Takeover, TakeoverStart

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.commands import Kind
    from langchain_spec_thinking.tools import ToolCall
    from langchain_spec_thinking.turn import Author, Channel


@dataclass(frozen=True, slots=True)
class Delta:
    """Committed text. It is final, and deltas arrive in the order in which the text is shown.

    Attributes:
        block: Index of the content block of the text. Each segment of the thought by one author for one reason is a
            block. The whole answer is one block.
        first: Whether this is the first delta of the block.
        call: A tool call. It has its own block and no text.
    """

    author: Author
    channel: Channel
    kind: Kind
    text: str
    block: int
    first: bool
    call: ToolCall | None = None


@dataclass(slots=True)
class ContentBlocks:
    """Makes the deltas of a turn, and numbers their content blocks."""

    _last: int = -1
    _answer: int = sys.maxsize  # the first block of the answer, which holds all of its text

    def text(self, author: Author, channel: Channel, kind: Kind, text: str, segment: int) -> Delta:
        """Return the delta of committed text. `segment` is the index of its segment in the report."""
        block = segment
        if channel == "answer":
            block = self._answer = min(segment, self._answer)
        first, self._last = block != self._last, block
        return Delta(author, channel, kind, text, block, first=first)

    def call(self, author: Author, kind: Kind, call: ToolCall, segment: int) -> Delta:
        """Return the delta of a tool call, which has its own block."""
        self._last = segment
        return Delta(author, "answer", kind, "", segment, first=True, call=call)


TurnEvent = Delta | TakeoverStart | Takeover
"""The events of a turn. The deltas of a takeover come between its `TakeoverStart` and its `Takeover`."""
