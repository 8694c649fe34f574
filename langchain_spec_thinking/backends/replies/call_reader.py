"""Turns a model's text into events, and reads the tool calls from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.base import Call, Event, Piece
from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_spec_thinking.backends.replies.call_format import AnswerPlan


class CallReader:
    """Turns pieces of text into events.

    Args:
        plan: The plan for the text.

    Attributes:
        done: Whether a call was made and no other call may follow.
    """

    def __init__(self, plan: AnswerPlan) -> None:
        self._parser = plan.parser()
        self._single = plan.single_call
        self._tokens = 0
        self.done = False

    def read(self, text: str, tokens: int, top_logprobs: tuple[float, ...] | None = None) -> Iterator[Event]:
        """Read a piece of text and yield its events.

        Args:
            text: The piece.
            tokens: Tokens of the piece.
            top_logprobs: Log-probabilities of the likeliest tokens at the piece's first token. They are dropped if the
                text may contain calls.
        """
        if self._parser is None:
            yield Piece(text, tokens, top_logprobs)
            return
        self._tokens += tokens
        yield from self._events(self._parser.feed(text))

    def rest(self) -> Iterator[Event]:
        """Yield what is still held when no more text comes."""
        if self._parser is not None and not self.done:
            yield from self._events(self._parser.rest())

    def _events(self, parts: Iterable[str | ToolCall]) -> Iterator[Event]:
        for part in parts:
            if self.done:
                return
            tokens, self._tokens = self._tokens, 0
            if isinstance(part, ToolCall):
                self.done = self._single
                yield Call(part, tokens)
            else:
                yield Piece(part, tokens)
