"""Reads replies in harmony, the format of gpt-oss: a message has a channel, and a call of a tool has a recipient.

A reply looks like this. The prompt ends with the first two words:

    <|start|>assistant<|channel|>analysis<|message|>The thought.<|end|>
    <|start|>assistant<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a": 1}<|call|>

or, in place of the call, `<|start|>assistant<|channel|>final<|message|>The answer.<|return|>`. There are no line breaks
between the messages.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.replies.call_parser import make_call
from langchain_spec_thinking.backends.replies.reply_parts import LATE_REASONING, Part
from langchain_spec_thinking.backends.replies.thought_formats import (
    CALL,
    CHANNEL,
    HARMONY,
    MESSAGE,
    MESSAGE_ENDS,
    NEXT_MESSAGE,
    RETURN,
    START,
    STRIPPED,
)
from langchain_spec_thinking.backends.replies.waiting import take_until
from langchain_spec_thinking.turn import THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_spec_thinking.turn import Turn

_CHANNEL_NAME = re.compile(r"<\|channel\|>\s*(\w*)")
_RECIPIENT = re.compile(r"to=(?:functions\.)?([^\s<]+)")
_HEADER_MAX = 200
"""Most characters of a header. A longer one is text, because the server has removed the token after the header."""
REMOVED_TOKENS = (
    "the server removes the control tokens of gpt-oss (harmony) from the text, so that the end of a thought and calls "
    "of tools cannot be seen in it. Use the chat endpoint of the server (omit `tokenizer`), or a server that accepts "
    "`skip_special_tokens`"
)


class HarmonyReader:
    """Splits a reply in harmony into the thought, the answer and the calls. Its methods are those of `ThoughtReader`.

    Args:
        turn: The turn that is continued.
        rendered: Whether the prompt was rendered here, so that the reply continues the open message of `HarmonyFormat`.
        drops: Whether to drop a thought, because it does not belong to the turn.

    Attributes:
        ended: Whether the model has ended its reply.
    """

    def __init__(self, turn: Turn, *, rendered: bool = True, drops: bool = False) -> None:
        self.ended = False
        self._drops = drops
        self._has_tools = turn.tools is not None
        self._held = ""
        self._header: list[str] | None = []  # None inside the text of a message
        self._header_size = 0
        self._channel = ""
        self._name = ""  # of the tool that a message calls
        self._arguments: list[str] = []
        self._open = False  # a thought is open
        self._closed = turn.thinks and turn.channel == "answer"
        self._answered = bool(turn.answer)
        self._skips = False  # the message is a thought that comes too late
        self._noted_late = False
        self._gap = ""  # between the last message and the next text
        self._seen_mark = False
        self._tail = ""
        if rendered:
            self._begin_in(HARMONY.body(turn, opened=False))
            self._open = turn.channel == "thinking" and self._channel == "analysis"

    @property
    def holds(self) -> bool:
        """Whether text is held."""
        return bool(self._held)

    def feed(self, text: str) -> Iterator[Part]:
        """Read more text, and yield what is certain now."""
        for start in range(0, len(text), _HEADER_MAX):  # held text is copied, so it stays short
            self._held += text[start : start + _HEADER_MAX]
            yield from self._advance(final=False)

    def rest(self) -> Iterator[Part]:
        """Yield what is still held when no more text comes."""
        yield from self._advance(final=True)
        if self._header is None and self._name:
            yield from self._end_message()
        elif self._header and self._header_size and not self._seen_mark:  # there is no message
            yield Part("".join(self._header or ()), note=REMOVED_TOKENS)
        self._begin_header("")
        self._held = ""

    def _begin_in(self, body: str) -> None:
        """Begin inside the last message of a turn that was rendered here, if it is open."""
        last = body.rpartition(CHANNEL)[2]
        if MESSAGE in last and not body.endswith(NEXT_MESSAGE):
            self._header, self._channel = None, last.partition(MESSAGE)[0]

    def _begin_header(self, start: str) -> None:
        self._header, self._header_size = [start], len(start)

    def _advance(self, *, final: bool) -> Iterator[Part]:
        while self._held and not self.ended:
            before = len(self._held), self._header is None
            if self._header is None:
                yield from self._read_text(final=final)
            else:
                yield from self._read_header(self._header, final=final)
            if before == (len(self._held), self._header is None):
                return
        if self.ended:
            self._held = ""

    def _read_header(self, header: list[str], *, final: bool) -> Iterator[Part]:
        text, mark, self._held = take_until(self._held, (MESSAGE,), final=final)
        if (size := _HEADER_MAX - self._header_size) < len(text):  # this is no header
            self._header, self._held = None, f"{text[size:]}{mark}{self._held}"
            yield from self._begin_message("final", "")
            yield Part(
                "".join((self._take_gap(), *header, text[:size])), note="" if self._seen_mark else REMOVED_TOKENS
            )
            return
        header.append(text)
        self._header_size += len(text)
        if mark:
            self._header, self._seen_mark = None, True
            whole = "".join(header)
            channel, recipient = _CHANNEL_NAME.search(whole), _RECIPIENT.search(whole)
            name = recipient[1] if recipient and recipient[1] != "assistant" else ""
            yield from self._begin_message(channel[1] if channel else "final", name)

    def _begin_message(self, channel: str, name: str) -> Iterator[Part]:
        self._channel, self._name, self._skips = channel, name, False
        if channel == "analysis" and not name:
            self._skips = not self._drops and (self._closed or self._answered)
            self._gap = "\n\n" if self._open else ""
            if self._skips and not self._noted_late:
                self._noted_late = True
                yield Part("", note=LATE_REASONING)
            if not (self._open or self._drops or self._skips):
                self._open = True
                yield Part(THINK_OPEN, thought=True)
            return
        self._gap = "\n\n" if self._answered else ""
        if self._open:
            self._open, self._closed = False, True
            yield Part(THINK_CLOSE, thought=True)

    def _take_gap(self) -> str:
        """Return what separates the answer from the message before it, once a message."""
        gap, self._gap, self._answered = self._gap, "", True
        return gap

    def _read_text(self, *, final: bool) -> Iterator[Part]:
        text, mark, self._held = take_until(self._held, MESSAGE_ENDS, final=final)
        if self._name:
            self._arguments.append(text)
        elif self._channel == "analysis":
            yield from self._thought(text)
        elif text:
            yield Part(f"{self._take_gap()}{text}")
        if not mark:
            return
        self._seen_mark = True
        yield from self._end_message()
        self._begin_header(mark if mark in {START, CHANNEL} else "")
        self.ended = mark in {CALL, RETURN}

    def _thought(self, text: str) -> Iterator[Part]:
        if text and not (self._drops or self._skips):
            yield Part(f"{self._gap}{text}", thought=True)
            self._gap = ""
        self._tail = f"{self._tail}{text}"
        if not self._seen_mark and STRIPPED.closes in self._tail:
            self._seen_mark = True
            yield Part("", note=REMOVED_TOKENS)
        self._tail = self._tail[-len(STRIPPED.closes) :]

    def _end_message(self) -> Iterator[Part]:
        name, arguments = self._name, "".join(self._arguments)
        self._name = ""
        self._arguments.clear()
        if name and self._has_tools:
            yield Part("", call=make_call(name, arguments))
        elif name:
            yield Part(
                f"{self._take_gap()}{arguments}",
                note=f"it called the tool {name!r} in a turn without tools, so the call is text",
            )
