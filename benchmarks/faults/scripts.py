"""What a scripted server does wrong. Pure: the events of a reply in, steps of a stream out."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from benchmarks.faults.faults import GARBAGE, Ending

if TYPE_CHECKING:
    from collections.abc import Iterator

Step = bytes | float | Ending
"""What a stream does next: it sends bytes, pauses for some seconds, or ends."""


class Behaviour(StrEnum):
    """What a server does wrong."""

    NOTHING = "nothing"
    BREAK = "break at a byte"
    TWICE = "event sent twice"
    SWAP = "two events in the wrong order"
    GARBAGE = "garbage before an event"
    RESTART = "break, then replies begin anew"
    ECHO = "break, then replies repeat what was given"
    TRIM = "break, then replies repeat white space"
    DRIP = "single bytes"
    PING = "comments before each event"
    SLOW_DRIP = "single bytes, each after a second"
    PING_FOR_EVER = "comments without end"
    EMPTY_FOR_EVER = "empty events without end"
    SILENCE = "silence"
    ENDLESS = "no limit is obeyed"
    CRUMBS = "one token in each reply, then a break"
    NO_CRUMBS = "each reply breaks before its first text"
    REDIRECT = "redirect to another host"
    RATE_LIMIT = "429 with a long Retry-After"
    ERROR = "500"


_ONCE = (
    Behaviour.TWICE,
    Behaviour.SWAP,
    Behaviour.GARBAGE,
    Behaviour.RESTART,
    Behaviour.ECHO,
    Behaviour.TRIM,
)
AT_EVENTS = (*_ONCE, Behaviour.PING_FOR_EVER, Behaviour.EMPTY_FOR_EVER, Behaviour.SILENCE)
"""Behaviours that begin at an event."""
NUMBERED_ONLY = (Behaviour.TWICE, Behaviour.SWAP)
"""Behaviours that a client can only notice if the events are numbered."""
REPEATING = (Behaviour.RESTART, Behaviour.ECHO, Behaviour.TRIM)
"""Behaviours of which only the text after the break is wrong."""
UNORDERED = (Behaviour.SWAP,)
"""Behaviours whose text cannot be put right. The client must not take it for right: it may give up."""
REFUSING = (Behaviour.REDIRECT, Behaviour.RATE_LIMIT, Behaviour.ERROR)
"""Behaviours without a stream."""
FAILING = (
    *REFUSING,
    Behaviour.SLOW_DRIP,
    Behaviour.PING_FOR_EVER,
    Behaviour.EMPTY_FOR_EVER,
    Behaviour.SILENCE,
    Behaviour.ENDLESS,
    Behaviour.CRUMBS,
    Behaviour.NO_CRUMBS,
)
"""Behaviours with which a turn may end early, with an error of the package."""
HOSTILE_LINES = (
    *GARBAGE,
    b"data: " + b"[" * 100_000 + b"\n\n",
    b'data: {"choices": ' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"}\n\n",
    b"data: " + b"9" * 5_000 + b"\n\n",
    b'data: {"usage": {"completion_tokens": ' + b"9" * 5_000 + b"}}\n\n",
    b'data: {"choices": [true]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {"content": 7}}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": [], "text": {}}]}\n\n',
    b'data: {"error": {"message": "engine died"}}\n\n',
    b"id: \0\ndata: {\n\n",
)
"""Lines that do not belong in a stream."""
SLOW = 1.0
"""Pause between two parts of a slow stream, in seconds."""
_SHORT = 0.001


@dataclass
class Script:
    """What a server does wrong during one turn.

    Attributes:
        behaviour: What it does.
        at: Where it begins: the number of bytes or events of the turn before it. For garbage, this number times the
            number of hostile lines, plus the number of the line.
        politely: Whether a stream that breaks ends as if it were complete.
        comment: A comment between two events, in the dialect of the server.
        empty: An event without text, in the dialect of the server.
        sent: Number of bytes of events so far.
        events: Number of events so far.
        broken: Whether the stream was broken, or the wrong event sent.
        told: Whether the client could notice the wrong order: it read on until the event that came too late.
    """

    behaviour: Behaviour
    at: int = 0
    politely: bool = False
    comment: bytes = b": ping\n\n"
    empty: bytes = b""
    sent: int = 0
    events: int = 0
    broken: bool = False
    told: bool = False
    _held: bytes = field(default=b"", repr=False)

    @property
    def ending(self) -> Ending:
        """How a stream breaks."""
        return Ending.END if self.politely else Ending.CLOSE

    @property
    def occurred(self) -> bool:
        """Whether the server did what is wrong. True for what it does all the time."""
        return self.broken or self.behaviour not in (Behaviour.BREAK, *_ONCE)

    def steps(self, reply: Iterator[tuple[bytes, bool]]) -> Iterator[Step]:
        """Yield what the server sends for one reply.

        Args:
            reply: The events of a server that does everything right, each with whether it contains text.
        """
        self._held = b""  # the client left the last reply before the held event
        for event, has_text in reply:
            begins = self._begins(event)
            self.sent += len(event)
            self.events += 1
            if begins:
                self.broken = True
                yield from self._once(event)
            else:
                yield from self._always(event, has_text=has_text)
            if not begins and self._held:
                yield self._released()
        if self._held:
            yield self._released()

    def _released(self) -> bytes:
        """Return the held event, which belongs to this reply only: the client may not read any further."""
        held, self._held, self.told = self._held, b"", True
        return held

    def _begins(self, event: bytes) -> bool:
        """Return whether this event is the one that is wrong."""
        if self.behaviour is Behaviour.BREAK:
            return not self.broken and self.sent + len(event) > self.at
        at = self.at // len(HOSTILE_LINES) if self.behaviour is Behaviour.GARBAGE else self.at
        return not self.broken and self.events == at and self.behaviour in _ONCE

    def _once(self, event: bytes) -> Iterator[Step]:
        """Yield what the server sends instead of the one event that is wrong."""
        match self.behaviour:
            case Behaviour.BREAK:
                yield event[: self.at - (self.sent - len(event))]
                yield self.ending
            case Behaviour.TWICE:
                yield event
                yield event
            case Behaviour.SWAP:
                self._held = event
            case Behaviour.GARBAGE:
                yield HOSTILE_LINES[self.at % len(HOSTILE_LINES)]
                yield event
            case _:
                yield event
                yield self.ending

    def _always(self, event: bytes, *, has_text: bool) -> Iterator[Step]:
        """Yield what the server sends instead of each event."""
        started = self.events > self.at
        match self.behaviour:
            case Behaviour.DRIP | Behaviour.SLOW_DRIP:
                for byte in event:
                    yield SLOW if self.behaviour is Behaviour.SLOW_DRIP else _SHORT
                    yield bytes([byte])
            case Behaviour.PING:
                yield from (_SHORT, self.comment, event)
            case Behaviour.PING_FOR_EVER if started:
                yield from itertools.cycle((SLOW, self.comment))
            case Behaviour.EMPTY_FOR_EVER if started:
                yield from itertools.cycle((SLOW, self.empty))
            case Behaviour.SILENCE if started:
                yield math.inf
            case Behaviour.CRUMBS if has_text:
                yield event
                yield self.ending
            case Behaviour.NO_CRUMBS if has_text:
                yield self.ending
            case _:
                yield event
