"""The limits of requests to a server: seconds, tokens, bytes. They hold whatever the server sends."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpcore2
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.exceptions import ModelTimeoutError

from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend
from langchain_spec_thinking.backends.base import Call, End, Piece, Request
from langchain_spec_thinking.backends.openai.network import CancellableStream, TimedBackend, TimedStream
from langchain_spec_thinking.backends.openai.reply_timer import ReplyTimer
from langchain_spec_thinking.backends.openai.response_bytes import EVENT_BYTES_MAX
from langchain_spec_thinking.backends.replies.tool_call_deltas import ARGUMENTS_CHARACTERS_MAX, ToolCallDeltas
from langchain_spec_thinking.deadline import Deadline
from langchain_spec_thinking.errors import BackendError, CompressedReplyError, OversizedReplyError, TurnTimeoutError
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import Tools
from tests.unit_tests.backends import tiny
from tests.unit_tests.fake_time import FakeTime, FakeTimeLoop
from tests.unit_tests.wire import Body, Handler, Server, delta, event, refused, sse, streamed, text, turn

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable, Iterator

CHAT: dict[str, Any] = {"tokenizer": None, "continuation": "chat_flag"}
PING = b": ping\n\n"
EMPTY = event(delta(content=""))
HI = event(delta(content="Hi"))
STOP = event(delta("stop", content=""))
FRAGMENT = event(delta(tool_calls=[{"index": 0, "function": {"name": None, "arguments": "1"}}]))


@dataclass
class TimedBody(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body whose parts take time.

    Attributes:
        parts: Pairs of seconds and bytes.
    """

    time: FakeTime
    parts: Iterable[tuple[float, bytes]]

    def __iter__(self) -> Iterator[bytes]:
        for seconds, part in self.parts:
            self.time.seconds += seconds
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


def tools() -> Tools:
    schema = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    return Tools((schema,))


BOTH = pytest.mark.parametrize("asynchronously", [False, True], ids=["continue_turn", "acontinue_turn"])


async def events(
    backend: OpenAIBackend, *, asynchronously: bool, deadline: Deadline | None = None, begun: str = ""
) -> list[Any]:
    half, request = turn(begun, tools=tools()), Request(30, deadline=deadline or Deadline())
    if asynchronously:
        return [found async for found in backend.acontinue_turn(half, request)]
    return list(backend.continue_turn(half, request))


# -- seconds


def read(time: FakeTime, parts: Iterable[tuple[float, bytes]], **settings: Any) -> list[Any]:
    """Return what comes of a reply, and the error that ends it."""
    server = Server(lambda: streamed(TimedBody(time, parts)))
    backend = server.backend(**{**CHAT, "max_retries": 0, **settings})
    got: list[Any] = []
    try:
        request = Request(10_000, deadline=Deadline.after(None, time.clock))
        got.extend(backend.continue_turn(turn(tools=tools()), request))
    except BackendError as error:
        got.append(error)
    return got


@pytest.mark.parametrize("chatter", [PING, EMPTY, b": a\n", b"retry: 1\n", event({"choices": []})])
def test_chatter_is_not_text(chatter: bytes) -> None:
    time = FakeTime()
    *_, error = read(time, itertools.chain([(0.0, HI)], itertools.repeat((10.0, chatter))), timeout=120.0)
    assert isinstance(error, BackendError)
    assert "Raise `timeout`" in str(error)
    assert time.seconds == 120.0


@pytest.mark.parametrize("part", [HI, FRAGMENT])
def test_a_slow_reply_with_text_is_read(part: bytes) -> None:
    time = FakeTime()
    got = read(time, [(100.0, part)] * 10 + [(100.0, STOP)], timeout=120.0)
    assert isinstance(got[-1], End)
    assert time.seconds == 1100.0


