"""Iteration over a blocking generator from an event loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import closing, suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

T = TypeVar("T")
_ITEMS_AHEAD = 1
_CANCEL_SECONDS = 0.5
"""How long a cancelled iteration waits for its thread, in seconds. A thread that blocks for longer is left behind."""


async def iterate_in_thread(items: Generator[T, None, None]) -> AsyncGenerator[T, None]:
    """Run a generator in one worker thread and pass its items to the event loop.

    The whole generator runs in one thread, so items do not switch between threads. The generator runs at most one item
    ahead of its reader. If the reader stops, the worker finishes the current item and closes the generator. This
    function returns only after that, so no thread is left running. If the reader is cancelled, it waits only for a
    moment: a generator that blocks may never return. Its thread then closes it when it does, and does not keep the
    process from exiting.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[T] | None] = asyncio.Queue()
    stopped = threading.Event()
    requested = threading.Semaphore(_ITEMS_AHEAD)

    def put(item: tuple[T] | None) -> None:
        with suppress(RuntimeError):  # the event loop is closed, so nobody reads
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def pump() -> None:
        try:
            with closing(items):
                for item in items:
                    put((item,))
                    requested.acquire()
                    if stopped.is_set():
                        break
        finally:
            put(None)

    worker = asyncio.wrap_future(_in_own_thread(pump))
    patience = None
    try:
        while (packed := await queue.get()) is not None:
            requested.release()
            yield packed[0]
        await worker
    except asyncio.CancelledError:
        patience = _CANCEL_SECONDS
        raise
    finally:
        stopped.set()
        requested.release()
        if not worker.done():
            # The generator is at most one item from its end. Wait for the worker, because it still calls back into this
            # event loop.
            worker.add_done_callback(_ignore_error)
            await asyncio.wait([worker], timeout=patience)


def _ignore_error(worker: asyncio.Future[None]) -> None:
    """Look at the error of a worker that nobody waits for, so that asyncio does not print it."""
    if not worker.cancelled():
        worker.exception()


def _in_own_thread(act: Callable[[], None]) -> Future[None]:
    """Start a function in a thread that does not keep the process from exiting, and return its result as a future."""
    result: Future[None] = Future()
    result.set_running_or_notify_cancel()

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - passed on to the reader
            result.set_exception(error)
        else:
            result.set_result(None)

    threading.Thread(target=run, name="spec-thinking", daemon=True).start()
    return result
