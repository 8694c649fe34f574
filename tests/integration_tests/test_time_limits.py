"""A turn ends at its deadline on real connections, whatever the server sends."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend
from langchain_spec_thinking.errors import TurnTimeoutError
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMEOUT = 0.3
"""Timeout of a turn, in seconds."""
LATE = 1.0
"""How late a turn may end, in seconds."""
_BETWEEN = 0.02
"""Time between two parts that a server sends, in seconds."""


def event(**fields: Any) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
HI = STREAM + event(content="Hi.")
FRAGMENT = event(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "1"}}])
SERVERS: dict[str, tuple[bytes, bytes]] = {
    "comments": (HI, b": ping\n\n"),
    "empty deltas": (HI, event(content="")),
    "fragments of a call": (HI, FRAGMENT),
    "lines of a header": (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
    "a byte of a header": (b"HTTP/1.1 200 OK\r\na: ", b"b"),
    "the body of an error": (b"HTTP/1.1 500 no\r\n\r\n", b"x"),
    "a response that is no stream": (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", b"x"),
    "nothing": (b"", b""),
}
"""What a server sends at first, and what it sends again and again."""


class Server:
    """Sends the same to each connection until it is closed.

    Args:
        first: What to send at first.
        part: What to send again and again. If it is empty, nothing more is sent.
    """

    def __init__(self, first: bytes, part: bytes) -> None:
        self._first, self._part = first, part
        self._closed = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # the socket was closed
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:  # the client has closed the connection
            if connection.recv(65_536).startswith(b"GET") and self._part:
                connection.sendall(b"HTTP/1.1 404 no\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                return
            connection.sendall(self._first)
            while not self._closed.wait(_BETWEEN):
                connection.sendall(self._part)

    def close(self) -> None:
        """End all connections."""
        self._closed.set()
        self._socket.close()


@pytest.fixture(params=SERVERS.values(), ids=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with closing(Server(*request.param)) as listening:
        yield listening


WAYS: dict[str, Callable[[ChatSpeculativeThinking], Any]] = {
    "invoke": lambda pair: pair.invoke("x"),
    "stream": lambda pair: list(pair.stream("x")),
    "ainvoke": lambda pair: asyncio.run(pair.ainvoke("x")),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("continuation", ["chat_flag", "auto"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_turn_ends_at_its_deadline(scheme: str, server: Server, continuation: Any, way: str) -> None:
    """With https, the handshake never ends. With "auto", the server is asked what it is."""
    small = OpenAIBackend(
        "m", base_url=f"{scheme}://{server.place}/v1", api_key="none", continuation=continuation, max_retries=0
    )
    pair = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend(), timeout=TIMEOUT)
    _ = small.client  # importing the SDK takes long
    began = time.monotonic()
    if scheme == "http":
        with pytest.raises(TurnTimeoutError):
            WAYS[way](pair)
    else:  # what is sent is no handshake, so the connection may also fail at once
        with pytest.raises(Exception, match=r"m at https|the turn was not finished"):
            WAYS[way](pair)
    assert time.monotonic() - began < TIMEOUT + LATE


@pytest.mark.parametrize("way", WAYS)
def test_the_text_so_far_is_in_the_error(way: str) -> None:
    with closing(Server(HI, b": ping\n\n")) as server:
        small = OpenAIBackend("m", base_url=f"http://{server.place}/v1", api_key="none", continuation="chat_flag")
        pair = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend(), timeout=TIMEOUT)
        _ = small.client
        with pytest.raises(TurnTimeoutError) as caught:
            WAYS[way](pair)
    assert caught.value.answer == "Hi."
