"""The faults, and when they strike. Pure: numbers from a seed, events in, bytes and endings out."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from enum import Enum, StrEnum

STREAK_MAX = 3
"""Most faults in a row that strike before any text; a client that tries again as often gets through."""
_BEFORE_ANSWER = 0.4
"""Share of the requests that a fault meets before they are answered."""
_EVENTS_MAX = 24
"""Most events between two faults in a stream."""
_SLOW_PARTS_MAX = 40
"""Largest part of an event that comes at once when bytes come slowly, in bytes."""
_TEXT = re.compile(rb'"(?:text|content|reasoning|reasoning_content)":\s*"[^"]')

GARBAGE = (
    b"%&$! a line that is no field\n",  # the standard of server-sent events wants such a line ignored
    b": a comment\n",
    b"retry: soon\n",
    b"data: {no JSON}\n\n",
    b"data: <html><body>502 Bad Gateway</body></html>\n\n",
    b"data: {\n",  # stands in one event with what follows
    b"data: \xff\xfe is no UTF-8\n\n",
    b"data: 17\n\n",  # JSON, but no chunk
    b"data: null\n\n",
    b"data: {}\n\n",
    b"event: surprise\n\n",
)
"""Lines that have no business among the events."""


class Kind(StrEnum):
    """What goes wrong."""

    REFUSED = "connection refused"  # reset as soon as it is there, which can be counted
    RATE_LIMIT = "429 with Retry-After"
    ERROR = "500"
    CUT = "cut after k bytes"  # the connection is closed in mid-stream
    STALL = "stall"  # it stays open, and nothing more comes
    TRUNCATED = "truncated event"  # half an event, then a proper end of the response
    DUPLICATED = "duplicated event"
    GARBAGE = "garbage line"
    SLOW = "slow bytes"


BEFORE_ANSWER = (Kind.REFUSED, Kind.RATE_LIMIT, Kind.ERROR)
"""Kinds that strike before a request is answered."""
IN_STREAM = tuple(kind for kind in Kind if kind not in BEFORE_ANSWER)
BREAKING = (Kind.CUT, Kind.STALL, Kind.TRUNCATED)
"""Kinds after which nothing more comes."""


class Ending(Enum):
    """How a response ends before its time."""

    CLOSE = "the connection is closed in the middle of the body"
    SILENCE = "nothing more comes until the client hangs up"
    END = "the body is ended as if it were whole"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: What goes wrong.
        events: How many events pass first, counted from the last fault of the response.
        dice: From 0 up to 1, for what else has to be chosen: the byte, the garbage, the seconds to wait.
    """

    kind: Kind
    events: int = 0
    dice: float = 0.0

    @property
    def retry_after(self) -> float:
        """Seconds that a client is told to wait."""
        return 0.0 if self.dice < 1 / 2 else round(self.dice / 10, 3)


class Schedule:
    """Draws faults; the same ones for the same seed and the same course of requests.

    Args:
        seed: Where the draws begin.
        kinds: What may go wrong; by default everything.
    """

    def __init__(self, seed: str, kinds: tuple[Kind, ...] = tuple(Kind)) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._before_answer = [kind for kind in kinds if kind in BEFORE_ANSWER]
        self._in_stream = [kind for kind in kinds if kind in IN_STREAM]
        self._streak = 0

    def before_answer(self) -> Fault | None:
        """Draw what strikes a new request before it is answered; None: it gets through."""
        if not self._before_answer or self._streak >= STREAK_MAX or self._random.random() >= _BEFORE_ANSWER:
            return None
        self._streak += 1
        return Fault(self._random.choice(self._before_answer), 0, self._random.random())

    def in_stream(self, *, first: bool) -> Fault | None:
        """Draw what strikes next in a response.

        Args:
            first: Nothing of the response has passed yet.
        """
        if not self._in_stream:
            self._streak = 0
            return None
        events = self._random.randint(0 if first and self._streak < STREAK_MAX else 1, _EVENTS_MAX)
        self._streak = 0 if events else self._streak + 1
        return Fault(self._random.choice(self._in_stream), events, self._random.random())


def strike(fault: Fault, event: bytes) -> list[bytes | Ending]:
    """Say what is sent instead of an event; each part of it goes on its way by itself."""
    some = event[: int(fault.dice * len(event))]
    match fault.kind:
        case Kind.CUT:
            return [some, Ending.CLOSE]
        case Kind.STALL:
            return [some, Ending.SILENCE]
        case Kind.TRUNCATED:
            return [some, Ending.END]
        case Kind.DUPLICATED:
            return [event, event]
        case Kind.GARBAGE:
            return [GARBAGE[int(fault.dice * len(GARBAGE))] + event]
        case Kind.SLOW:
            return list(_parts(event, fault.dice))
        case _:
            msg = f"{fault.kind} strikes before there are events"
            raise ValueError(msg)


def _parts(event: bytes, dice: float) -> list[bytes]:
    """Cut an event at arbitrary bytes, or at each."""
    if dice < 1 / 2:
        return [event[i : i + 1] for i in range(len(event))]
    sizes = random.Random(dice)  # noqa: S311
    parts = []
    while event:
        size = sizes.randint(1, _SLOW_PARTS_MAX)
        parts.append(event[:size])
        event = event[size:]
    return parts


def has_text(event: bytes) -> bool:
    """Return whether an event brings text."""
    return bool(_TEXT.search(event))


def numbered(event: bytes, number: int) -> bytes:
    """Return an event that tells how many tokens came so far, as those of vLLM and SGLang do when they are asked to.

    An event that tells its usage already stays as it is.
    """
    chunk = json.loads(event.removeprefix(b"data:"))
    if chunk.get("usage"):
        return event
    chunk["usage"] = {"completion_tokens": number}
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"
