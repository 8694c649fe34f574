"""Turns a model's text into events, and reads the tool calls from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.base import Call, Event, Piece
from langchain_spec_thinking.backends.replies.call_formats import CallParser
from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_spec_thinking.backends.replies.call_formats import CallFormat
    from langchain_spec_thinking.turn import Turn


def call_reader(form: CallFormat | None, turn: Turn, call_prefix: str = "") -> CallReader:
    """Return a reader for an answer.

    Args:
        form: The format of the calls in the answer. None if the answer may contain no calls.
        turn: The turn that is continued.
        call_prefix: The part of the answer that the model was given.
    """
    names = turn.tools.names if turn.tools else ()
    return CallReader(CallParser(form, call_prefix, names) if form else None, turn)


class CallReader:
    """Turns pieces of text into events.

    Args:
        parser: Reads the calls from the text. None if the text may contain no calls.
        turn: The turn that is continued.

    Attributes:
        done: Whether a call was made and no other call may follow.
    """

    def __init__(self, parser: CallParser | None, turn: Turn) -> None:
        self._parser = parser
        self._single = turn.tools is not None and (turn.tools.parallel is False or turn.tools.required_tool is not None)
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

    def rest(self, call_suffix: str = "") -> Iterator[Event]:
        """Yield what is still held when no more text comes.

        Args:
            call_suffix: Text that may be missing at the end of a call that was begun for the model.
        """
        if self._parser is not None and not self.done:
            yield from self._events(self._parser.rest(call_suffix))

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
