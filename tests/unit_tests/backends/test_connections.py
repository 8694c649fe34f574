"""Connections to a server that is far away: they are counted, not timed."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpcore2
import httpx2
import pytest

from benchmarks.speed.loopback import LARGE, MODELS, SMALL, STEP, StreamSettings, events, position
from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend
from langchain_spec_thinking.backends.base import End, Request
from langchain_spec_thinking.backends.openai.network import (
    CancellableBackend,
    CancellableStream,
    TimedBackend,
    TimedStream,
)
from langchain_spec_thinking.backends.openai.spare_connections import AsyncSpareConnections, SpareConnections
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.wire import turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_spec_thinking.turn import Turn

TAKEOVERS = 10
STORY = StreamSettings((TAKEOVERS + 2) * STEP, cue_every=1)
URL = STORY.url("http://far.test")
SETTINGS: dict[str, Any] = {"continuation": "chat_trailing", "thinking": True, "max_retries": 0}
BOTH = pytest.mark.parametrize("asynchronously", [False, True], ids=["blocking", "on an event loop"])


@dataclass
class Server:
    """A server in this process, and the network to it.

    Attributes:
        hangs_up: Whether it closes a connection after each answer.
        breaks: Whether it answers with an error that breaks off.
        dies: What happens to the next requests on connections that were idle, or that are new.
        opened: For each connection whether a request waited for it.
        requests: The bodies of the requests.
    """

    hangs_up: bool = False
    breaks: bool = False
    dies: dict[str, Any] = field(default_factory=dict)
    opened: list[bool] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def waited(self) -> int:
        """Return how many connections a request waited for."""
        return sum(self.opened)

    def answer(self, head: bytes, body: bytes) -> Iterator[bytes]:
        path = head.split(b" ", 2)[1].decode()
        if head.startswith(b"GET"):
            yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(MODELS)
            yield MODELS
            return
        self.requests.append(json.loads(body))
        if self.breaks:
            yield b"HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
            msg = "reset"
            raise httpcore2.ReadError(msg)
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        for part in events(path, self.requests[-1]):
            yield b"%x\r\n%s\r\n" % (len(part), part)
        yield b"0\r\n\r\n"


class Line:
    """One connection. Every read brings one part."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.received = b""
        self.parts: Iterator[bytes] = iter(())
        self.answers = 0

    def take(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if found and len(body) >= (int(length[1]) if length else 0):
            self.received = b""
            self.answers += 1
            self.parts = self.server.answer(head, body)

    def give(self) -> bytes:
        death = self.server.dies.pop("idle" if self.answers > 1 else "new", None)
        if isinstance(death, Exception):
            raise death
        return b"" if death is not None else next(self.parts, b"")

    def get_extra_info(self, info: str) -> Any:
        return self.server.hangs_up and self.answers > 0 if info == "is_readable" else None


class BlockingLine(Line, httpcore2.NetworkStream):
    """A connection of a blocking client."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.give()

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.take(buffer)

    def close(self) -> None:
        pass


class LineOnLoop(Line, httpcore2.AsyncNetworkStream):
    """A connection of a client on an event loop."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as in httpcore2
        await asyncio.sleep(0)
        return self.give()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self.take(buffer)

    async def aclose(self) -> None:
        pass


@dataclass
class BlockingNetwork(httpcore2.NetworkBackend):
    """Opens connections in memory."""

    server: Server

    def connect_tcp(self, *_: Any, **__: Any) -> httpcore2.NetworkStream:
        self.server.opened.append(threading.current_thread().name != "connection")
        return BlockingLine(self.server)


@dataclass
class NetworkOnLoop(httpcore2.AsyncNetworkBackend):
    """Opens connections in memory, on an event loop."""

    server: Server

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        task = asyncio.current_task()
        self.server.opened.append(task is None or task.get_name() != "connection")
        await asyncio.sleep(0)
        return LineOnLoop(self.server)


async def connected(server: Server, model: str, *, asynchronously: bool, url: str = URL) -> OpenAIBackend:
    """Return a backend whose own client uses the network in memory."""
    backend = OpenAIBackend(model, base_url=url, **SETTINGS)
    client: Any = await backend._clients.async_client() if asynchronously else backend.client  # noqa: SLF001
    network = client._client._transport._pool._network_backend  # noqa: SLF001
    assert isinstance(network, (TimedBackend, CancellableBackend))
    network._inner = NetworkOnLoop(server) if asynchronously else BlockingNetwork(server)  # noqa: SLF001
    return backend


async def invoked(pair: ChatSpeculativeThinking, *, asynchronously: bool) -> dict[str, Any]:
    message = await pair.ainvoke("x") if asynchronously else pair.invoke("x")
    found: dict[str, Any] = message.response_metadata["speculative_thinking"]
    assert found["degraded"] == []
    return found


async def continued(backend: OpenAIBackend, *, asynchronously: bool, max_tokens: int = 5) -> list[Any]:
    request = Request(max_tokens)
    if asynchronously:
        return [event async for event in backend.acontinue_turn(turn(thinks=True), request)]
    return list(backend.continue_turn(turn(thinks=True), request))


@pytest.fixture(autouse=True)
def no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "langchain_spec_thinking.backends.openai.network._addresses"
    monkeypatch.setattr(name, lambda host, _: [host])


def rest_of_story(half: Turn) -> str:
    return "".join(STORY.token(index, SMALL) for index in range(position(half.body()), STORY.tokens))


@BOTH
@pytest.mark.parametrize("hangs_up", [False, True], ids=["keeps connections", "closes idle connections"])
@pytest.mark.parametrize("small_is", ["local", "remote"])
async def test_a_takeover_waits_for_one_round_trip_of_each_model(
    small_is: str, hangs_up: bool, asynchronously: bool
) -> None:
    small, large = Server(hangs_up), Server(hangs_up)
    target = await connected(large, LARGE, asynchronously=asynchronously)
    writer = await connected(small, SMALL, asynchronously=asynchronously)
    local = ScriptedBackend(rest_of_story, thinks=True)
    pair = ChatSpeculativeThinking(
        speculative=local if small_is == "local" else writer, target=target, max_tokens=2 * STORY.tokens
    )
    await invoked(pair, asynchronously=asynchronously)  # the first requests open the first connections
    before = [(server.waited(), len(server.opened), len(server.requests)) for server in (small, large)]
    report = await invoked(pair, asynchronously=asynchronously)
    after = [(server.waited(), len(server.opened), len(server.requests)) for server in (small, large)]
    (small_waited, small_opened, small_sent), (large_waited, large_opened, large_sent) = (
        tuple(b - a for a, b in zip(*pairs, strict=True)) for pairs in zip(before, after, strict=True)
    )
    assert report["takeovers"] >= TAKEOVERS
    assert large_sent == report["takeovers"]
    assert small_sent == (0 if small_is == "local" else report["takeovers"] + 1)
    assert small_waited + large_waited == 0
    if asynchronously:  # a thread that opens a connection may be slower than the other model, which takes no time
        clients = [await backend._clients.async_client() for backend in (writer, target)]  # noqa: SLF001
        assert [client.spares.waits for client in clients if client.spares] == [0, 0]  # type: ignore[attr-defined]
    assert small_opened <= small_sent
    assert large_opened <= large_sent


@BOTH
@pytest.mark.parametrize("max_tokens", [5, 2 * STORY.tokens], ids=["at the limit", "at the end"])
async def test_a_reply_that_ends_leaves_its_connection(max_tokens: int, asynchronously: bool) -> None:
    server = Server()
    backend = await connected(server, LARGE, asynchronously=asynchronously)
    for _ in range(3):
        assert isinstance((await continued(backend, asynchronously=asynchronously, max_tokens=max_tokens))[-1], End)
    assert len(server.opened) == 1


@BOTH
@pytest.mark.parametrize("death", [b"", httpcore2.ReadError("reset")], ids=["closed", "reset"])
async def test_a_connection_that_dies_while_it_is_idle_costs_no_attempt(death: Any, asynchronously: bool) -> None:
    server = Server()
    backend = await connected(server, LARGE, asynchronously=asynchronously)
    first = await continued(backend, asynchronously=asynchronously)
    server.dies = {"idle": death}
    assert await continued(backend, asynchronously=asynchronously) == first
    assert len(server.opened) == 2


@BOTH
async def test_a_new_connection_that_dies_is_an_error(asynchronously: bool) -> None:
    """The server may have begun to write, so only `max_retries` repeats the request."""
    server = Server(hangs_up=True)
    backend = await connected(server, LARGE, asynchronously=asynchronously)
    await continued(backend, asynchronously=asynchronously)
    server.dies = {"new": b""}
    before = len(server.opened)
    with pytest.raises(BackendError):
        await continued(backend, asynchronously=asynchronously)
    assert len(server.opened) == before + 1


@BOTH
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://far.test"])
async def test_only_a_server_outside_the_own_network_gets_spare_connections(url: str, asynchronously: bool) -> None:
    backend = await connected(Server(), LARGE, asynchronously=asynchronously, url=STORY.url(url))
    client: Any = await backend._clients.async_client() if asynchronously else backend.client  # noqa: SLF001
    assert (client.spares is not None) is (url == "http://far.test")


@BOTH
async def test_an_answer_that_breaks_off_is_an_error(asynchronously: bool) -> None:
    """The client reads an error's text to its end. Its connection has answered, so it was not dead."""
    server = Server()
    backend = await connected(server, LARGE, asynchronously=asynchronously)
    await continued(backend, asynchronously=asynchronously)
    server.breaks = True
    with pytest.raises(BackendError):
        await continued(backend, asynchronously=asynchronously)


@BOTH
async def test_a_connection_that_dies_late_is_an_error(asynchronously: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may have worked on the request, and may bill it."""
    server = Server()
    backend = await connected(server, LARGE, asynchronously=asynchronously)
    await continued(backend, asynchronously=asynchronously)
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.network._FOUND_DEAD_SECONDS", 0.0)
    server.dies = {"idle": b""}
    with pytest.raises(BackendError):
        await continued(backend, asynchronously=asynchronously)
    assert len(server.opened) == 1


class OtherPool:
    """A pool of another version, which has neither connections nor a function that makes them."""


@BOTH
async def test_another_version_of_the_pool_costs_only_the_spare_connections(asynchronously: bool) -> None:
    server = Server()
    backend = await connected(server, LARGE, asynchronously=asynchronously)
    client: Any = await backend._clients.async_client() if asynchronously else backend.client  # noqa: SLF001
    client.spares._pool = OtherPool()  # noqa: SLF001
    backend.connect_ahead()
    assert isinstance((await continued(backend, asynchronously=asynchronously))[-1], End)


def test_nothing_is_opened_before_the_first_request_or_with_a_client_of_the_user() -> None:
    fresh = OpenAIBackend("m", base_url="http://far.test/v1")
    fresh.connect_ahead()
    assert "client" not in vars(fresh._clients)  # noqa: SLF001
    own = httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(500)))
    used = OpenAIBackend("m", base_url="http://far.test/v1", http_client=own)
    assert getattr(used.client, "spares", None) is None
    used.connect_ahead()


@pytest.mark.enable_socket  # of this machine only
@pytest.mark.parametrize("kind", [TimedStream, CancellableStream])
def test_unread_bytes_before_the_first_request_do_not_mean_that_the_server_hung_up(kind: type[Any]) -> None:
    """A server sends keys for the next TLS connection after the handshake."""
    ours, theirs = socket.socketpair()

    class Raw(BlockingLine):
        """A connection with a socket."""

        def get_extra_info(self, info: str) -> Any:
            return {"socket": ours, "is_readable": "as usual"}[info]

    with ours, theirs:
        stream = kind(Raw(Server()))
        assert stream.get_extra_info("is_readable") == "as usual"
        stream.use.wait_for_first()
        assert stream.get_extra_info("is_readable") is False
        theirs.send(b"keys")
        assert stream.get_extra_info("is_readable") is False
        ours.recv(4)
        theirs.close()
        assert stream.get_extra_info("is_readable") is True
        stream.use.sent()
        assert stream.get_extra_info("is_readable") == "as usual"


@pytest.mark.parametrize(("running", "spares"), [(0, 1), (1, 1), (7, 1), (8, 2), (256, 33)])
async def test_few_spare_connections_serve_many_streams(running: int, spares: int) -> None:
    class Connection:
        """A connection of a pool."""

        def __init__(self, *, idle: bool) -> None:
            self.is_idle = lambda: idle
            self.has_expired = lambda: False
            self.can_handle_request = lambda _: True

    server = Server()
    for kind, asynchronously in ((SpareConnections, False), (AsyncSpareConnections, True)):
        backend = await connected(server, LARGE, asynchronously=asynchronously)
        client: Any = await backend._clients.async_client() if asynchronously else backend.client  # noqa: SLF001
        found = kind(client)
        kept = found._pool._connections  # noqa: SLF001
        kept.extend(Connection(idle=False) for _ in range(running))
        while found._wants(0):  # noqa: SLF001
            kept.append(Connection(idle=True))
        assert len(kept) == running + spares
        kept.clear()
