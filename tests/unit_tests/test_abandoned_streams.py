"""A stream may be left in any way: nothing is printed, and no request stays open."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
from contextlib import aclosing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking, OpenAIBackend
from langchain_spec_thinking.backends.base import Backend, Event, Piece, Request
from tests.unit_tests.loops import wait_for_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator

    from langchain_spec_thinking.turn import Turn


class Opened:
    """Counts the open requests of all models in this file."""

    count = 0


async def several_steps() -> None:
    """Let other tasks run, as closing a connection does."""
    for _ in range(20):
        await asyncio.sleep(0)


async def close() -> None:
    """Close a request, which takes several steps."""
    try:
        await several_steps()
    finally:
        Opened.count -= 1


class InThread(Backend):
    """A backend without asynchronous methods."""

    name = "in a thread"

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        Opened.count += 1
        try:
            while True:
                yield Piece("on ")
        finally:
            Opened.count -= 1


class OnLoop(InThread):
    """A backend whose requests take a while to close."""

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        Opened.count += 1
        try:
            while True:
                await asyncio.sleep(0)
                yield Piece("on ")
        finally:
            await close()


class Chat(BaseChatModel):
    """A LangChain chat model whose streams take a while to close."""

    @property
    def _llm_type(self) -> str:
        return "endless"

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        Opened.count += 1
        try:
            while True:
                await asyncio.sleep(0)
                yield ChatGenerationChunk(message=AIMessageChunk(content="on "))
        finally:
            await close()


KEPT: list[Any] = []
BACKENDS: dict[str, Callable[[], Backend]] = {
    "a backend in a thread": InThread,
    "a backend on the event loop": OnLoop,
    "a LangChain chat model": lambda: ChatModelBackend(Chat(), continuation="chat_trailing"),
}


async def break_off(model: ChatSpeculativeThinking) -> None:
    async for _ in model.astream("x"):
        break
    await wait_for_tasks()


async def drop_in_a_cycle(model: ChatSpeculativeThinking) -> None:
    stream: Any = model.astream("x")
    await anext(stream)
    cycle = [stream]
    cycle.append(cycle)
    del stream, cycle
    await wait_for_tasks()


async def keep(model: ChatSpeculativeThinking) -> None:
    stream: Any = model.astream("x")
    await anext(stream)
    KEPT.append(stream)


async def keep_several(model: ChatSpeculativeThinking) -> None:
    for _ in range(5):
        await keep(model)


async def cancel_in_the_middle(model: ChatSpeculativeThinking) -> None:
    stream: Any = model.astream("x")
    await anext(stream)
    reading = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    KEPT.append(stream)


async def cancel_twice(model: ChatSpeculativeThinking) -> None:
    task = asyncio.create_task(model.ainvoke("x"))
    await several_steps()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await wait_for_tasks()


async def leave_a_task_running(model: ChatSpeculativeThinking) -> None:
    KEPT.append(asyncio.create_task(model.ainvoke("x")))
    await several_steps()


async def events_broken_off(model: ChatSpeculativeThinking) -> None:
    async for event in model.astream_events("x", version="v2"):
        if event["event"] == "on_chat_model_stream":
            break
    await wait_for_tasks()


WAYS: list[Callable[[ChatSpeculativeThinking], Awaitable[None]]] = [
    break_off,
    drop_in_a_cycle,
    keep,
    keep_several,
    cancel_in_the_middle,
    cancel_twice,
    leave_a_task_running,
    events_broken_off,
]


@pytest.mark.parametrize("leave", WAYS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_printed_and_nothing_stays_open(
    backend: str,
    leave: Callable[[ChatSpeculativeThinking], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    Opened.count = 0
    make = BACKENDS[backend]
    earlier = threading.enumerate()

    async def main() -> None:
        await leave(ChatSpeculativeThinking(speculative=make(), target=make(), max_tokens=10_000))

    asyncio.run(main())
    KEPT.clear()
    gc.collect()
    for thread in set(threading.enumerate()).difference(earlier):
        thread.join()  # it closes its request when it next looks whether its stream was left
    assert Opened.count == 0
    assert not [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert "".join(capfd.readouterr()) == ""


# -- a server on loopback


class _Endless(BaseHTTPRequestHandler):
    """Streams events until the client hangs up. Waits for the client only in writing."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_error(404)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        chunk = {"choices": [{"index": 0, "delta": {"content": "on "}}]}
        try:
            while True:
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Loopback(ThreadingHTTPServer):
    """A server on loopback. Closing it waits until every client has hung up."""

    daemon_threads = False

    def handle_error(self, *request: Any) -> None:
        """Print nothing if a client hangs up before it has sent its request."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*request)

    def model(self) -> ChatSpeculativeThinking:
        address = f"http://127.0.0.1:{self.server_address[1]}/v1"
        backend = OpenAIBackend("m", base_url=address, continuation="chat_flag", thinking=False, max_retries=0)
        return ChatSpeculativeThinking(speculative=backend, target=backend, max_tokens=10_000)


@contextmanager
def listening() -> Iterator[Loopback]:
    with Loopback(("127.0.0.1", 0), _Endless) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("leave", WAYS)
@pytest.mark.enable_socket  # of this machine only
def test_connections_are_closed_and_nothing_is_printed(
    leave: Callable[[ChatSpeculativeThinking], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with listening() as server:

        async def main() -> None:
            await leave(server.model())

        asyncio.run(main())
        KEPT.clear()
        gc.collect()
    assert not [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert "".join(capfd.readouterr()) == ""


async def close_early(model: ChatSpeculativeThinking) -> None:
    stream: Any = model.astream("x")
    async with aclosing(stream):
        await anext(stream)


async def cancel_while_reading(model: ChatSpeculativeThinking) -> None:
    began = asyncio.Event()

    async def read() -> None:
        async for _ in model.astream("x"):
            began.set()

    task = asyncio.create_task(read())
    await began.wait()
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("leave", [close_early, cancel_while_reading])
@pytest.mark.enable_socket  # of this machine only
def test_a_collection_in_another_thread_finds_no_generator_of_the_event_loop(
    leave: Callable[[ChatSpeculativeThinking], Awaitable[None]],
) -> None:
    """Otherwise the event loop may close a generator while the garbage collector finalizes it."""
    found: list[str] = []

    async def main(server: Loopback) -> None:
        begins, collected = sys.get_asyncgen_hooks()

        def finalize(generator: AsyncGenerator[object, object]) -> None:
            if threading.current_thread() is not threading.main_thread():
                found.append(repr(generator))
            if collected:
                collected(generator)

        sys.set_asyncgen_hooks(begins, finalize)
        model = server.model()  # its clients are closed when the model is collected, which is not what this test shows
        await leave(model)
        await asyncio.to_thread(gc.collect)
        assert model

    gc.collect()
    gc.disable()
    try:
        with listening() as server:
            asyncio.run(main(server))
    finally:
        gc.enable()
    assert found == []
