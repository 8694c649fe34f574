"""The server waits for nothing without a limit: neither for bodies, nor for a free place, models or clients."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from langchain_spec_thinking.backends.base import Backend, Event, Piece, Request
from langchain_spec_thinking.serving.app import create_app
from langchain_spec_thinking.serving.limits import Limits
from tests.unit_tests.fake_time import FakeTime, FakeTimeLoop
from tests.unit_tests.openai_server import ASKED, KEY, Endless, client, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from fastapi import FastAPI

    from langchain_spec_thinking import ChatSpeculativeThinking
    from langchain_spec_thinking.turn import Turn


def app(model: ChatSpeculativeThinking, **limits: Any) -> FastAPI:
    return create_app(model, [KEY], limits=Limits(**limits))


class Exchange:
    """A request whose body may never end, and whose response may never be received.

    Attributes:
        task: The call of the application.
        sent: Messages that the application sent.
        started: Set when the application sends its first message.
    """

    def __init__(self, app: FastAPI, body: bytes, *, complete: bool = True, receives: bool = True) -> None:
        self._parts = [{"type": "http.request", "body": body, "more_body": not complete}]
        self._receives = receives
        self.sent: list[dict[str, Any]] = []
        self.started = asyncio.Event()
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {KEY}".encode())],
        }
        call: Any = app(scope, self._receive, self._send)
        self.task = asyncio.create_task(call)

    async def _receive(self) -> dict[str, Any]:
        if self._parts:
            return self._parts.pop()
        await asyncio.Event().wait()
        return {}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        self.started.set()
        if not self._receives:
            await asyncio.Event().wait()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()


def asked(**fields: Any) -> bytes:
    return json.dumps({**ASKED, **fields}).encode()


class Chatty(Backend):
    """A model that writes without end."""

    name = "chatty"

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        while True:
            yield Piece("on ", 0)


async def test_a_body_that_does_not_end_is_refused() -> None:
    exchange = Exchange(app(plain(), client_seconds=0.01), b"{", complete=False)
    await exchange.task
    assert exchange.status == 408
    assert json.loads(exchange.body)["error"]["code"] == "request_timeout"


async def test_a_request_does_not_wait_for_ever_for_its_turn() -> None:
    small = Endless()
    asking = client(plain(small), running=1, wait_seconds=0.01).chat.completions
    first = asyncio.create_task(asking.create(**ASKED))
    await small.started.get()
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError, match="no reply could begin within") as caught:
            await asking.create(**ASKED, stream=stream)
        assert (caught.value.status_code, caught.value.code) == (503, "overloaded")
        assert caught.value.response.headers["retry-after"]
    first.cancel()
    await asyncio.wait([first])
    assert small.open == 0


@pytest.mark.parametrize("make", [Endless, Chatty])
async def test_a_reply_does_not_take_longer_than_its_limit(make: Callable[[], Backend]) -> None:
    small = make()
    limits: dict[str, Any] = {"wait_seconds": 0.01, "reply_seconds": 0.05}
    with pytest.raises(openai.InternalServerError) as caught:
        await client(plain(small), **limits).chat.completions.create(**ASKED)
    assert (caught.value.status_code, caught.value.code) == (504, "timeout")
    read = []
    with pytest.raises(openai.APIError, match="did not answer in time") as ended:
        read += [
            part async for part in await client(plain(small), **limits).chat.completions.create(**ASKED, stream=True)
        ]
    assert ended.value.code == "timeout"
    assert getattr(small, "open", 0) == 0


async def test_the_time_limit_is_passed_to_the_chat_model() -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        await client(plain(Chatty()), reply_seconds=0.05).chat.completions.create(**ASKED)
    assert caught.value.code == "timeout"


def test_a_client_that_receives_nothing_does_not_hold_its_place() -> None:
    small, time = Endless(), FakeTime()

    async def main() -> None:
        exchange = Exchange(app(time.of(plain(small))), asked(stream=True), receives=False)
        await exchange.task
        assert small.open == 0
        assert exchange.status == 200
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=lambda: FakeTimeLoop(time)) as runner:
        runner.run(main())
    assert 600 <= time.seconds < 700  # limits of a reply and of the wait before it


@pytest.mark.parametrize("stream", [False, True])
async def test_the_end_of_the_server_is_told_to_the_client(stream: bool) -> None:
    small = Endless()
    exchange = Exchange(app(plain(small)), asked(stream=stream))
    await (exchange.started.wait() if stream else small.started.get())
    exchange.task.cancel()
    await asyncio.wait([exchange.task])
    assert small.open == 0
    assert exchange.status == (200 if stream else 503)
    assert '"code":"shutting_down"' in exchange.body
    assert exchange.sent[-1].get("more_body", False) is False


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("messages", ASKED["messages"] * 4),
        ("tools", [{"type": "function", "function": {"name": f"tool{i}"}} for i in range(4)]),
    ],
)
async def test_a_request_with_too_many_parts_is_refused(field: str, values: list[Any]) -> None:
    asking = client(plain(), messages=3, tools=3).chat.completions
    with pytest.raises(openai.BadRequestError, match="expected at most 3, got 4") as caught:
        await asking.create(**{**ASKED, field: values})
    assert (caught.value.param, caught.value.code) == (field, "array_above_max_length")
    await asking.create(**{**ASKED, field: values[:3]})


async def test_a_body_is_not_read_beyond_its_limit() -> None:
    exchange = Exchange(app(plain(), body=100), b" " * 101, complete=False)
    await exchange.task
    assert exchange.status == 413
