"""Puts reasoning from a separate field back between think tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.replies.continuation import parts
from langchain_spec_thinking.turn import THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Turn


@dataclass
class ReasoningFieldUse:
    """How a server uses the reasoning field. All replies of one model on this server share it.

    Attributes:
        continues: Whether the rest of a thought came in the field although its beginning was sent as text. The server
            has a reasoning parser that does so for every such thought.
    """

    continues: bool = False


class ReasoningFieldJoiner:
    """Joins the reasoning field and the content of a stream into one text.

    Args:
        turn: The turn that is continued.
        drops_reasoning: Whether to drop the reasoning because it does not belong to the turn.
        in_reasoning_field: Whether the request sent the thought in the reasoning field. If so, content comes after the
            thought.
        use: How the server uses the field, as earlier replies showed. If the rest of a thought comes in the field,
            content comes after the thought, even if no rest of the thought comes.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        drops_reasoning: bool = False,
        in_reasoning_field: bool = False,
        use: ReasoningFieldUse | None = None,
    ) -> None:
        self._drops_reasoning = drops_reasoning
        _, _, self._closed = parts(turn)  # a stream may have broken right after the tag
        self._open = turn.channel == "thinking" and bool(turn.spans or turn.pending) and not self._closed
        self._use = use or ReasoningFieldUse()
        self._in_field = self._open and (in_reasoning_field or self._use.continues)
        self._sent_as_text = self._open and not in_reasoning_field

    def join(self, reasoning: str, text: str) -> str:
        """Return the next part of the text, including think tags."""
        if self._drops_reasoning:
            return text
        if reasoning and not self._closed:  # after the thought, reasoning is passed on as text
            opening = "" if self._open else THINK_OPEN
            self._use.continues |= self._sent_as_text
            self._open = self._in_field = True
            reasoning = f"{opening}{reasoning}"
        if text and self._in_field:
            self._in_field = self._open = False
            text = f"\n{THINK_CLOSE}\n\n{text}"
        return f"{reasoning}{text}"
