"""A model's text as events, with the tool calls in it read out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.base import Call, Event, Piece
from langchain_spec_thinking.backends.replies.call_formats import CallParser
from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_spec_thinking.backends.replies.call_formats import CallFormat
    from langchain_spec_thinking.turn import Turn


def call_reader(form: CallFormat | None, turn: Turn, begun: str = "") -> CallReader:
    """Return what reads an answer.

    Args:
        form: How calls are written in it; None where there may be none.
        turn: The turn that is continued.
        begun: What the model was given of the answer.
    """
    names = turn.tools.names if turn.tools else ()
    return CallReader(CallParser(form, begun, names) if form else None, turn)


class CallReader:
    """Makes events of pieces of text.

    Args:
        parser: Reads calls out of the text; None where there may be none.
        turn: The turn that is continued.

    Attributes:
        done: A call was made, and no other may follow.
    """

    def __init__(self, parser: CallParser | None, turn: Turn) -> None:
        self._parser = parser
        self._single = turn.tools is not None and (turn.tools.parallel is False or turn.tools.forced is not None)
        self._tokens = 0
        self.done = False

    def read(self, text: str, tokens: int, top_logprobs: tuple[float, ...] | None = None) -> Iterator[Event]:
        """Take in text, what it cost, in tokens, and what is known of its first token; of calls nothing is told."""
        if self._parser is None:
            yield Piece(text, tokens, top_logprobs)
            return
        self._tokens += tokens
        yield from self._events(self._parser.feed(text))

    def rest(self, ending: str = "") -> Iterator[Event]:
        """Yield what was held, when no more text comes.

        Args:
            ending: What a call that was begun for the model may lack at its end.
        """
        if self._parser is not None and not self.done:
            yield from self._events(self._parser.rest(ending))

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