SLOW = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 1.0, 3.0]), st.sampled_from([PING, EMPTY, HI, FRAGMENT, b"data: {", STOP])),
    max_size=20,
)
ANSWERS = st.one_of(
    st.builds(lambda parts: lambda time: streamed(TimedBody(time, parts)), SLOW),
    st.builds(lambda parts: lambda time: streamed(TimedBody(time, itertools.cycle([(0.5, PING), *parts]))), SLOW),
    st.sampled_from([lambda _, s=s: refused(429, **{"retry-after": s})() for s in ("0", "2", "15", "3600")]),
    st.sampled_from([lambda _, status=status: refused(status, "top_p unknown")() for status in (400, 422, 500)]),
)


@settings(max_examples=100)
@given(
    answers=st.lists(ANSWERS, min_size=1, max_size=5),
    timeout=st.sampled_from([None, 1.0, 5.0, 30.0]),
    asynchronously=st.booleans(),
)
def test_no_server_makes_a_turn_exceed_its_seconds_or_requests(
    answers: list[Any], timeout: float | None, asynchronously: bool
) -> None:
    time, sent = FakeTime(), []

    class Hostile(Handler):
        """Gives each request the next answer, again and again."""

        def __call__(self, request: httpx2.Request) -> httpx2.Response:
            sent.append(request)
            return answers[len(sent) % len(answers)](time)  # type: ignore[no-any-return]

    small = Hostile().backend(continuation="auto", timeout=20.0)
    pair = time.of(ChatSpeculativeThinking(speculative=small, target=ScriptedBackend(), timeout=timeout, max_tokens=50))
    with suppress(BackendError):
        asyncio.run(pair.ainvoke("x")) if asynchronously else pair.invoke("x")
    assert len(sent) <= 3 * 10 + 3 * 60
    if timeout:
        assert time.seconds <= timeout + 3.0  # no part takes longer than three seconds


def test_a_wait_that_a_server_asks_for_ends_before_the_deadline() -> None:
    time, server = FakeTime(), Server(refused(429, **{"retry-after": "15"}))
    pair = time.of(ChatSpeculativeThinking(speculative=server.backend(), target=ScriptedBackend(), timeout=20.0))
    with pytest.raises(BackendError, match="Try again later"):
        pair.invoke("x")
    assert time.waits == [15.0]


def test_a_header_that_never_ends_is_not_awaited_for_ever() -> None:
    """Without a deadline of the turn, each attempt may take the timeout of the backend."""
    time = FakeTime()

    class Never(Handler):
        """Never answers."""

        async def acall(self, request: httpx2.Request) -> httpx2.Response:
            await asyncio.Event().wait()
            return httpx2.Response(200)

    async def main() -> None:
        small = Never().backend(**{**CHAT, "max_retries": 1})
        pair = time.of(ChatSpeculativeThinking(speculative=small, target=ScriptedBackend()))
        with pytest.raises(ModelTimeoutError, match="Raise `timeout`"):
            await pair.ainvoke("x")

    with asyncio.Runner(loop_factory=lambda: FakeTimeLoop(time)) as runner:
        runner.run(main())
    assert 2 * 120.0 <= time.seconds - sum(time.waits) < 2 * 120.0 + 6.0  # the list of models gets five seconds


def test_a_turn_does_not_wait_long_for_the_negotiation_of_another_turn() -> None:
    backend = Server(sse(text("A", "stop"))).backend(**{**CHAT, "continuation": "auto"})
    with backend._negotiating(Deadline()), pytest.raises(TurnTimeoutError):  # noqa: SLF001
        list(backend.continue_turn(turn(), Request(5, deadline=Deadline.after(0.01))))


@BOTH
async def test_a_turn_without_time_learns_nothing_about_the_server(asynchronously: bool) -> None:
    time = FakeTime()

    class Slow(Server):
        """Lists its models too late."""

        def listing(self, request: httpx2.Request) -> httpx2.Response:
            time.seconds += 5.0
            raise httpx2.ReadTimeout("", request=request)

    backend = Slow(sse(text("A", "stop"))).backend(**{**CHAT, "continuation": "auto"})
    with pytest.raises(TurnTimeoutError):
        await events(backend, asynchronously=asynchronously, deadline=Deadline.after(1.0, time.clock))
    assert not backend.profile.is_ready()


