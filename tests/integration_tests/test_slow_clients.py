"""Clients that send or receive too slowly, on real connections. The server closes them and serves the others."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai
import pytest

from benchmarks.serving import serving
from tests.integration_tests.slow_server import LIMITS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

KEY = "sk-slow"
MODEL = "speculative-thinking"
COMMAND = [sys.executable, "-m", "tests.integration_tests.slow_server"]
SECONDS = 30.0
"""How long a busy machine may take for what the server does after `client_seconds`."""


@pytest.fixture
def url(tmp_path: Any) -> Iterator[str]:
    with serving(COMMAND, {"SPEC_THINKING_API_KEY": KEY}, tmp_path / "log", key=KEY) as url:
        yield url


def header(*, key: str = KEY, length: int = 100) -> bytes:
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {key}",
        f"Content-Length: {length}",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def asked(content: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": content}], **fields}


async def dripping(data: bytes) -> AsyncIterator[bytes]:
    """Yield the first byte at once and each other byte before the server would call the connection idle."""
    for i in range(len(data)):
        yield data[i : i + 1]
        await asyncio.sleep(LIMITS.client_seconds / 5)


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def until_closed(url: str, first: bytes, slowly: bytes) -> bytes:
    """Send bytes at once, then bytes slowly. Return what the server sent when it has closed the connection."""
    reader, writer = await connected(url)

    async def send() -> None:
        with suppress(ConnectionError):
            writer.write(first)
            async for byte in dripping(slowly):
                writer.write(byte)
                await writer.drain()

    sending = asyncio.create_task(send())
    received = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(LIMITS.client_seconds + SECONDS):
            received = await reader.read()
    sending.cancel()
    writer.close()
    return received


async def test_slow_connections_are_closed(url: str) -> None:
    """Twelve connections of each kind: nothing sent, a slow header, a slow body, and a slow body without a key."""
    kinds = [
        (b"", b"", b""),
        (b"", header() * 10, b""),
        (header(), b" " * 100, b"request_timeout"),
        (header(key="sk-wrong"), b" " * 100, b"invalid_api_key"),
    ]
    closing = [asyncio.create_task(until_closed(url, *kind[:2])) for kind in kinds for _ in range(12)]
    async with openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0) as client:
        assert (await client.chat.completions.create(**asked("hi"))).choices[0].message.content
    received = await asyncio.gather(*closing)
    for i, (_, _, expected) in enumerate(kinds):
        for said in received[12 * i : 12 * i + 12]:
            assert expected in said
            assert bool(said) is bool(expected)


async def test_a_client_that_does_not_receive_loses_its_place(url: str) -> None:
    """Two such clients take both places. After `client_seconds` both places are free again."""
    body = json.dumps(asked("write", stream=True)).encode()
    streams = []
    for _ in range(2):
        streams.append(await connected(url))
        streams[-1][0]._transport.pause_reading()  # type: ignore[attr-defined]  # noqa: SLF001 - nothing is received
        streams[-1][1].write(header(length=len(body)) + body)
    until = time.monotonic() + SECONDS
    async with openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0) as client:
        while time.monotonic() < until:
            with suppress(openai.InternalServerError):  # both places are taken
                await client.chat.completions.create(**asked("hi"))
                break
        else:
            pytest.fail("the places were not free again")
    for _, writer in streams:
        writer.transport.abort()


def test_the_server_stops_although_a_stream_is_open(tmp_path: Any) -> None:
    with serving(COMMAND, {"SPEC_THINKING_API_KEY": KEY}, tmp_path / "log", key=KEY) as url:
        client = openai.OpenAI(api_key=KEY, base_url=url, max_retries=0)
        stream = client.chat.completions.create(**asked("wait", stream=True))
        next(stream)
    # `serving` has waited for the end of the process, and fails if the process does not end.
    with pytest.raises(openai.APIError, match="shutting down") as caught:
        list(stream)
    assert caught.value.code == "shutting_down"
    client.close()
    with socket.socket() as again:
        assert again.connect_ex((urlsplit(url).hostname, urlsplit(url).port))
