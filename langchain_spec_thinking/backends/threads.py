"""Iteration over a blocking generator from an event loop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

T = TypeVar("T")
_ITEMS_AHEAD = 1


async def iterate_in_thread(items: Generator[T, None, None]) -> AsyncGenerator[T, None]:
    """Run a generator in one worker thread and pass its items to the event loop.

    The whole generator runs in one thread, so items do not switch between threads. The generator runs at most one item
    ahead of its reader. If the reader stops, the worker finishes the current item and closes the generator. This
    function returns only after that, so no thread is left running.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[T] | None] = asyncio.Queue()
    stopped = threading.Event()
    requested = threading.Semaphore(_ITEMS_AHEAD)

    def pump() -> None:
        try:
            with closing(items):
                for item in items:
                    loop.call_soon_threadsafe(queue.put_nowait, (item,))
                    requested.acquire()
                    if stopped.is_set():
                        break
        finally:
            loop.call_soon_threadsafe(queue.put_nowait, None)

    worker = loop.run_in_executor(None, pump)
    try:
        while (packed := await queue.get()) is not None:
            requested.release()
            yield packed[0]
        await worker
    finally:
        stopped.set()
        requested.release()
        if not worker.done():
            # The generator is at most one item from its end. Wait for the worker, because it still calls back into this
            # event loop.
            await asyncio.wait([worker])
