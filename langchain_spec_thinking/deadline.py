"""The moment by which a turn must be finished, and the clock that measures it."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_spec_thinking.errors import TurnTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True, slots=True)
class Clock:
    """Tells the time and waits. A test can pass functions that do not wait.

    Attributes:
        now: Returns seconds from any origin.
        sleep: Waits for a number of seconds and blocks the thread.
        async_sleep: Waits for a number of seconds on an event loop.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    async_sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment by which a turn must be finished. Without arguments, there is no such moment.

    A deadline travels in each `Request`, so that every wait for a model can end in time.

    ```python
    deadline = Deadline.after(3)
    deadline.left()  # nearly 3.0
    Deadline().left()  # infinity
    ```

    Attributes:
        seconds: How long the turn may take in all, in seconds. Infinity means no limit.
        end: The moment on the clock, in seconds.
        clock: The clock of the turn.
    """

    seconds: float = math.inf
    end: float = math.inf
    clock: Clock = field(default_factory=Clock, repr=False)

    @classmethod
    def after(cls, seconds: float | None, clock: Clock | None = None) -> Deadline:
        """Return a deadline that begins now. None means no limit."""
        clock = clock or Clock()
        return cls(clock=clock) if seconds is None else cls(seconds, clock.now() + seconds, clock)

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self.end < math.inf

    def left(self) -> float:
        """Return the remaining time in seconds. It is negative after the deadline, and infinite without a limit."""
        return self.end - self.clock.now()

    def require(self) -> None:
        """Raise an error if no time is left.

        Raises:
            TurnTimeoutError: The deadline has passed. The caller adds the text of the turn to the error.
        """
        if self.limited and self.left() <= 0:
            raise TurnTimeoutError(self.seconds)
