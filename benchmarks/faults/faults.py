"""The faults, and a schedule of when they occur. Pure: numbers from a seed, events in, bytes and endings out."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from enum import Enum, StrEnum

STREAK_MAX = 3
"""Most faults in a row before any text. A client with this many retries gets through."""
_BEFORE_ANSWER = 0.4
"""Share of the requests that a fault hits before the answer begins."""
_EVENTS_MAX = 40
"""Most events between two faults in a stream. Half of the faults break the stream. With more breaks, a turn could end
in an error, because it resumes at most 16 times (`RESUMES_MAX`)."""
_SLOW_PARTS_MAX = 40
"""Largest part of an event that is sent at once if bytes are sent slowly, in bytes."""
_TEXT = re.compile(rb'"(?:text|content|reasoning|reasoning_content)":\s*"[^"]')

GARBAGE = (
    b"%&$! a line that is no field\n",  # the standard for server-sent events requires clients to ignore it
    b": a comment\n",
    b"retry: soon\n",
    b"data: {no JSON}\n\n",
    b"data: <html><body>502 Bad Gateway</body></html>\n\n",
    b"data: {\n",  # becomes one event with the lines after it
    b"data: \xff\xfe is no UTF-8\n\n",
    b"data: 17\n\n",  # valid JSON, but not a chunk
    b"data: null\n\n",
    b"data: {}\n\n",
    b"event: surprise\n\n",
)
"""Lines that do not belong in the stream."""


class Kind(StrEnum):
    """A kind of fault."""

    REFUSED = "connection refused"  # reset after the connection is made, so that it can be counted
    RATE_LIMIT = "429 with Retry-After"
    ERROR = "500"
    CUT = "cut after k bytes"  # the connection is closed during the stream
    STALL = "stall"  # the connection stays open, but nothing more comes
    TRUNCATED = "truncated event"  # half an event, and then a regular end of the response
    DUPLICATED = "duplicated event"
    GARBAGE = "garbage line"
    SLOW = "slow bytes"


BEFORE_ANSWER = (Kind.REFUSED, Kind.RATE_LIMIT, Kind.ERROR)
"""Kinds that occur before a request is answered."""
IN_STREAM = tuple(kind for kind in Kind if kind not in BEFORE_ANSWER)
BREAKING = (Kind.CUT, Kind.STALL, Kind.TRUNCATED)
"""Kinds after which nothing more comes."""


class Ending(Enum):
    """How a response ends early."""

    CLOSE = "the connection is closed in the middle of the body"
    SILENCE = "nothing more comes until the client hangs up"
    END = "the body ends as if it were complete"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: The kind of fault.
        events: Number of events that pass first, counted from the response's previous fault.
        random_value: A random number from 0 up to but excluding 1. It selects the byte, the garbage line, or the wait.
    """

    kind: Kind
    events: int = 0
    random_value: float = 0.0

    @property
    def retry_after(self) -> float:
        """The wait that the response asks for, in seconds."""
        return 0.0 if self.random_value < 1 / 2 else round(self.random_value / 10, 3)


class Schedule:
    """Draws faults. The same seed and the same order of requests give the same faults.

    Args:
        seed: Seed of the random numbers.
        kinds: Kinds of faults to draw. By default all.
    """

    def __init__(self, seed: str, kinds: tuple[Kind, ...] = tuple(Kind)) -> None:
        self._random = random.Random(seed)  # noqa: S311 - not used for security
        self._before_answer = [kind for kind in kinds if kind in BEFORE_ANSWER]
        self._in_stream = [kind for kind in kinds if kind in IN_STREAM]
        self._streak = 0

    def before_answer(self) -> Fault | None:
        """Draw the fault that hits a new request before it is answered. Return None if the request gets through."""
        if not self._before_answer or self._streak >= STREAK_MAX or self._random.random() >= _BEFORE_ANSWER:
            return None
        self._streak += 1
        return Fault(self._random.choice(self._before_answer), 0, self._random.random())

    def in_stream(self, *, first: bool) -> Fault | None:
        """Draw the next fault in a response.

        Args:
            first: Whether nothing of the response has passed yet.
        """
        if not self._in_stream:
            self._streak = 0
            return None
        events = self._random.randint(0 if first and self._streak < STREAK_MAX else 1, _EVENTS_MAX)
        self._streak = 0 if events else self._streak + 1
        return Fault(self._random.choice(self._in_stream), events, self._random.random())


def apply_fault(fault: Fault, event: bytes) -> list[bytes | Ending]:
    """Return what to send instead of an event. The parts are sent one by one."""
    some = event[: int(fault.random_value * len(event))]
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
            return [GARBAGE[int(fault.random_value * len(GARBAGE))] + event]
        case Kind.SLOW:
            return list(_parts(event, fault.random_value))
        case _:
            msg = f"{fault.kind} occurs before the answer and cannot replace an event"
            raise ValueError(msg)


def _parts(event: bytes, random_value: float) -> list[bytes]:
    """Split an event into single bytes, or at random bytes."""
    if random_value < 1 / 2:
        return [event[i : i + 1] for i in range(len(event))]
    sizes = random.Random(random_value)  # noqa: S311
    parts = []
    while event:
        size = sizes.randint(1, _SLOW_PARTS_MAX)
        parts.append(event[:size])
        event = event[size:]
    return parts


def has_text(event: bytes) -> bool:
    """Return whether an event contains text."""
    return bool(_TEXT.search(event))


def numbered(event: bytes, number: int) -> bytes:
    """Return the event with the number of tokens so far, as vLLM and SGLang send it on request.

    An event that already contains its usage stays unchanged.
    """
    chunk = json.loads(event.removeprefix(b"data:"))
    if chunk.get("usage"):
        return event
    chunk["usage"] = {"completion_tokens": number}
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"
