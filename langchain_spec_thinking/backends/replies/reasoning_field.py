"""Puts reasoning from a separate field back between think tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.replies.continuation import parts
from langchain_spec_thinking.backends.replies.reply_parts import LATE_REASONING
from langchain_spec_thinking.backends.replies.thought_reader import ThoughtDelivery
from langchain_spec_thinking.turn import THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Turn

_BLANK_MAX = 128
"""How much white space after a thought is held until it shows whether reasoning follows, in characters."""


class ReasoningFieldJoiner:
    """Joins the reasoning field and the content of a stream into one text.

    A turn has one thought. So reasoning that comes after text of the answer is dropped. If the thought was closed
    before this reply, reasoning before any text is the answer: a server with a reasoning parser may send it so.

    Args:
        turn: The turn that is continued.
        drops_reasoning: Whether to drop the reasoning because it does not belong to the turn.
        in_reasoning_field: Whether the request sent the thought in the reasoning field. If so, content comes after the
            thought.
        delivery: How the model's thoughts arrive, as earlier replies showed. If the rest of a thought comes in the
            field, content comes after the thought, even if no rest of the thought comes.

    Attributes:
        dropped: The reasoning of the last event, if it was dropped.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        drops_reasoning: bool = False,
        in_reasoning_field: bool = False,
        delivery: ThoughtDelivery | None = None,
    ) -> None:
        self._drops_reasoning = drops_reasoning
        _, _, self._closed = parts(turn)  # a stream may have broken right after the tag
        self._open = turn.channel == "thinking" and bool(turn.spans or turn.pending) and not self._closed
        self._delivery = delivery or ThoughtDelivery()
        self._in_field = self._open and (in_reasoning_field or self._delivery.continues_in_field)
        self._may_skip = turn.channel == "thinking" and not turn.is_begun and self._delivery.in_field
        self._sent_as_text = self._open and not in_reasoning_field
        self._at_line_start = self._open and turn.body().endswith("\n")
        self._blank: list[str] = []  # white space after the thought, which is no answer yet
        self._answered = False
        self._notes: list[str] = []
        self._noted = False
        self.dropped = ""

    def join(self, reasoning: str, text: str) -> str:
        """Return the next part of the text, including think tags."""
        self._delivery.in_field |= bool(reasoning)
        self.dropped = reasoning if self._drops_reasoning or self._answered else ""
        if self._drops_reasoning:
            return text
        if reasoning and self._answered:
            self._notes += () if self._noted else (LATE_REASONING,)
            self._noted, reasoning = True, ""
        if reasoning:
            reasoning = self._thought(reasoning)
        return f"{reasoning}{self._answer(text)}"

    def rest(self) -> str:
        """Return white space after the thought that is still held when no more text comes, with the closing tag."""
        blank = "".join(self._blank)
        self._blank.clear()
        return f"{self._closing}{blank}" if blank else ""

    def new_notes(self) -> list[str]:
        """Return what the user should know, and was not returned yet."""
        notes, self._notes = self._notes, []
        return notes

    def _thought(self, reasoning: str) -> str:
        """Return reasoning with the opening tag if it begins the thought."""
        self._may_skip = False
        if self._closed:
            return reasoning
        opening = "" if self._open else THINK_OPEN
        self._delivery.continues_in_field |= self._sent_as_text
        self._open = self._in_field = True
        self._at_line_start = reasoning.endswith("\n")
        blank = "".join(self._blank)
        self._blank.clear()
        return f"{blank}{opening}{reasoning}"

    def _answer(self, text: str) -> str:
        """Return text with the closing tag if it ends the thought. White space does not end it."""
        ends = bool(text) and (self._in_field or self._may_skip)
        if ends and not text.strip() and len(text) + sum(map(len, self._blank)) <= _BLANK_MAX:
            self._blank.append(text)
            return ""
        if ends:
            text = f"{self._closing}{''.join(self._blank)}{text}"
            self._in_field = self._open = self._may_skip = False
            self._blank.clear()
        self._answered |= bool(text.strip()) and not self._open
        return text

    @property
    def _closing(self) -> str:
        """The end of a thought, on a line of its own."""
        return f"{'' if self._at_line_start else chr(10)}{THINK_CLOSE}\n\n"
