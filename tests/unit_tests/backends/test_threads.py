"""Streams of blocking backends need no thread of the application, and keep nothing from ending."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.backends import threads
from langchain_spec_thinking.backends.base import Backend, Event, Piece, Request
from langchain_spec_thinking.backends.thread_limit import ThreadLimit
from langchain_spec_thinking.backends.threads import iterate_in_thread, start_thread
from langchain_spec_thinking.errors import NoThreadError
from langchain_spec_thinking.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


class Blocking(Backend):
    """A backend that writes words. It waits before a word for as long as `gate` is cleared.

    Attributes:
        reached: Set when the backend is about to write the word at which it waits.
        closed: Set when a request is closed.
    """

    name = "blocking"

    def __init__(self) -> None:
        self.gate, self.reached, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.gate.set()

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        try:
            for _ in range(request.max_tokens):
                self.reached.set()
                self.gate.wait()
                yield Piece("on ")
        finally:
            self.closed.set()


def iter_once() -> Generator[int, None, None]:
    yield 1


def pair(backend: Backend) -> ChatSpeculativeThinking:
    return ChatSpeculativeThinking(speculative=backend, target=backend, max_tokens=50)


async def test_half_read_streams_take_no_thread_of_the_application() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    streams: list[Any] = [pair(Blocking()).astream("x") for _ in range(40)]
    for stream in streams:
        await anext(stream)
    assert (await pair(Blocking()).ainvoke("x")).text
    assert await asyncio.to_thread(lambda: "the application's own work") == "the application's own work"
    for stream in streams:
        await stream.aclose()


async def test_a_closed_stream_waits_until_its_generator_is_closed() -> None:
    backend = Blocking()
    async with aclosing(backend.acontinue_turn(Turn(()), Request(50))) as events:
        await anext(events)
    assert backend.closed.is_set()


async def test_a_cancelled_stream_does_not_wait_for_a_call_that_blocks() -> None:
    backend = Blocking()
    backend.gate.clear()
    task = asyncio.create_task(pair(backend).ainvoke("x"))
    await asyncio.to_thread(backend.reached.wait)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not backend.closed.is_set()
    backend.gate.set()
    assert await asyncio.to_thread(backend.closed.wait)


def test_a_stream_whose_loop_was_closed_ends_when_it_is_dropped() -> None:
    backend = Blocking()
    streams = [backend.acontinue_turn(Turn(()), Request(50))]

    async def begin() -> None:
        await anext(streams[0])

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    assert not backend.closed.is_set()
    streams.clear()
    gc.collect()
    assert backend.closed.wait()


async def test_an_error_in_the_thread_reaches_the_reader() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        msg = "no more"
        raise LookupError(msg)

    stream = iterate_in_thread(items())
    assert await anext(stream) == 1
    with pytest.raises(LookupError, match="no more"):
        await anext(stream)


async def test_streams_take_no_more_threads_than_allowed() -> None:
    limit, begun, most = ThreadLimit(3), 0, 0
    full, go, lock = threading.Event(), threading.Event(), threading.Lock()

    def items() -> Generator[int, None, None]:
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun)
        if begun == 3:
            full.set()
        go.wait()
        yield 1
        with lock:
            begun -= 1

    async def read() -> list[int]:
        return [item async for item in iterate_in_thread(items(), limit)]

    readers = [asyncio.create_task(read()) for _ in range(30)]
    await asyncio.to_thread(full.wait)
    go.set()
    assert await asyncio.gather(*readers) == [[1]] * 30
    assert most == 3


@contextmanager
def no_thread_can_start() -> Iterator[None]:
    """Ask for a stack that is larger than all memory, so that the system refuses every thread."""
    before = threading.stack_size(2**47)
    try:
        yield
    finally:
        threading.stack_size(before)


async def test_a_stream_without_a_thread_is_an_error_and_leaves_its_place_to_others() -> None:
    limit = ThreadLimit(1)
    with no_thread_can_start():
        for _ in range(3):
            with pytest.raises(NoThreadError, match=r"no thread could be started .*can't start new thread"):
                await anext(iterate_in_thread(iter_once(), limit))
    assert [item async for item in iterate_in_thread(iter_once(), limit)] == [1]


async def test_a_turn_without_a_thread_is_an_error_of_its_model() -> None:
    with no_thread_can_start(), pytest.raises(NoThreadError):
        await pair(Blocking()).ainvoke("x")


def test_the_end_of_the_process_waits_for_no_thread_that_could_not_start() -> None:
    with no_thread_can_start(), pytest.raises(RuntimeError, match="can't start new thread") as kept:
        start_thread(print, print, "never")
    assert kept.value.__traceback__  # its frames refer to the thread, so that it is not collected
    waited_for = threads._THREADS  # noqa: SLF001 - whom the end of the process waits for
    assert "never" not in [thread.name for thread in waited_for]


async def test_a_stream_that_is_cancelled_before_its_thread_starts_takes_none() -> None:
    limit = ThreadLimit(1)
    await limit.take()
    waiting = [asyncio.create_task(limit.take()) for _ in range(4)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    limit.give_back()  # the turn of the second one, which is cancelled before it notices
    waiting[1].cancel()
    await asyncio.wait(waiting[1:3])
    assert [task.cancelled() for task in waiting[:3]] == [True, True, False]
    limit.give_back()
    await waiting[3]


async def test_a_stream_whose_loop_was_closed_while_it_waited_takes_no_thread() -> None:
    limit = ThreadLimit(1)
    await limit.take()

    def wait_in_another_loop() -> None:
        loop = asyncio.new_event_loop()
        waiting = limit.take()

        async def begin() -> None:
            waiting.send(None)

        loop.run_until_complete(begin())
        loop.close()
        queue.append(waiting)

    queue: list[Any] = []
    await asyncio.to_thread(wait_in_another_loop)
    limit.give_back()
    queue.clear()  # closes it, as the garbage collector does
    await limit.take()
    second = asyncio.create_task(limit.take())
    await asyncio.sleep(0)
    assert not second.done()
    limit.give_back()
    await second


ENDLESS = """
import asyncio, threading
from langchain_spec_thinking.backends.base import Backend, Piece, Request
from langchain_spec_thinking.backends.prefetching import prefetch_by_request
from langchain_spec_thinking.turn import Turn