# -- connections


@dataclass
class Network(httpcore2.NetworkBackend, httpcore2.NetworkStream):
    """A network whose server sends one byte after another.

    Attributes:
        sends: What the server sends.
        seconds: How long each connection, handshake and byte takes.
    """

    time: FakeTime
    sends: Iterator[int]
    seconds: float = 1.0
    refused: set[str] = field(default_factory=set)

    def _wait(self, timeout: float | None, error: type[Exception]) -> None:
        assert timeout is not None
        assert timeout > 0
        self.time.seconds += min(timeout, self.seconds)
        if timeout < self.seconds:
            raise error

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *_: Any) -> httpcore2.NetworkStream:
        self._wait(timeout, httpcore2.ConnectTimeout)
        return self

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        self._wait(timeout, httpcore2.ConnectTimeout)
        return self

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._wait(timeout, httpcore2.WriteTimeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._wait(timeout, httpcore2.ReadTimeout)
        return bytes([*itertools.islice(self.sends, 1)])

    def close(self) -> None:
        pass


HEADER = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n"


def slow_backend(time: FakeTime, sends: Iterator[int], seconds: float, scheme: str = "http") -> OpenAIBackend:
    """Return a backend that uses the SDK's own client on a slow network."""
    backend = OpenAIBackend("big", base_url=f"{scheme}://127.0.0.1:1/v1", api_key="no key", max_retries=0, **CHAT)
    backend.profile._capabilities.engine = backend.profile.engine  # noqa: SLF001 - nothing to negotiate
    transport: Any = backend.client._client._transport  # noqa: SLF001
    timed = transport._pool._network_backend  # noqa: SLF001
    assert isinstance(timed, TimedBackend), "httpx2 keeps its network backend elsewhere: see obey_timers"
    timed._inner = Network(time, sends, seconds)  # noqa: SLF001
    return backend


@given(
    sends=st.sampled_from([HEADER + b"\r\n" + HI, HEADER + b"\r\n" + PING * 9, HEADER + b"a: b\r\n" * 9, b""]),
    seconds=st.sampled_from([0.001, 0.1, 0.7, 5.0]),
    timeout=st.sampled_from([0.5, 2.0, 20.0]),
    scheme=st.sampled_from(["http", "https"]),
)
@pytest.mark.enable_socket  # of this machine only
def test_no_connection_makes_a_blocking_turn_exceed_its_seconds(
    sends: bytes, seconds: float, timeout: float, scheme: str
) -> None:
    time = FakeTime()
    backend = slow_backend(time, itertools.cycle(sends) if sends else iter(b""), seconds, scheme)
    pair = time.of(ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend(), timeout=timeout))
    with pytest.raises(BackendError):
        pair.invoke("x")
    assert time.seconds <= timeout + 0.01


@pytest.mark.enable_socket  # of this machine only
def test_a_header_in_single_bytes_is_not_text() -> None:
    """Without a deadline of the turn, the timeout of the backend holds."""
    time = FakeTime()
    backend = slow_backend(time, itertools.cycle(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000), 1.0)
    with pytest.raises(ModelTimeoutError, match="Raise `timeout`"):
        list(backend.continue_turn(turn(), Request(5, deadline=Deadline.after(None, time.clock))))
    assert time.seconds == 120.0


