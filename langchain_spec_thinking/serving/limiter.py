"""How many replies are written at the same time, and how many requests wait for that."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from langchain_spec_thinking.serving.errors import overloaded, too_many_requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from langchain_spec_thinking.serving.limits import Limits


class RequestLimiter:
    """Limits how many requests run, how many wait, and for how long.

    Args:
        limits: The limits.

    Attributes:
        running: How many replies are being written.
        waiting: How many requests wait for that.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(limits.running)
        self.running = 0
        self.waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait until the request may run.

        Raises:
            RefusedError: Too many requests are waiting, or this request has waited too long.
        """
        await self._acquire()
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._free.release()

    async def _acquire(self) -> None:
        limits = self._limits
        if self._free.locked() and self.waiting >= limits.waiting:
            raise too_many_requests(limits.running, self.waiting)
        self.waiting += 1
        try:
            async with asyncio.timeout(limits.wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise overloaded(limits.wait_seconds) from None
        finally:
            self.waiting -= 1