reached = threading.Event()

class Endless(Backend):
    name = "endless"

    def continue_turn(self, turn, request):
        yield Piece("on ")
        reached.set()
        threading.Event().wait()

async def main():
    await anext(Endless().acontinue_turn(Turn(()), Request(9)))

WORK
reached.wait()
print("done", flush=True)
"""


@pytest.mark.parametrize(
    "work",
    ["kept = prefetch_by_request(Endless(), Turn(()))", "asyncio.new_event_loop().run_until_complete(main())"],
    ids=["a prefetch", "a stream"],
)
def test_a_call_that_blocks_does_not_keep_the_process_from_exiting(work: str) -> None:
    code = ENDLESS.replace("WORK", work)
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


async def test_a_backend_that_raises_stop_iteration_keeps_no_reader_waiting() -> None:
    class Odd:
        """Ends as no generator does."""

        def __iter__(self) -> Odd:
            return self

        def __next__(self) -> Event:
            raise StopIteration

        def close(self) -> None:
            raise StopIteration

    odd: Any = Odd()
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await asyncio.wait_for(anext(iterate_in_thread(odd)), 5)


class FailedError(Exception):
    """An error that can have weak references."""


async def test_the_error_of_a_stream_is_collected() -> None:
    threads = []

    def items() -> Generator[int, None, None]:
        threads.append(threading.current_thread())
        yield 1
        raise FailedError

    async def read() -> weakref.ref[FailedError]:
        with pytest.raises(FailedError) as caught:
            _ = [item async for item in iterate_in_thread(items())]
        return weakref.ref(caught.value)

    errors = [await read() for _ in range(5)]
    while threads:
        threads.pop().join()
    gc.collect()
    assert [error() for error in errors] == [None] * 5


class Job:
    """Work that refers to its own thread, as the traceback of an error does."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def work(self) -> None:
        self.thread = threading.current_thread()
        self.begun.set()

    def stop(self) -> None:
        """Do nothing."""


def test_work_that_refers_to_its_thread_is_collected() -> None:
    def run() -> weakref.ref[Job]:
        job = Job()
        start_thread(job.work, job.stop, "job")
        assert job.begun.wait(60)
        job.thread.join()
        return weakref.ref(job)

    jobs = [run() for _ in range(5)]
    gc.collect()
    assert [job() for job in jobs] == [None] * 5
