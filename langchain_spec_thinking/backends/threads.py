"""Blocking work in threads that keep neither an event loop nor the end of the process waiting.

The threads are not those of the event loop's default executor. That executor has few threads, and the application needs
them for `asyncio.to_thread`.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
import weakref
from contextlib import closing, suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from langchain_spec_thinking.backends.thread_limit import ThreadLimit
from langchain_spec_thinking.errors import NoThreadError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

T = TypeVar("T")
_ITEMS_AHEAD = 1
_CANCEL_SECONDS = 0.5
"""How long a cancelled reader waits for its thread, in seconds. A step of a local model usually takes less."""
_EXIT_SECONDS = 2.0
"""How long the end of the process waits for all threads together, in seconds."""
_STREAMS = ThreadLimit(512)
"""Most streams in threads. A further stream waits until one of them ends. A stream that is half read does not end."""
_END: Any = object()
_THREADS: weakref.WeakSet[_StoppableThread] = weakref.WeakSet()
"""The threads to stop when the process ends."""


class _StoppableThread(threading.Thread):
    """A daemon thread and the function that stops it.

    The thread itself holds the function. The function may refer to an error of the thread, and the traceback of that
    error refers to the thread. If a global dictionary held the function, the error would never be collected.
    """

    def __init__(self, work: Callable[[], object], stop: Callable[[], object], name: str) -> None:
        super().__init__(target=work, name=name, daemon=True)
        self.stop = stop


def start_thread(work: Callable[[], object], stop: Callable[[], object], name: str) -> None:
    """Run a function in its own daemon thread.

    Args:
        work: The function to run.
        stop: Function that makes `work` end soon. It is called when the process ends.
        name: Name of the thread.

    Raises:
        RuntimeError: The process can have no more threads.
    """
    thread = _StoppableThread(work, stop, name)
    _THREADS.add(thread)
    try:
        thread.start()
    except RuntimeError:  # nobody can wait for a thread that never ran
        _THREADS.discard(thread)
        raise


@atexit.register
def _stop_threads() -> None:
    """Stop all threads, and wait for them for a short time. Python may crash if it ends while a thread uses torch."""
    threads = list(_THREADS)
    for thread in threads:
        thread.stop()
    until = time.monotonic() + _EXIT_SECONDS
    for thread in threads:
        thread.join(max(0, until - time.monotonic()))


async def iterate_in_thread(items: Generator[T, None, None], limit: ThreadLimit = _STREAMS) -> AsyncGenerator[T, None]:
    """Run a generator in its own thread and pass its items to the event loop.

    The whole generator runs in one thread, so items do not switch between threads. The generator runs at most one item
    ahead of its reader. If the reader stops, the thread finishes the current item and closes the generator. This
    function returns only after that, unless it is cancelled: then it waits half a second at most.

    Args:
        items: The generator. It was not started yet.
        limit: How many threads there may be. If there are as many, the generator starts later.

    Raises:
        NoThreadError: The process can have no more threads.
    """
    await limit.take()
    channel: _Channel[T] = _Channel()
    reader = _Reader()
    stop = weakref.finalize(reader, channel.stop)
    run = copy_context().run  # as `asyncio.to_thread` does
    try:
        start_thread(partial(run, channel.run, items, limit), channel.stop, "continue_turn")
    except RuntimeError as e:
        limit.give_back()  # as the thread would have done
        raise NoThreadError(str(e)) from e
    patience = None
    try:
        while (packed := await channel.received.get()) is not None:
            yield packed[0]
            channel.request_item()
        channel.ended.result()
    except asyncio.CancelledError:
        patience = _CANCEL_SECONDS
        raise
    finally:
        stop()  # a finalizer that was not called would keep the error of the generator for ever
        await asyncio.wait([channel.ended], timeout=patience)


class _Reader:
    """Lives as long as the asynchronous generator that refers to it.

    If the generator is collected without having been closed, because its event loop is closed, this object is collected
    too. Its finalizer then stops the thread.
    """


class _Channel(Generic[T]):
    """Passes the items of a generator from its thread to the running event loop.

    Attributes:
        received: Items that the thread has made, each in a tuple, then None.
        ended: Done when the thread has closed the generator. It holds the error of the generator, if there is one.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._requested = threading.Semaphore(1 + _ITEMS_AHEAD)
        self._stopped = False
        self.received: asyncio.Queue[tuple[T] | None] = asyncio.Queue()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def request_item(self) -> None:
        """Let the thread make one more item."""
        self._requested.release()

    def stop(self) -> None:
        """Let the thread end after the current item."""
        self._stopped = True
        self._requested.release()

    def run(self, items: Generator[T, None, None], limit: ThreadLimit) -> None:
        """Pass on the items of the generator. This method runs in the thread."""
        error: BaseException | None = None
        try:
            with closing(items):
                while self._is_item_wanted() and (item := next(items, _END)) is not _END:
                    self._loop.call_soon_threadsafe(self.received.put_nowait, (item,))
        except StopIteration as e:  # a future refuses it, so the reader would wait for ever
            error = RuntimeError(f"the generator raised {e!r}")
        except BaseException as e:  # noqa: BLE001 - the reader raises it
            error = e
        limit.give_back()
        with suppress(RuntimeError):  # the event loop is closed, so nobody reads
            self._loop.call_soon_threadsafe(self._end, error)

    def _is_item_wanted(self) -> bool:
        self._requested.acquire()
        return not self._stopped

    def _end(self, error: BaseException | None) -> None:
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
            self.ended.exception()  # marks the error as seen, because a reader that stopped does not ask for it
        self.received.put_nowait(None)
