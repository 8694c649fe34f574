"""The fault proxy: what it sends, that it counts the faults, and that lost or doubled text is detected."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import socket
import ssl
import struct
from collections import Counter
from contextlib import aclosing, asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.faults.faults import (
    BEFORE_ANSWER,
    BREAKING,
    GARBAGE,
    IN_STREAM,
    STREAK_MAX,
    Ending,
    Fault,
    Kind,
    Schedule,
    apply_fault,
    has_text,
    numbered,
)
from benchmarks.faults.proxy import FaultProxy, closing_connection
from benchmarks.faults.run import WAYS, passed
from benchmarks.faults.verdict import TurnResult, Verdict, compare
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, OpenAIBackend
from langchain_spec_thinking.backends.base import Request
from langchain_spec_thinking.backends.openai.stream_events import ChunkReader
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends import tiny

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
    from pathlib import Path

    from langchain_spec_thinking.backends.base import Event
    from langchain_spec_thinking.backends.replies.continuation import Payload

THOUGHT = "I add them.\n\nWait, let me check: 2 + 3 = 5 \u4f60\u597d.\n\nYes, it is five. A \u00e9 more."
TEXT = f"{THOUGHT}\n</think>\n\nIt is five; `data: [DONE]` ends a stream."
EVENT = numbered('data: {"choices": [{"text": "\u4f60\u597d"}]}\n\n'.encode(), 3)
STALL = 10.0
"""Seconds on a clock that only moves if a test sets it."""
TLS = ssl.create_default_context()  # not used, but loading a context for each client is slow


@dataclass
class Paced(httpx2.AsyncByteStream):
    """A stream whose parts come one after the other, so that a client can stop in between."""

    parts: list[bytes]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            await asyncio.sleep(0)
            yield part


async def greedy(request: httpx2.Request) -> httpx2.Response:
    """Continue a fixed text after the prompt, with one character in each event."""
    if not request.url.path.endswith("/completions"):
        return httpx2.Response(404)
    body = json.loads(request.content)
    if "stream_options" in body:
        return httpx2.Response(422, json={"detail": "Unexpected fields: stream_options"})
    so_far = body["prompt"].split("<think>\n", 1)[1]
    # Like a model, the server finds its place even if a careless client has damaged the text before.
    rest = TEXT[len(so_far) :] if TEXT.startswith(so_far) else TEXT.partition(so_far[-6:])[2]
    texts = re.findall(r"</think>|.", rest, re.DOTALL)[: body["max_tokens"]]
    reason = "stop" if "".join(texts) == rest else "length"
    chunks = [{"choices": [{"index": 0, "text": text}]} for text in texts]
    chunks.append({"choices": [{"index": 0, "text": "", "finish_reason": reason}]})
    events = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode() for chunk in chunks]
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Paced(events))


class Clock:
    """A clock that only moves if a test sets it.

    Attributes:
        read: Set when the clock is read.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.read = asyncio.Event()

    def __call__(self) -> float:
        self.read.set()
        return self.seconds


