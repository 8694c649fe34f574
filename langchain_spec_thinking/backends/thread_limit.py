"""A limit for the number of threads."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress


class ThreadLimit:
    """Limits the number of threads. Whoever waits for a free one blocks no event loop.

    Args:
        threads: Most threads at the same time.
    """

    def __init__(self, threads: int) -> None:
        self._lock = threading.RLock()  # the garbage collector may close a waiting stream within `give_back`
        self._free = threads
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._called: set[asyncio.Future[None]] = set()  # they may start, but have not noticed yet

    async def take(self) -> None:
        """Wait until a thread may start. The thread must call `give_back` when it ends."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
        try:
            await turn
        except BaseException:  # cancelled, or closed because its event loop is gone
            if self._leave(turn):
                self.give_back()
            raise
        self._leave(turn)

    def give_back(self) -> None:
        """Let the next one in the queue start its thread."""
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                with suppress(RuntimeError):  # its event loop is closed, so nobody waits
                    turn.get_loop().call_soon_threadsafe(_call, turn)
                    self._called.add(turn)
                    return
            self._free += 1

    def _leave(self, turn: asyncio.Future[None]) -> bool:
        """Leave the queue. Return whether it was this one's turn."""
        with self._lock:
            called = turn in self._called
            self._called.discard(turn)
            if turn in self._waiting:
                self._waiting.remove(turn)
        return called


def _call(turn: asyncio.Future[None]) -> None:
    if not turn.done():  # otherwise it was cancelled meanwhile
        turn.set_result(None)
