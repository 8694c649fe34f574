"""A stream may be left in any way: nothing is printed, and no request stays open."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import Backend, Event, Piece, Request
from tests.unit_tests.loops import wait_for_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator

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

    async def main() -> None:
        await leave(ChatSpeculativeThinking(speculative=make(), target=make(), max_tokens=10_000))

    asyncio.run(main())
    KEPT.clear()
    gc.collect()
    assert Opened.count == 0
    assert not [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert "".join(capfd.readouterr()) == ""
