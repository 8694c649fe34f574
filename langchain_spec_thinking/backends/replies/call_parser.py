"""Reads tool calls from text that arrives in pieces."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING
from uuid import uuid4

from langchain_spec_thinking.backends.replies.waiting import WaitForText, partial_mark_length
from langchain_spec_thinking.json_values import read_json
from langchain_spec_thinking.surrogates import whole_characters
from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_spec_thinking.backends.replies.waiting import Wait

_NO_ARGUMENTS = {"", "null"}
"""What models write as the arguments of a tool that takes none, if they do not write an empty object."""
_PART_MAX = 2000
"""How much text is read at once, in characters. Each call is cut from all held text, so it must not be long."""


class CallParser(ABC):
    """Reads the calls of one format. Other text is passed on as soon as it is certainly no call.

    A subclass says where a call begins and where it ends. This class holds the text in between, in two attributes that
    the methods of a subclass read and change:

    - `_held` is the text that is not read yet. At first it is the prefix. So `_read_text` sees the prefix before any
      text of the model, and must find the beginning of the call in it.
    - `_inside` says whether `_held` is the beginning of a call. `_read_text` sets it, and `_read_calls` resets it.

    Whenever text arrives, this class calls `_read_calls` if `_inside` is set, and otherwise `_read_text`, until neither
    of them changes anything. Each method removes from `_held` what it yields. A method that needs more text changes
    nothing. With `final=True` no more text comes, so the methods decide with the text that is there.

    A method that needs a certain text may set `_wait`. Then this class calls no method until that text arrives. Without
    it, the work for a call grows with the square of its length.

    Args:
        prefix: The part of the answer that the model was given.
    """

    def __init__(self, prefix: str = "") -> None:
        self._held = prefix
        self._arrived: list[str] = []  # text after the held text
        self._wait: Wait | None = None  # None: any text may decide something
        self._inside = False  # the held text is the beginning of a call
        self._passed_on = False  # text or a call was passed on
        self._called = False

    def feed(self, text: str) -> Iterator[str | ToolCall]:
        """Read more text. Yield the text and the calls that are certain now."""
        for start in range(0, len(text), _PART_MAX):
            part = text[start : start + _PART_MAX]
            self._arrived.append(part)
            if self._wait is None or self._wait.arrives(part):
                yield from self._advance(final=False)

    def rest(self) -> Iterator[str | ToolCall]:
        """Yield what is still held when no more text comes."""
        yield from self._advance(final=False)
        if self._inside:
            self._held += self._missing_ending()
        yield from self._advance(final=True)
        if self._inside and self._held.strip():
            yield self._invalid_call(self._held)
        elif self._held and not self._called:
            yield self._held
        self._held = ""

    @abstractmethod
    def _read_text(self, *, final: bool) -> Iterator[str | ToolCall]:
        """Pass the held text on, up to where a call begins or may begin. Set `_inside` if a call begins there."""

    @abstractmethod
    def _read_calls(self, *, final: bool) -> Iterator[ToolCall]:
        """Read the calls if their text is complete. Reset `_inside`, and keep the text after the calls."""

    @abstractmethod
    def _tool_name(self, text: str) -> str:
        """Return the tool's name in a call that cannot be parsed. Empty if there is no name."""

    def _missing_ending(self) -> str:
        """Return the text that completes the held call.

        An empty string means that the call is complete, or that no known ending completes it.
        """
        return ""

    def _advance(self, *, final: bool) -> Iterator[str | ToolCall]:
        self._held += "".join(self._arrived)
        self._arrived.clear()
        state = None
        while state != (state := (self._inside, len(self._held))):
            self._wait = None
            for part in self._read_calls(final=final) if self._inside else self._read_text(final=final):
                self._passed_on = True
                self._called |= isinstance(part, ToolCall)
                yield part

    def _pass_text(self, marks: Iterable[str], *, final: bool) -> Iterator[str]:
        """Pass the held text on, up to the first mark. White space before a call belongs to the call."""
        marks = [mark for mark in marks if mark]
        starts = [start for mark in marks if (start := self._held.find(mark)) >= 0]
        self._inside = bool(starts)
        partial = 0 if final else max((partial_mark_length(self._held, mark) for mark in marks), default=0)
        end = min(starts, default=len(self._held) - partial)
        text = self._held[:end].rstrip()
        self._held = self._held[end if self._inside else len(text) :]
        if not self._held.strip():
            self._wait = WaitForText()
        if text:
            yield text

    def _invalid_call(self, text: str) -> ToolCall:
        """Make a call from text that looks like a call but cannot be parsed."""
        text = whole_characters(text)
        return ToolCall(_new_id(), self._tool_name(text), json.dumps(text.strip(), ensure_ascii=False))


def make_call(name: str, arguments: str, call_id: str | None = None) -> ToolCall:
    """Make a call from the name and the arguments that a model wrote.

    LangChain repairs JSON that was cut off, so that a tool would run with half of its arguments. Therefore incomplete
    arguments are stored as a JSON string, which cannot be taken for arguments.
    """
    arguments = arguments.strip()
    arguments = "{}" if arguments in _NO_ARGUMENTS else arguments
    try:
        given = read_json(arguments)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        arguments = json.dumps(arguments, ensure_ascii=False)
    elif not _is_strict_json(arguments):  # a server would refuse it in the history
        arguments = json.dumps(given, ensure_ascii=False)
    elif "\\u" in arguments:  # an escaped half of a character
        written = json.dumps(given, ensure_ascii=False)
        arguments = arguments if whole_characters(written) == written else whole_characters(written)
    return ToolCall(whole_characters(call_id or "") or _new_id(), whole_characters(name), whole_characters(arguments))


def _is_strict_json(text: str) -> bool:
    """Return whether JSON has no line breaks or other control characters in its strings."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _new_id() -> str:
    """Make an id. Mistral accepts only ids of nine letters and digits, and other servers accept these too."""
    return uuid4().hex[:9]
