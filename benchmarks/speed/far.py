"""A turn with ten takeovers on servers that are far away: how many round trips it waits for.

A relay delays every byte between the clients and the loopback server. A connection on loopback is open at once, so the
client waits here for as long as the handshakes of TCP and TLS would take.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpcore2

from benchmarks.speed.clients import QUESTION
from benchmarks.speed.figures import Figure
from benchmarks.speed.loopback import LARGE, SMALL, STEP, StreamSettings, position, serving
from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend
from langchain_spec_thinking.backends.base import Request
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from langchain_spec_thinking.backends.base import Event

    Invoke = Callable[[ChatSpeculativeThinking], dict[str, Any]]

ONE_WAY = 0.1
"""Latency of each way, in seconds."""
HANDSHAKE_TRIPS = 2
"""Round trips until a new connection can carry a request: one for TCP, and one for TLS 1.3."""
RATE, LOCAL_RATE = 400.0, 200.0
"""Tokens per second of the remote models, and of a local small model."""
STORY = StreamSettings(12 * STEP, cue_every=1, rate=RATE)
"""A story in which the small model hesitates ten times."""
_URL = STORY.url("http://far.test")  # a name with a dot, because servers on the own network get no spare connections


def measure(advance: Callable[[], object], *, one_way: float = ONE_WAY) -> dict[str, Figure]:
    """Count the round trips that each request of a model waits for, and measure the time of the turn.

    Args:
        advance: Called after each turn.
        one_way: Latency of each way, in seconds.
    """
    with serving() as server, asyncio.Runner() as loop:
        port = int(server.rpartition(":")[2])
        ways: dict[str, Invoke] = {
            "invoke": lambda pair: _report(pair.invoke(QUESTION)),
            "ainvoke": lambda pair: _report(loop.run(pair.ainvoke(QUESTION))),
        }
        turns: dict[str, dict[str, Any]] = {}
        for small in ("local", "remote"):
            for way, invoke in ways.items():
                near, far = (_turn(port, seconds, small, invoke, loop) for seconds in (0.0, one_way))
                trips = (far["seconds"] - near["seconds"]) / (2 * one_way)
                turns[f"{small} small model, {way}"] = {**far, "round_trips_by_time": round(trips, 1)}
                advance()
    return {"round_trips_per_takeover": per_request(turns)}


def per_request(turns: dict[str, dict[str, Any]]) -> Figure:
    """Return the round trips that a request waits for: one for its reply, and those of a handshake.

    Args:
        turns: For each turn, the number of `requests`, and the number of connections that a request `waited_for`.
    """
    samples = [1 + HANDSHAKE_TRIPS * turn["waited_for"] / turn["requests"] for turn in turns.values()]
    return Figure.of(samples, unit="round trips", target="<= 1", handshake=HANDSHAKE_TRIPS, turns=turns)


def _turn(port: int, one_way: float, small: str, invoke: Invoke, loop: asyncio.Runner) -> dict[str, Any]:
    """Write a turn whose servers are known already, and return its numbers."""
    with _relaying(port, one_way) as relay:
        network = Network(relay, one_way)
        backends = [
            OpenAIBackend(m, base_url=_URL, continuation="chat_trailing", thinking=True) for m in (SMALL, LARGE)
        ]
        for backend in backends:
            network.carry(backend.client)
            network.carry(loop.run(backend._clients.async_client()))  # noqa: SLF001 - there is no public way
        writer = backends[0] if small == "remote" else _Paced(_rest_of_story, thinks=True)
        pair = ChatSpeculativeThinking(speculative=writer, target=backends[1], max_tokens=2 * STORY.tokens)
        for backend in backends:
            _ask_once(backend, loop)
        before, began = dict(network.opened), time.perf_counter()
        report = invoke(pair)
        seconds = time.perf_counter() - began
        usage = report["usage"]
        return {
            "seconds": round(seconds, 3),
            "takeovers": report["takeovers"],
            "requests": usage["target"]["requests"] + (usage["speculative"]["requests"] if small == "remote" else 0),
            **{name: network.opened[name] - before[name] for name in before},
            "waited_for_opening": sum(spares.waits for spares in _spares(backends, loop)),
        }


def _spares(backends: list[OpenAIBackend], loop: asyncio.Runner) -> Iterator[Any]:
    """Yield what opens connections ahead, of all clients."""
    for backend in backends:
        for client in (backend.client, loop.run(backend._clients.async_client())):  # noqa: SLF001 - as above
            yield client.spares  # type: ignore[union-attr] # of our own clients


def _ask_once(backend: OpenAIBackend, loop: asyncio.Runner) -> None:
    """Send one request with each client, which also asks the server what it supports."""
    turn, request = Turn((Message("user", QUESTION),), thinks=True), Request(1)

    async def ask() -> None:
        async for _ in backend.acontinue_turn(turn, request):
            pass

    for _ in backend.continue_turn(turn, request):
        pass
    loop.run(ask())


def _rest_of_story(turn: Turn) -> str:
    return "".join(STORY.token(index, SMALL) for index in range(position(turn.body()), STORY.tokens))


class _Paced(ScriptedBackend):
    """A local model that takes time for its tokens."""

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Write the script, one piece after another."""
        for event in super().continue_turn(turn, request):
            time.sleep(1 / LOCAL_RATE)
            yield event


