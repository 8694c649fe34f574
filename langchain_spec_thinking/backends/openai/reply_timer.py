"""How long a reply of a server may still take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    import httpx2

    from langchain_spec_thinking.deadline import Deadline

TIMED_OUT = "timed out"
"""Message of the errors of an HTTP client. The SDK replaces it by its own."""
AFTER_END_SECONDS = 5.0
"""Longest wait for what may follow a complete reply, in seconds: its usage and the end of the stream."""
DRAIN_SECONDS = 0.1
"""Longest wait for the end of a stream whose text nobody needs any more, in seconds."""
_DEFAULT_SILENCE = 120.0
"""Longest time without text if the user gives none, in seconds."""
_SHORTEST = 0.001
"""Shortest timeout of an HTTP client, in seconds. Clients take 0 and less for something else."""
_LONGEST = 86_400.0
"""Longest time without text, in seconds. Sockets refuse infinity."""


class HTTPTimeout(Protocol):
    """A timeout as HTTP clients have it: `httpx.Timeout`, or that of httpx2."""

    @property
    def read(self) -> float | None:
        """Longest wait for the next bytes, in seconds. None: no limit."""


def seconds_of(timeout: float | HTTPTimeout | None) -> float:
    """Return the longest time without text, in seconds. There always is one, so that no server waits for ever.

    Args:
        timeout: The setting of the user.

    Raises:
        ValueError: The time is not a positive number.
    """
    seconds: object = getattr(timeout, "read", timeout)
    if seconds is None:
        return _DEFAULT_SILENCE
    if not isinstance(seconds, (int, float)) or not seconds > 0:
        msg = f"timeout: expected a positive number of seconds, got {seconds!r}. None and httpx.Timeout are allowed too"
        raise ValueError(msg)
    return seconds


class ReplyTimer:
    """Limits one request: by the deadline of the turn, and by the longest time without text.

    Bytes that bring no text do not count: comments, empty deltas, or the lines of a header.

    Args:
        deadline: The deadline of the turn.
        silence: Longest time between two pieces of text, in seconds. It begins with the request. It is a day at most.
    """

    def __init__(self, deadline: Deadline, silence: float) -> None:
        self._deadline = deadline
        self._silence = min(silence, _LONGEST)
        self._now = deadline.clock.now
        self._silent_until = self._now() + self._silence

    def text_came(self) -> None:
        """Begin to measure the time without text again."""
        self._silent_until = self._now() + self._silence

    def text_ended(self) -> None:
        """Wait only `AFTER_END_SECONDS` from now on, because all text has come."""
        self._silence = min(self._silence, AFTER_END_SECONDS)
        self.text_came()

    def reply_ended(self) -> None:
        """Wait only `DRAIN_SECONDS` from now on, because only the end of the stream is missing."""
        self._silence = min(self._silence, DRAIN_SECONDS)
        self.text_came()

    def left(self) -> float:
        """Return the remaining time in seconds. It is not positive if the time is over."""
        return min(self._deadline.end, self._silent_until) - self._now()

    def timeout(self) -> TimeoutWithTimer:
        """Return the timeout for an HTTP client."""
        return TimeoutWithTimer(self)


class TimeoutWithTimer(float):
    """A timeout for an HTTP client, which knows its timer.

    As a number, it is the time that was left when it was made. An HTTP client waits that long for each of many bytes.
    So whoever knows the timer asks it before each wait.

    Attributes:
        timer: The timer of the request.
    """

    timer: ReplyTimer

    def __new__(cls, timer: ReplyTimer) -> Self:
        """Take the time that is left now."""
        seconds = super().__new__(cls, max(timer.left(), _SHORTEST))
        seconds.timer = timer
        return seconds


def timer_of(request: httpx2.Request) -> ReplyTimer | None:
    """Return the timer of a request, or None if it has no timer."""
    timeout = request.extensions.get("timeout", {}).get("read")
    return timeout.timer if isinstance(timeout, TimeoutWithTimer) else None
