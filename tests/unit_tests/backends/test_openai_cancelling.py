"""A cancelled turn leaves no open stream, no task, and no message from asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, OpenAIBackend
from tests.unit_tests.loops import wait_for_tasks
from tests.unit_tests.wire import Server, sse, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2
    import openai


def endless() -> httpx2.Response:
    return sse(*[text(" on")] * 500, text("\n\nWait"), *[text(" on")] * 500)


async def dropped(model: Any) -> None:
    """Read a stream and drop it."""
    async for _ in model.astream("x"):
        break


async def closed(model: Any) -> None:
    """Read a stream and close it."""
    stream = model.astream("x")
    await anext(stream)
    await stream.aclose()


async def cancelled(model: Any) -> None:
    """Read a stream in a task and cancel the task."""

    started = asyncio.Event()

    async def read() -> None:
        async for _ in model.astream("x"):
            started.set()
            await asyncio.sleep(0)

    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("leave", [dropped, closed, cancelled])
def test_nothing_is_left_running(leave: Callable[[Any], Awaitable[None]], caplog: pytest.LogCaptureFixture) -> None:
    opened: list[httpx2.Response] = []

    def answer() -> httpx2.Response:
        opened.append(endless())
        return opened[-1]

    def pair() -> ChatSpeculativeThinking:
        return ChatSpeculativeThinking(
            speculative=Server(answer).backend(),
            target=Server(answer).backend(),
            policy=DelegationPolicy(takeover_tokens=300),
            max_tokens=2000,
        )

    async def main() -> None:
        await leave(pair())
        await wait_for_tasks()

    asyncio.run(main(), debug=True)
    assert opened
    assert all(response.is_closed for response in opened)
    complaints = [record for record in caplog.records if record.name == "asyncio" and "took" not in record.message]
    assert not [record for record in complaints if record.levelname in {"WARNING", "ERROR"}]


def test_clients_of_closed_loops_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that is closed without `shutdown_asyncgens` cannot close its client."""
    backend = OpenAIBackend("m", base_url="http://127.0.0.1:9/v1", max_retries=0)
    clients = backend._clients  # noqa: SLF001
    kept: list[openai.AsyncOpenAI] = []
    for _ in range(5):
        loop = asyncio.new_event_loop()
        kept.append(loop.run_until_complete(clients.async_client()))
        loop.close()
        assert len(clients.by_loop) == 1
    assert [client.is_closed() for client in kept] == [True] * 4 + [False]
    assert not [record for record in caplog.records if record.name == "asyncio"]
