"""Turns a model's text into events, and reads the thought and the tool calls from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.base import Call, Event, Limitation, Piece
from langchain_spec_thinking.backends.replies.reply_parts import Part
from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_spec_thinking.backends.replies.call_format import AnswerPlan
    from langchain_spec_thinking.backends.replies.thought_reader import AnyReader


class CallReader:
    """Turns pieces of text into events.

    Args:
        plan: The plan for the text.
        thoughts: Finds the thought in the text. None: the text needs no changes, and calls may begin anywhere.
        name: The name of the model, for notes.

    Attributes:
        done: Whether a call was made and no other call may follow.
    """

    def __init__(self, plan: AnswerPlan, thoughts: AnyReader | None = None, name: str = "the model") -> None:
        self._parser = plan.parser()
        self._thoughts = thoughts
        self._name = name
        self._single = plan.single_call
        self._tokens = 0
        self._top: tuple[float, ...] | None = None  # of the first token of the next piece
        self.done = False

    def read(self, text: str, tokens: int, top_logprobs: tuple[float, ...] | None = None) -> Iterator[Event]:
        """Read a piece of text and yield its events.

        Args:
            text: The piece.
            tokens: Tokens of the piece.
            top_logprobs: Log-probabilities of the likeliest tokens at the piece's first token. They are dropped if the
                text may contain calls.
        """
        if self._thoughts is None and self._parser is None:
            yield Piece(text, tokens, top_logprobs)
            return
        self._tokens += tokens
        if self._thoughts is None:
            yield from self._events((Part(text),))
            return
        self._top = self._top if self._thoughts.holds else top_logprobs
        yield from self._events(self._thoughts.feed(text))

    def rest(self) -> Iterator[Event]:
        """Yield what is still held when no more text comes."""
        if self._thoughts is not None:
            yield from self._events(self._thoughts.rest())
        if self._parser is not None:
            for part in self._parser.rest():
                yield from self._event(part)

    def _events(self, parts: Iterable[Part]) -> Iterator[Event]:
        text = ""  # a tag and the text beside it stay one piece, which has the log-probabilities of its first token
        for part in parts:
            if part.note:
                yield Limitation(f"{self._name}: {part.note}.")
            if part.text and (part.thought or self._parser is None):
                text += part.text
            else:
                yield from self._events_of_text(text)
                yield from self._other_events(part)
                text = ""
        yield from self._events_of_text(text)
        if self._thoughts is not None and self._thoughts.ended:
            self.done = True

    def _events_of_text(self, text: str) -> Iterator[Event]:
        if text:
            yield from self._event(text)

    def _other_events(self, part: Part) -> Iterator[Event]:
        if part.call:
            yield from self._event(part.call)
        elif part.text and self._parser is not None:
            self._top = None  # held text may be a part of a call
            for found in self._parser.feed(part.text):
                yield from self._event(found)

    def _event(self, part: str | ToolCall) -> Iterator[Event]:
        if self.done:
            return
        tokens, self._tokens = self._tokens, 0
        top, self._top = self._top, None
        if isinstance(part, ToolCall):
            self.done = self._single
            yield Call(part, tokens)
        else:
            yield Piece(part, tokens, top)
