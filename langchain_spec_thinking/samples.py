"""Further answers of the small model, which are drawn at the same time as the attempt and are not shown."""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import closing, suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.threads import start_thread
from langchain_spec_thinking.errors import BackendError, NoThreadError
from langchain_spec_thinking.owned_stream import OwnedStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Sequence
    from typing import Self

    from langchain_spec_thinking.deadline import Deadline
    from langchain_spec_thinking.run import Run
    from langchain_spec_thinking.turn_events import TurnEvent

PARALLEL_MAX = 8
"""Most samples of a turn that are drawn at the same time."""
CANCEL_SECONDS = 0.5
"""How long the end of asynchronous samples may take after they were cancelled, in seconds."""

Sample = tuple[int, BaseException | None]
"""The number of a sample that ended, and the error that ended it."""


class SampleThreads:
    """Draws samples in threads.

    At the end of a `with` block, samples that still run are cancelled. Each ends at the next text of its model.

    Args:
        runs: The turns of the samples.
        drive: Function that writes a turn.
    """

    def __init__(self, runs: Sequence[Run], drive: Callable[[Run], Generator[TurnEvent, None, None]]) -> None:
        self._drive = drive
        self._count = len(runs)
        self._waiting = iter(enumerate(runs))
        self._lock = threading.Lock()
        self._ended: queue.SimpleQueue[Sample] = queue.SimpleQueue()
        self._stopped = False

    def __enter__(self) -> Self:
        """Start the threads.

        Raises:
            NoThreadError: The process can have no more threads.
        """
        for number in range(min(PARALLEL_MAX, self._count)):
            try:
                start_thread(partial(copy_context().run, self._work), self.stop, "sample")
            except RuntimeError as e:
                if not number:
                    raise NoThreadError(str(e)) from e
                break  # the threads that run draw all samples, one after the other
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel the samples that still run."""
        self.stop()

    def stop(self) -> None:
        """Let every thread end at the next text of its model."""
        self._stopped = True

    def ended(self) -> list[Sample]:
        """Return the samples that ended since the last call, without waiting."""
        found: list[Sample] = []
        with suppress(queue.Empty):
            while True:
                found.append(self._ended.get_nowait())
        return found

    def wait(self, deadline: Deadline) -> list[Sample]:
        """Wait for the next sample that ends. Return none if the deadline passes first."""
        with suppress(queue.Empty):
            left = min(max(0.0, deadline.left()), threading.TIMEOUT_MAX) if deadline.limited else None
            return [self._ended.get(timeout=left)]
        return []

    def _work(self) -> None:
        while not self._stopped:
            with self._lock:
                number, run = next(self._waiting, (None, None))
            if number is None or run is None:
                return
            error: BaseException | None = None
            try:
                with closing(self._drive(run)) as events:
                    while not self._stopped and next(events, None):
                        pass
            except BaseException as e:  # noqa: BLE001 - whoever waits for the sample gets the error
                error = e
            self._ended.put((number, error))


class SampleTasks:
    """Draws samples in tasks of the running event loop.

    At the end of an `async with` block, samples that still run are cancelled.

    Args:
        runs: The turns of the samples.
        adrive: Function that writes a turn.
    """

    def __init__(self, runs: Sequence[Run], adrive: Callable[[Run], AsyncGenerator[TurnEvent, None]]) -> None:
        self._adrive = adrive
        self._count = len(runs)
        self._waiting = iter(enumerate(runs))
        self._ended: asyncio.Queue[Sample] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    async def __aenter__(self) -> Self:
        """Start the tasks."""
        self._tasks = [asyncio.create_task(self._work()) for _ in range(min(PARALLEL_MAX, self._count))]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel the samples that still run, and wait for their end."""
        self.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CANCEL_SECONDS)

    def stop(self) -> None:
        """Cancel the samples that still run. A second call does nothing, because it would disturb their end."""
        for task in [] if self._stopped else self._tasks:
            task.cancel()
        self._stopped = True

    def ended(self) -> list[Sample]:
        """Return the samples that ended since the last call, without waiting."""
        return [self._ended.get_nowait() for _ in range(self._ended.qsize())]

    async def wait(self) -> list[Sample]:
        """Wait for the next sample that ends."""
        return [await self._ended.get()]

    async def _work(self) -> None:
        for number, run in self._waiting:
            error: BaseException | None = None
            try:
                async with OwnedStream(self._adrive(run)) as events:
                    async for _ in events:
                        pass
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if self._stopped or (task and task.cancelling()):
                    raise
                error = BackendError("the request was cancelled by its backend")
            except Exception as e:  # noqa: BLE001 - whoever waits for the sample gets the error
                error = e
            self._ended.put_nowait((number, error))