def _report(message: Any) -> dict[str, Any]:  # noqa: ANN401 - a message
    found: dict[str, Any] = message.response_metadata["speculative_thinking"]
    return found


@dataclass
class Network:
    """Opens connections to the relay, as slowly as to a server far away.

    Attributes:
        port: Port of the relay.
        one_way: Latency of each way, in seconds.
        opened: Number of connections that a request waited for, and of those that were opened ahead.
    """

    port: int
    one_way: float
    opened: dict[str, int] = field(default_factory=lambda: {"waited_for": 0, "opened_ahead": 0})

    def carry(self, client: Any) -> None:  # noqa: ANN401 - a client of the SDK
        """Let the connections of a client go to the relay."""
        pool = client._client._transport._pool  # noqa: SLF001 - as in backends/openai/network.py
        blocking = isinstance(pool._network_backend, httpcore2.NetworkBackend)  # noqa: SLF001
        wrapper = _Blocking if blocking else _OnLoop
        pool._network_backend = wrapper(pool._network_backend, self)  # noqa: SLF001

    def settings(self, opener: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Count a connection, and return where it goes."""
        self.opened["opened_ahead" if opener == "connection" else "waited_for"] += 1
        return {**settings, "host": "127.0.0.1", "port": self.port}

    @property
    def handshake(self) -> float:
        """Duration of a handshake, in seconds."""
        return 2 * self.one_way * HANDSHAKE_TRIPS


@dataclass
class _Blocking(httpcore2.NetworkBackend):
    inner: httpcore2.NetworkBackend
    network: Network

    def connect_tcp(self, **settings: Any) -> httpcore2.NetworkStream:  # type: ignore[override]
        settings = self.network.settings(threading.current_thread().name, settings)
        time.sleep(self.network.handshake)
        return self.inner.connect_tcp(**settings)


@dataclass
class _OnLoop(httpcore2.AsyncNetworkBackend):
    inner: httpcore2.AsyncNetworkBackend
    network: Network

    async def connect_tcp(self, **settings: Any) -> httpcore2.AsyncNetworkStream:  # type: ignore[override]
        task = asyncio.current_task()
        settings = self.network.settings(task.get_name() if task else "", settings)
        await asyncio.sleep(self.network.handshake)
        return await self.inner.connect_tcp(**settings)


@contextmanager
def _relaying(port: int, one_way: float) -> Iterator[int]:
    """Delay all bytes between the clients and a server inside this context. The context value is the relay's port."""
    found: list[Any]
    started, found = threading.Event(), []

    async def run() -> None:
        tasks: set[asyncio.Task[None]] = set()

        def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.create_task(_join(reader, writer, port, one_way)))

        server, ended = await asyncio.start_server(join, "127.0.0.1", 0), asyncio.Event()
        found.extend((asyncio.get_running_loop(), ended, server.sockets[0].getsockname()[1]))
        started.set()
        await ended.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    started.wait()
    loop, ended, own_port = found
    try:
        yield own_port
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, one_way: float) -> None:
    server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_pass_on(reader, server_writer, one_way), _pass_on(server_reader, writer, one_way))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, one_way: float) -> None:
    """Write each part that is read, one latency later."""

    def write(part: bytes) -> None:
        if not writer.is_closing():
            writer.write(part)

    with suppress(ConnectionError):
        while part := await reader.read(65536):
            asyncio.get_running_loop().call_later(one_way, write, part)
    await asyncio.sleep(one_way)
    writer.close()
