"""Scripted servers on a port of this machine. The path of a request says what its server does wrong."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.faults.cases import Case
from benchmarks.faults.proxy import closing_connection, read_request
from benchmarks.faults.scripted_server import ScriptedServer
from benchmarks.faults.scripts import Behaviour
from tests.unit_tests.fake_time import FakeTime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

_HEAD = "HTTP/1.1 {} Scripted\r\ncontent-type: {}\r\n{}\r\nconnection: close\r\n\r\n"
_DIALECT = ("vLLM", "chat_flag")
_BREAK_AT = 700
"""Where a stream breaks, in bytes. Every stream gets to its first text."""


@asynccontextmanager
async def listening() -> AsyncIterator[str]:
    """Serve on a free port of this machine. Yield the address."""
    async with await asyncio.start_server(_serve, "127.0.0.1", 0) as listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


def path(behaviour: Behaviour) -> str:
    """Return the path of the servers that behave like this."""
    return f"/{behaviour.name}/v1"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection, which carries one request."""
    async with closing_connection(writer):
        target, body = await read_request(reader)
        response = _answer(target, body)
        content_type = response.headers.get("content-type", "application/json")
        if "event-stream" in content_type:
            writer.write(_HEAD.format(response.status_code, content_type, "transfer-encoding: chunked").encode())
            await _until_hang_up(_stream(response, writer), reader)
        else:
            content = response.read()
            length = f"content-length: {len(content)}"
            writer.write(_HEAD.format(response.status_code, content_type, length).encode() + content)


def _answer(target: str, body: bytes) -> httpx2.Response:
    """Return the answer of a server that is made for this request."""
    behaviour = Behaviour[target.split("/")[1]]
    case = Case(*_DIALECT, True, behaviour, _BREAK_AT if behaviour is Behaviour.BREAK else 0)  # noqa: FBT003
    server = ScriptedServer(case.spoken, case.script(), FakeTime())
    method = "GET" if target.endswith("/models") else "POST"
    return server(httpx2.Request(method, f"{case.spoken.address}{target}", content=body))


async def _stream(response: httpx2.Response, writer: asyncio.StreamWriter) -> None:
    """Send a stream. Its pauses take real time."""
    try:
        async for part in response.stream:  # type: ignore[union-attr]
            if part:
                writer.write(b"%x\r\n%b\r\n" % (len(part), part))
                await writer.drain()
        writer.write(b"0\r\n\r\n")
    except httpx2.ReadError:  # the script breaks the stream
        writer.transport.abort()


async def _until_hang_up(sending: Coroutine[Any, Any, None], reader: asyncio.StreamReader) -> None:
    """Send a stream until it ends or the client hangs up."""
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(sending), asyncio.create_task(reader.read())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
