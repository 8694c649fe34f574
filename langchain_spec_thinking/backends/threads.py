"""A blocking generator, iterated from an event loop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

T = TypeVar("T")
_AHEAD = 1


async def iterate_in_thread(items: Generator[T, None, None]) -> AsyncGenerator[T, None]:
    """Run a generator in one worker thread and hand its items over as they come.

    The whole generator runs in one thread, so there is no hop per item. It runs ahead of its reader by one item at
    most. When the reader stops, the generator is closed after the item it is at, and only then does this one return:
    nothing is left running.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[T] | None] = asyncio.Queue()
    stopped = threading.Event()
    wanted = threading.Semaphore(_AHEAD)

    def pump() -> None:
        try:
            with closing(items):
                for item in items:
                    loop.call_soon_threadsafe(queue.put_nowait, (item,))
                    wanted.acquire()
                    if stopped.is_set():
                        break
        finally:
            loop.call_soon_threadsafe(queue.put_nowait, None)

    worker = loop.run_in_executor(None, pump)
    try:
        while (packed := await queue.get()) is not None:
            wanted.release()
            yield packed[0]
        await worker
    finally:
        stopped.set()
        wanted.release()
        if not worker.done():
            # The generator is at most one item from its end; the loop that it reports to has to outlive it.
            await asyncio.wait([worker])
