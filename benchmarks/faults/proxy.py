"""A proxy between a client and a server that injects faults. It supports only the parts of HTTP/1.1 that it needs.

The proxy also numbers the events. To each event with text it adds the number of such events so far, as
`usage.completion_tokens`. vLLM and SGLang do the same on request (`continuous_usage_stats`). The server behind the
proxy may not number its events. Without numbers, an event that was sent twice looks like a model that repeats itself.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import time
from collections import Counter
from contextlib import aclosing, asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING

from benchmarks.faults.faults import Ending, Fault, Kind, Schedule, apply_fault, has_text, numbered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    import httpx2

_EVENT = re.compile(rb".*?(?:\r\n\r\n|\n\n)", re.DOTALL)
_RESET = struct.pack("ii", 1, 0)  # value of SO_LINGER: closing the socket resets the connection
_PAUSE = 0.0005
"""Pause after each part of an event that is sent in parts, in seconds."""
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
)


class FaultProxy:
    """Passes requests on to a server and its responses back to the client, and injects faults.

    Args:
        server: An HTTP client for the server. Its `base_url` is the server's address.
        schedule: The faults to inject.
        stall: Shortest silence, in seconds, after which a hang-up counts as a stall. A client that hangs up sooner
            wanted no more text, and did not notice the stall.
        clock: Returns the time in seconds from any origin.

    Attributes:
        injected: Number of faults of each kind that occurred.
    """

    def __init__(
        self,
        server: httpx2.AsyncClient,
        schedule: Schedule,
        *,
        stall: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.injected: Counter[Kind] = Counter()
        self._server = server
        self._schedule = schedule
        self._stall = stall
        self._clock = clock

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serve on a free port of this machine. Yield the address."""
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, which carries one request."""
        async with closing_connection(writer):
            fault = self._schedule.before_answer()
            if fault and fault.kind is Kind.REFUSED:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
            else:
                path, body = await read_request(reader)
                if fault:
                    writer.write(_refusal(fault))
                else:
                    await self._pass_on(path, body, reader, writer)
            if fault:
                self.injected[fault.kind] += 1

    async def _pass_on(
        self, path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        headers = {"content-type": "application/json"}
        async with self._server.stream("POST", path, content=body, headers=headers) as response:
            if "event-stream" not in response.headers.get("content-type", ""):
                writer.write(_response(response.status_code, await response.aread()))
                return
            writer.write(_STREAM_HEAD)
            async with aclosing(_events(response)) as events:
                ending = await self._stream(events, reader, writer)
        if ending is Ending.END:
            writer.write(b"0\r\n\r\n")
        if ending is Ending.SILENCE:
            since = self._clock()
            await reader.read()  # until the client hangs up
            if self._clock() - since >= self._stall:
                self.injected[Kind.STALL] += 1

    async def _stream(
        self, events: AsyncIterator[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Ending:
        """Send events with faults. Return how the response ends."""
        texts = since = 0
        fault = self._schedule.in_stream(first=True)
        async for event in events:
            if reader.at_eof():
                return Ending.CLOSE
            if has_text(event):
                texts += 1
                event = numbered(event, texts)  # noqa: PLW2901
            if fault is None or since < fault.events:
                await _send(writer, event)
                since += 1
            else:
                for step in apply_fault(fault, event):
                    if step is Ending.SILENCE:  # counted only after a client has waited
                        return step
                    if isinstance(step, Ending):
                        self.injected[fault.kind] += 1
                        return step
                    await _send(writer, step)
                    await asyncio.sleep(_PAUSE)
                self.injected[fault.kind] += 1
                fault, since = self._schedule.in_stream(first=False), 0
        return Ending.END


@asynccontextmanager
async def closing_connection(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close the connection at the end of the block. The client may hang up at any moment, which ends the block."""
    with suppress(ConnectionError, asyncio.IncompleteReadError), closing(writer):
        yield
    with suppress(ConnectionError):
        await writer.wait_closed()  # raises the error of the connection, which asyncio may print if nobody asks for it


async def read_request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Read the path and the body of a request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = re.search(r"(?im)^content-length: *(\d+)", head)
    return head.split(" ", 2)[1], await reader.readexactly(int(length[1]) if length else 0)


async def _events(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """Yield the events of a stream."""
    rest = b""
    async for part in response.aiter_bytes():
        rest += part
        while event := _EVENT.match(rest):
            rest = rest[event.end() :]
            yield event[0]


async def _send(writer: asyncio.StreamWriter, part: bytes) -> None:
    """Send a part of the body."""
    if part:  # an empty part would end the body
        writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        await writer.drain()


def _refusal(fault: Fault) -> bytes:
    error = json.dumps({"error": {"message": str(fault.kind), "type": "injected"}}).encode()
    if fault.kind is Kind.RATE_LIMIT:
        return _response(429, error, f"retry-after: {fault.retry_after}\r\n")
    return _response(500, error)


def _response(status: int, body: bytes, fields: str = "") -> bytes:
    head = f"HTTP/1.1 {status} Passed on\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"{head}{fields}connection: close\r\n\r\n".encode() + body