class Fixed(Schedule):
    """Injects the given faults and no others."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("")
        self.faults = list(faults)

    def before_answer(self) -> Fault | None:
        return self.faults.pop(0) if self.faults and self.faults[0].kind in BEFORE_ANSWER else None

    def in_stream(self, *, first: bool) -> Fault | None:
        return self.faults.pop(0) if self.faults and self.faults[0].kind in IN_STREAM else None


class Stalling(Schedule):
    """Stalls every stream after some events, until a client has waited for the next event and timed out.

    A client that gives up sooner because the machine is busy gets another stall.
    """

    def __init__(self, events: int) -> None:
        super().__init__("")
        self.fault = Fault(Kind.STALL, events, 0.5)
        self.injected: Counter[Kind] = Counter()

    def before_answer(self) -> Fault | None:
        return None

    def in_stream(self, *, first: bool) -> Fault | None:
        return None if self.injected else self.fault


@asynccontextmanager
async def listening(proxy: FaultProxy, folder: Path) -> AsyncIterator[str]:
    """Listen on a socket in a folder, because these tests use no network. At the end, wait until all is served."""
    path, served = str(folder / "socket"), list[asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        await proxy.serve(reader, writer)

    async with await asyncio.start_unix_server(serve, path):
        yield path
        await asyncio.gather(*filter(None, served))


def proxied(schedule: Schedule, stall: float = STALL, clock: Callable[[], float] | None = None) -> FaultProxy:
    server = httpx2.AsyncClient(transport=httpx2.MockTransport(greedy), base_url="http://server.test")
    return FaultProxy(server, schedule, stall=stall, clock=clock or Clock())


def through(path: str, kind: type[OpenAIBackend] = OpenAIBackend, timeout: float | None = None) -> OpenAIBackend:
    """Return a client with this timeout in seconds for every part, or without a timeout."""
    return kind(
        "greedy",
        base_url="http://proxy.test/v1",
        tokenizer=tiny.byte_tokenizer(tiny.THINKING_TEMPLATE, foreign=True),
        timeout=timeout or 1e9,
        max_retries=STREAK_MAX + 1,
        http_client=httpx2.Client(transport=httpx2.HTTPTransport(uds=path, verify=TLS)),
        http_async_client=httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=path, verify=TLS)),
    )


# -- the faults


@given(seed=st.text(max_size=5), kinds=st.sets(st.sampled_from(Kind), min_size=1))
def test_there_are_not_too_many_faults_in_a_row(seed: str, kinds: set[Kind]) -> None:
    schedule = Schedule(seed, tuple(kinds))
    streak = 0
    for _ in range(100):
        fault = schedule.before_answer() or schedule.in_stream(first=True)
        assert fault is None or fault.kind in kinds
        streak = streak + 1 if fault and not fault.events else 0
        assert streak <= STREAK_MAX


def test_a_seed_gives_the_same_faults_again() -> None:
    def drawn(seed: str) -> list[Fault | None]:
        schedule = Schedule(seed)
        return [schedule.before_answer() or schedule.in_stream(first=True) for _ in range(300)]

    assert drawn("7/1") == drawn("7/1") != drawn("7/2")
    assert {fault.kind for fault in drawn("7/1") if fault} == set(Kind)


@given(random_value=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(IN_STREAM))
def test_what_is_sent_instead_of_an_event(random_value: float, kind: Kind) -> None:
    *parts, last = apply_fault(Fault(kind, 0, random_value), EVENT)
    sent = b"".join(part for part in parts if isinstance(part, bytes))
    if kind in BREAKING:
        assert isinstance(last, Ending)
        assert EVENT.startswith(sent)
        assert sent != EVENT
        return
    assert isinstance(last, bytes)
    if kind is Kind.DUPLICATED:
        assert (sent, last) == (EVENT, EVENT)
    elif kind is Kind.GARBAGE:
        assert last.removesuffix(EVENT) in GARBAGE
    else:
        assert sent + last == EVENT
        assert parts  # at least two parts, because the event is longer than the largest part


def test_slow_bytes_are_cut_inside_characters() -> None:
    def cut(part: bytes | Ending) -> bool:
        return isinstance(part, bytes) and part.decode(errors="replace").encode() != part

    for random_value in (0.1, 0.9):
        assert any(cut(part) for part in apply_fault(Fault(Kind.SLOW, 0, random_value), EVENT * 20))


def test_events_with_text_are_numbered() -> None:
    event = b'data: {"choices": [{"text": "a"}]}\n\n'
    assert has_text(event)
    assert not has_text(event.replace(b'"a"', b'""'))
    assert json.loads(numbered(event, 5)[5:])["usage"] == {"completion_tokens": 5}
    result = numbered(event, 5)
    assert numbered(result, 9) == result


# -- the proxy


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        (Fault(Kind.REFUSED), None, (httpx2.ReadError, httpx2.RemoteProtocolError, httpx2.WriteError)),
        (Fault(Kind.RATE_LIMIT, 0, 0.7), 429, ()),
        (Fault(Kind.ERROR), 500, ()),
        (Fault(Kind.CUT, 3, 0.5), 200, httpx2.RemoteProtocolError),
        (Fault(Kind.TRUNCATED, 3, 0.5), 200, ()),
        (Fault(Kind.DUPLICATED, 3), 200, ()),
        (Fault(Kind.GARBAGE, 3, 0.0), 200, ()),
        (Fault(Kind.SLOW, 3, 0.0), 200, ()),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_what_a_client_sees(fault: Fault, status: int | None, error: Any, tmp_path: Path) -> None:
    proxy = proxied(Fixed(fault))
    body = {"prompt": "<think>\n", "max_tokens": 9}
    seen, answered, retry_after, failed = b"", None, None, False
    async with listening(proxy, tmp_path) as path:
        transport = httpx2.AsyncHTTPTransport(uds=path, verify=TLS)
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy.test", timeout=None) as client:
            try:
                async with client.stream("POST", "/v1/completions", json=body) as response:
                    answered, retry_after = response.status_code, response.headers.get("retry-after")
                    async for part in response.aiter_bytes():
                        seen += part
            except error:
                failed = True
    assert (answered, failed) == (status, bool(error))
    assert retry_after == ("0.07" if status == 429 else None)
    assert proxy.injected == Counter({fault.kind: 1})
    if status == 200:
        complete_events = seen.count(b"\n\n")
        assert complete_events == {Kind.DUPLICATED: 11, Kind.GARBAGE: 10, Kind.SLOW: 10}.get(fault.kind, 3)
        assert seen.endswith(b"\n\n") == (fault.kind not in BREAKING)


@pytest.mark.parametrize("waits", [True, False])
async def test_a_stall_counts_only_if_the_client_waited(waits: bool, tmp_path: Path) -> None:
    clock = Clock()
    proxy = proxied(Fixed(Fault(Kind.STALL, 3, 0.5)), clock=clock)
    body = {"prompt": "<think>\n", "max_tokens": 9}
    async with listening(proxy, tmp_path) as path:
        transport = httpx2.AsyncHTTPTransport(uds=path, verify=TLS)
        async with (
            httpx2.AsyncClient(transport=transport, base_url="http://proxy.test", timeout=None) as client,
            client.stream("POST", "/v1/completions", json=body) as response,
        ):
            parts, seen = response.aiter_bytes(), b""
            while seen.count(b"\n\n") < 3 or seen.endswith(b"\n\n"):
                seen += await anext(parts)
            assert seen.count(b"\n\n") == 3
            await clock.read.wait()  # the silence has begun
            clock.seconds += STALL if waits else STALL / 2
    assert proxy.injected == (Counter({Kind.STALL: 1}) if waits else Counter())


@pytest.mark.enable_socket  # of this machine only
async def test_nothing_is_printed_about_a_client_that_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # The protocol asks for the error when it is collected. The future that holds the error may be collected first.
    monkeypatch.delattr(asyncio.StreamReaderProtocol, "__del__")
    printed: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: printed.append(context["message"]))
    began, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with closing_connection(writer):
            began.set()
            await reader.read()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        client = socket.create_connection(listener.sockets[0].getsockname())
        await began.wait()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # resets the connection
        await ended.wait()
        await asyncio.sleep(0)  # the task of `serve` ends
    gc.collect()
    assert printed == []


@pytest.mark.parametrize(("fault", "events"), [(Fault(Kind.CUT, 500), 100), (Fault(Kind.STALL, 3), 2)])
async def test_faults_that_did_not_occur_are_not_counted(fault: Fault, events: int, tmp_path: Path) -> None:
    """The fault comes after the end of the response, or nobody waits for the stall."""
    proxy = proxied(Fixed(fault))
    turn = Turn((Message("user", "2 + 3?"),), thinks=True)
    async with (
        listening(proxy, tmp_path) as path,
        aclosing(through(path).acontinue_turn(turn, Request(9))) as stream,
    ):
        seen = [event for _ in range(events) if (event := await anext(stream, None))]
    assert seen
    assert not proxy.injected


# -- whole turns


class Forgetful(OpenAIBackend):
    """Takes a broken stream for a complete one."""

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        with suppress(BackendError):
            async for event in super().acontinue_turn(turn, request):
                yield event


class Repetitive(OpenAIBackend):
    """Sends the same request again if a stream breaks."""

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        first_turn = deepcopy(turn)
        for _ in range(2):
            with suppress(BackendError):
                async for event in super().acontinue_turn(first_turn, request):
                    yield event
                return


class Unnumbered(ChunkReader):
    def _repeated(self, chunk: Any) -> bool:
        return False


class Trusting(OpenAIBackend):
    """Reads every chunk, even a repeated one."""

    def _reader(self, payload: Payload, turn: Turn, request: Request) -> ChunkReader:
        return Unnumbered(payload, turn, request.max_tokens, self.count_tokens)


async def run_with_faults(
    folder: Path,
    schedules: Iterable[Schedule],
    kind: type[OpenAIBackend] = OpenAIBackend,
    patience: float | None = None,
) -> tuple[Counter[Kind], list[Verdict]]:
    """Write a turn with each schedule, rotating the ways to ask. Count the faults, and compare with a turn without
    any."""
    _, without_faults = await run_turn(folder, Fixed(), 0, OpenAIBackend)
    assert (without_faults.text, without_faults.failure) == (TEXT.replace("</think>\n\n", "</think>"), None)
    assert {author for author, _, _ in without_faults.authors} == {"speculative", "target"}
    turns = [await run_turn(folder, schedule, number, kind, patience) for number, schedule in enumerate(schedules, 1)]
    return sum((injected for injected, _ in turns), Counter()), [compare(without_faults, turn) for _, turn in turns]


async def run_turn(
    folder: Path, schedule: Schedule, number: int, kind: type[OpenAIBackend], patience: float | None = None
) -> tuple[Counter[Kind], TurnResult]:
    proxy = proxied(schedule, stall=0)
    if isinstance(schedule, Stalling):
        schedule.injected = proxy.injected
    async with listening(proxy, folder) as path:
        pair = ChatSpeculativeThinking(
            speculative=through(path, kind, patience),
            target=through(path, kind, patience),
            temperature=0,
            policy=DelegationPolicy(takeover_tokens=5, recap_sentence=""),
        )
        try:
            turn = TurnResult.from_message(await WAYS[number % len(WAYS)](pair, "2 + 3?"))
        except BackendError as error:
            turn = TurnResult.from_error(error)
    return proxy.injected, turn


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.retries._backoff", lambda _: 0)


async def test_faults_change_no_turn(tmp_path: Path) -> None:
    kinds = tuple(kind for kind in Kind if kind is not Kind.STALL)
    injected, verdicts = await run_with_faults(tmp_path, (Schedule(f"{seed}", kinds) for seed in range(8)))
    assert injected.total() > 60
    assert set(injected) == set(kinds)
    assert [verdict.why for verdict in verdicts if not verdict.right] == []


async def test_stalls_change_no_turn(tmp_path: Path) -> None:
    """The stalls come before and after the first text. A client waits for parts that never come."""
    stalls = [Stalling(events) for events in (0, 3) for _ in WAYS]
    injected, verdicts = await run_with_faults(tmp_path, stalls, patience=0.2)
    assert injected[Kind.STALL] >= len(stalls)
    assert [verdict.why for verdict in verdicts if not verdict.right] == []


@pytest.mark.parametrize("line", GARBAGE)
async def test_garbage_changes_no_turn(line: bytes, tmp_path: Path) -> None:
    """The garbage comes before and after the first text."""
    random_value = (GARBAGE.index(line) + 0.5) / len(GARBAGE)
    injected, verdicts = await run_with_faults(
        tmp_path, (Fixed(Fault(Kind.GARBAGE, events, random_value)) for events in (0, 3))
    )
    assert injected == {Kind.GARBAGE: 2}
    assert [verdict.why for verdict in verdicts if not verdict.right] == []


@pytest.mark.parametrize(
    ("careless", "fault", "loses", "doubles"),
    [
        (Forgetful, Fault(Kind.CUT, 3, 0.5), True, False),
        (Repetitive, Fault(Kind.CUT, 3, 0.5), False, True),
        (Trusting, Fault(Kind.DUPLICATED, 3, 0.5), False, True),
    ],
)
async def test_a_faulty_client_is_detected(
    careless: type[OpenAIBackend], fault: Fault, loses: bool, doubles: bool, tmp_path: Path
) -> None:
    # `ainvoke` asks for the first turn with faults. These clients break only `ainvoke`.
    _, (verdict,) = await run_with_faults(tmp_path, [Fixed(fault)], careless)
    assert (verdict.lost > 0, verdict.doubled > 0, verdict.right) == (loses, doubles, False)


# -- the verdict


@pytest.mark.parametrize(
    ("result", "lost", "doubled", "why"),
    [
        (TurnResult("one two", (("a", "draft", 7),)), 0, 0, ""),
        (TurnResult("one tw", (("a", "draft", 6),)), 1, 0, "another author"),
        (TurnResult("one one two", (("a", "draft", 7),)), 0, 4, "at character"),
        (TurnResult("one ten", (("a", "draft", 7),)), 2, 2, "at character 5: 'en' instead of 'wo'"),
        (TurnResult("one two", (("b", "draft", 7),)), 0, 0, "another author"),
        (TurnResult("one two", (("a", "draft", 7),), "the target failed"), 0, 0, "the target failed"),
    ],
)
def test_a_verdict(result: TurnResult, lost: int, doubled: int, why: str) -> None:
    verdict = compare(TurnResult("one two", (("a", "draft", 7),)), result)
    assert (verdict.lost, verdict.doubled, verdict.right) == (lost, doubled, not why)
    assert why in verdict.why


@pytest.mark.parametrize(
    ("changed", "fine"),
    [
        ({}, True),
        ({"faults": 9}, False),
        ({"lost": 1}, False),
        ({"doubled": 1}, False),
        ({"wrong_turns": {"3": "x"}}, False),
    ],
)
def test_a_run_passes_only_with_enough_faults_and_equal_turns(changed: dict[str, Any], fine: bool) -> None:
    found = {"faults": 10, "wanted": 10, "lost": 0, "doubled": 0, "wrong_turns": {}, **changed}
    assert passed(found) is fine
