"""Time that passes only if a test says so. Nothing waits for it."""

from __future__ import annotations

import asyncio
import selectors
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_spec_thinking.deadline import Clock

if TYPE_CHECKING:
    from langchain_spec_thinking import ChatSpeculativeThinking

Pair = TypeVar("Pair", bound="ChatSpeculativeThinking")


@dataclass
class FakeTime:
    """A clock that a test moves. Whoever sleeps moves it too.

    Attributes:
        seconds: The time now.
        waits: How long each sleep was, in seconds.
    """

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds

    async def async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)

    @property
    def clock(self) -> Clock:
        return Clock(self.now, self.sleep, self.async_sleep)

    def of(self, pair: Pair) -> Pair:
        """Let this be the time of a pair."""
        pair._clock = self.clock  # noqa: SLF001 - users have no use for another clock
        return pair


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """An event loop for which time passes at once if nothing else can happen.

    Args:
        time: The time of the loop.
    """

    def __init__(self, time: FakeTime) -> None:
        super().__init__(_FakeTimeSelector(time))
        self._fake_time = time

    def time(self) -> float:
        return self._fake_time.seconds


class _FakeTimeSelector(selectors.DefaultSelector):
    def __init__(self, time: FakeTime) -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(timeout if timeout is None else 0)
        if timeout and not ready:
            self._time.seconds += timeout
        return ready