def test_the_addresses_of_a_host_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    time, tried = FakeTime(), []

    class Dead(Network):
        """Never connects."""

        def connect_tcp(self, host: str, port: int, timeout: float | None = None, *_: Any) -> httpcore2.NetworkStream:
            tried.append(host)
            self.time.seconds += min(timeout or 0, 4.0)
            raise httpcore2.ConnectTimeout

    name = "langchain_spec_thinking.backends.openai.network._addresses"
    monkeypatch.setattr(name, lambda *_: ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    network = TimedBackend(Dead(time, iter(b"")))
    with pytest.raises(httpcore2.ConnectTimeout):
        network.connect_tcp("dead.test", 80, ReplyTimer(Deadline.after(6.0, time.clock), 120.0).timeout())
    assert tried == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert time.seconds == 6.0


def test_a_long_request_that_a_server_reads_slowly_is_given_up() -> None:
    time = FakeTime()
    stream = TimedStream(Network(time, iter(b"")))
    with pytest.raises(httpcore2.WriteTimeout):
        stream.write(b"x" * 10**6, ReplyTimer(Deadline.after(6.5, time.clock), 120.0).timeout())
    assert time.seconds == 6.5


# -- tokens and bytes


def endless(first: bytes, part: bytes) -> httpx2.Response:
    return streamed(TimedBody(FakeTime(), ((0.0, sent) for sent in itertools.chain([first], itertools.repeat(part)))))


def whole_call(index: int) -> bytes:
    function = {"name": "f", "arguments": "{}"}
    return event(delta(tool_calls=[{"index": index, "id": f"call_{index}", "function": function}]))


@BOTH
async def test_a_call_without_end_is_cut(asynchronously: bool) -> None:
    """The calls before it are complete and remain."""
    fragment = event(delta(tool_calls=[{"index": 1, "function": {"name": None, "arguments": "1"}}]))
    backend = Server(lambda: endless(whole_call(0), fragment)).backend(**CHAT)
    got = await events(backend, asynchronously=asynchronously)
    assert [found.call.id for found in got if isinstance(found, Call)] == ["call_0"]
    assert isinstance(got[-1], End)
    assert got[-1].reason == "length"


@pytest.mark.parametrize(
    "part", [event(delta(content="on ")), event(delta(reasoning_content="on ")), event(delta(content="<tool_call>on"))]
)
def test_text_without_end_is_cut(part: bytes) -> None:
    backend = Server(lambda: endless(part, part)).backend(thinking=True, **CHAT)
    pair = ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend("x"), max_tokens=30)
    found = pair.invoke("x").response_metadata["speculative_thinking"]
    assert sum(segment["tokens"] for segment in found["segments"]) <= 30
    assert "big ignored the token limit of a request, so its text was cut" in found["degraded"]


def test_text_that_is_held_for_a_call_is_cut() -> None:
    opening = event(delta(content='<tool_call>{"name": "f", "arguments": {"a": "'))
    no_tools = refused(400, "tools are not supported")  # so calls are written as text
    backend = Server(no_tools, lambda: endless(opening, HI)).backend(**CHAT)
    got = list(backend.continue_turn(turn(tools=tools()), Request(30)))
    assert isinstance(got[-1], End)
    assert got[-1].reason == "length"
    assert sum(found.tokens or 0 for found in got if isinstance(found, Piece)) <= 32


def test_long_chunks_without_a_tokenizer_count_as_several_tokens() -> None:
    backend = Server(lambda: endless(HI, event(delta(content="word " * 100)))).backend(**CHAT)
    pair = ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend("x"), max_tokens=100)
    assert len(pair.invoke("x").text) <= 100 * 16


@BOTH
@pytest.mark.parametrize("begins", [b"data: ", b": ", b"data: a\ndata: "])
async def test_an_event_without_end_is_given_up(begins: bytes, asynchronously: bool) -> None:
    backend = Server(lambda: endless(HI + begins, b"x" * 2**20)).backend(**CHAT)
    with pytest.raises(OversizedReplyError, match="an event of the stream is longer than 8 MiB"):
        await events(backend, asynchronously=asynchronously)


