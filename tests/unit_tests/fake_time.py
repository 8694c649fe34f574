"""Time that passes only if a test says so. Nothing waits for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

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

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    @property
    def clock(self) -> Clock:
        return Clock(self.now, self.sleep, self.asleep)

    def of(self, pair: Pair) -> Pair:
        """Let this be the time of a pair."""
        pair._clock = self.clock  # noqa: SLF001 - users have no use for another clock
        return pair