@pytest.mark.parametrize("mark", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_many_long_events_are_read(mark: bytes) -> None:
    part = b"data: " + json.dumps(delta(content="x " * 200_000)).encode() + mark
    parts = [(0.0, half) for _ in range(2 * EVENT_BYTES_MAX // len(part)) for half in (part[:-1], part[-1:])]
    got = read(FakeTime(), [*parts, (0.0, STOP)])
    assert isinstance(got[-1], End) or got[-1].reason == "length"


@BOTH
@pytest.mark.parametrize("fragment", [{}, {"function": {"name": "", "arguments": ""}}, {"id": "c"}], ids=str)
async def test_calls_without_end_are_given_up(fragment: dict[str, Any], asynchronously: bool) -> None:
    """They have no tokens, so the token limit does not end them."""
    many = event(delta(tool_calls=[fragment] * 100))
    backend = Server(lambda: endless(HI, many)).backend(**CHAT)
    with pytest.raises(OversizedReplyError, match="the list of tool calls in a reply is longer than 1,000 calls"):
        await events(backend, asynchronously=asynchronously)


def test_empty_fragments_of_a_call_take_no_memory() -> None:
    deltas = ToolCallDeltas()
    for _ in range(1000):
        deltas.add(0, "", "", "")
    [parts] = deltas._calls  # noqa: SLF001
    assert (parts.name, parts.arguments) == ("", [])


@BOTH
async def test_a_compressed_reply_is_not_decompressed(asynchronously: bool) -> None:
    """A megabyte of it would become a gigabyte."""
    asked: list[str] = []

    class Zipped(Server):
        def __call__(self, request: httpx2.Request) -> httpx2.Response:
            asked.append(request.headers["accept-encoding"])
            return super().__call__(request)

    headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
    bomb = gzip.compress(b"data: " + bytes(2**20))
    server = Zipped(lambda: httpx2.Response(200, headers=headers, stream=Body([bomb])))
    with pytest.raises(CompressedReplyError, match="content encoding 'gzip'"):
        await events(server.backend(**CHAT), asynchronously=asynchronously)
    assert set(asked) == {"identity"}


def test_arguments_without_end_are_given_up() -> None:
    fragment = event(delta(tool_calls=[{"index": 0, "function": {"arguments": "1" * 2**16}}]))
    backend = Server(lambda: endless(whole_call(0), fragment)).backend(**CHAT)
    with pytest.raises(OversizedReplyError, match="a tool call is longer than 1,000,000 characters"):
        list(backend.continue_turn(turn(tools=tools()), Request(ARGUMENTS_CHARACTERS_MAX)))


# -- limits that must not break what works


REASONING = event(delta(reasoning_content="hm "))


@BOTH
async def test_reasoning_that_is_dropped_is_no_silence(asynchronously: bool) -> None:
    time = FakeTime()
    backend = Server(lambda: streamed(TimedBody(time, [(50.0, REASONING)] * 9 + [(1.0, HI), (0.0, STOP)]))).backend(
        **{**CHAT, "continuation": "chat_instruct", "max_retries": 0}
    )
    deadline = Deadline.after(None, time.clock)
    got = await events(backend, asynchronously=asynchronously, deadline=deadline, begun="So")
    assert [found.text for found in got if isinstance(found, Piece)] == ["Hi"]
    assert time.seconds == 451.0


def test_dropped_reasoning_without_end_is_cut() -> None:
    backend = Server(lambda: endless(REASONING, REASONING)).backend(**{**CHAT, "continuation": "chat_instruct"})
    got = list(backend.continue_turn(turn("begun"), Request(30)))
    assert got[-1].reason == "length"  # type: ignore[union-attr]


def test_a_numbered_chunk_that_is_repeated_without_end_is_no_text() -> None:
    time = FakeTime()
    numbered = event(delta(content="Hi") | {"usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    *_, error = read(time, itertools.repeat((10.0, numbered)), timeout=120.0)
    assert isinstance(error, BackendError)
    assert time.seconds == 130.0


@BOTH
async def test_a_stream_that_breaks_after_its_first_usage_is_opened_again(asynchronously: bool) -> None:
    """vLLM reports the usage of the prompt before it writes text."""
    first = delta(role="assistant", content="") | {"usage": {"prompt_tokens": 5, "completion_tokens": 0}}
    gone = httpx2.ReadError("gone")
    server = Server(lambda: sse(first, gone), lambda: sse(first, delta(content="Hi"), delta("stop", content="")))
    got = await events(server.backend(**CHAT), asynchronously=asynchronously)
    assert [found.text for found in got if isinstance(found, Piece)] == ["Hi"]
    assert len(server.requests) == 2


def test_time_that_the_caller_takes_is_no_silence() -> None:
    time, got = FakeTime(), []
    backend = Server(lambda: streamed(TimedBody(time, [(1.0, HI), (1.0, HI), (0.0, STOP)]))).backend(**CHAT)
    for found in backend.continue_turn(turn(), Request(9, deadline=Deadline.after(None, time.clock))):
        got.append(found)
        time.seconds += 1000.0
    assert sum(isinstance(found, Piece) for found in got) == 2
    assert isinstance(got[-1], End)


@pytest.mark.parametrize("timeout", [httpx2.Timeout(0), 0, -1.0, float("nan"), "5"])
def test_a_timeout_that_cannot_be_is_refused(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout: expected a positive number of seconds, got"):
        OpenAIBackend("big", base_url="http://server.test/v1", timeout=timeout)


def test_an_infinite_timeout_is_one_that_sockets_accept() -> None:
    assert ReplyTimer(Deadline(), float("inf")).timeout() == pytest.approx(86_400.0)


def test_an_address_that_does_not_answer_leaves_time_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some networks drop IPv6 packets without an answer."""

    class DeadFirst(Network):
        """Never connects to the first address."""

        def connect_tcp(self, host: str, port: int, timeout: float | None = None, *_: Any) -> httpcore2.NetworkStream:
            if host == "::1":
                self.time.seconds += timeout or 0
                raise httpcore2.ConnectTimeout
            return super().connect_tcp(host, port, timeout)

    name = "langchain_spec_thinking.backends.openai.network._addresses"
    monkeypatch.setattr(name, lambda *_: ["::1", "127.0.0.1"])
    time = FakeTime()
    timer = ReplyTimer(Deadline.after(None, time.clock), 120.0)
    TimedBackend(DeadFirst(time, iter(b""))).connect_tcp("server.test", 80, timer.timeout())
    assert time.seconds == 61.0


async def test_an_asynchronous_read_waits_no_longer_than_its_timer() -> None:
    time, waits = FakeTime(), []

    class Connection(httpcore2.AsyncNetworkStream):
        """Brings a comment after 100 seconds."""

        async def start_tls(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
            return self

        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
            waits.append(timeout)
            time.seconds += 100.0
            return PING

    encrypted = await CancellableStream(Connection()).start_tls()
    timeout = ReplyTimer(Deadline.after(None, time.clock), 120.0).timeout()
    for _ in range(2):
        await encrypted.read(1, timeout)
    with pytest.raises(httpcore2.ReadTimeout):
        await encrypted.read(1, timeout)
    assert waits == [120.0, 20.0]


def test_pieces_of_a_tokenizer_that_adds_a_space_are_not_counted_twice() -> None:
    written = [" the", " cat", " sat", " on", " the", " cat"]
    server = Server(lambda: sse(*(text(word) for word in written), text("", "length")))
    backend = server.backend(tokenizer=tiny.piece_tokenizer(), continuation="raw")
    got = list(backend.continue_turn(turn(), Request(len(written))))
    assert [(found.text, found.tokens) for found in got if isinstance(found, Piece)] == [(word, 1) for word in written]
