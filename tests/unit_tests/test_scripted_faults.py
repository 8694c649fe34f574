"""The scripted servers of `make faults`: what they send, and that each fault of a client is detected."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from benchmarks.faults import run
from benchmarks.faults.cases import Case, Outcome, combinations, with_faults
from benchmarks.faults.dialects import DIALECTS
from benchmarks.faults.model_text import ModelText, given_by
from benchmarks.faults.scripted import Runner, ScriptedRun
from benchmarks.faults.scripted_server import ScriptedServer
from benchmarks.faults.scripts import AT_EVENTS, REPEATING, Behaviour, Script
from langchain_spec_thinking import OpenAIBackend
from langchain_spec_thinking.backends.openai.engines import ENGINES
from langchain_spec_thinking.backends.openai.stream_events import ChunkReader
from langchain_spec_thinking.backends.replies.continuation import STRATEGIES
from langchain_spec_thinking.deadline import Deadline
from langchain_spec_thinking.errors import BackendError
from tests.unit_tests.fake_time import FakeTime

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.backends.replies.continuation import Payload
    from langchain_spec_thinking.turn import Turn

TEXT = ModelText(thinks=True)
VLLM = Case("vLLM", "chat_flag", asynchronous=False)


def case(behaviour: Behaviour, at: int = 0, dialect: str = "vLLM", strategy: str = "chat_flag") -> Case:
    return Case(dialect, strategy, False, behaviour, at)  # noqa: FBT003


# -- the cases


def test_the_dialects_are_those_of_the_known_servers() -> None:
    unknown = {"transformers serve"}
    assert {dialect.name for dialect in DIALECTS} - {engine.name for engine in ENGINES} == unknown


def test_every_strategy_is_tested_on_both_kinds_of_clients() -> None:
    for asynchronous in (False, True):
        tested = {case.strategy for case in combinations() if case.asynchronous is asynchronous}
        assert tested - {"auto"} == set(STRATEGIES)


def test_a_stream_is_broken_at_every_byte() -> None:
    cases = list(with_faults(VLLM, 100, 7))
    assert [found.at for found in cases if found.behaviour is Behaviour.BREAK] == list(range(100))


@pytest.mark.parametrize("behaviour", [behaviour for behaviour in AT_EVENTS if behaviour is not Behaviour.GARBAGE])
def test_a_behaviour_begins_at_every_event(behaviour: Behaviour) -> None:
    case = replace(VLLM, strategy="chat_instruct")  # any repetition is wrong after this instruction
    assert [found.at for found in with_faults(case, 100, 7) if found.behaviour is behaviour] == list(range(7))


@pytest.mark.parametrize(
    ("dialect", "strategy", "expected"),
    [
        ("vLLM", "chat_flag", {Behaviour.TRIM}),
        ("vLLM", "raw", {Behaviour.ECHO}),
        ("Mistral", "chat_mark", {Behaviour.RESTART, Behaviour.ECHO, Behaviour.TRIM}),
        ("OpenAI", "chat_instruct", {Behaviour.RESTART, Behaviour.ECHO, Behaviour.TRIM}),
    ],
)
def test_only_repetitions_that_cannot_be_meant_are_tested(
    dialect: str, strategy: str, expected: set[Behaviour]
) -> None:
    found = with_faults(Case(dialect, strategy, asynchronous=False), 100, 7)
    assert {case.behaviour for case in found} & set(REPEATING) == expected


def test_every_behaviour_is_tested() -> None:
    tested = [*with_faults(VLLM, 100, 7), *with_faults(replace(VLLM, dialect="Mistral", strategy="chat_mark"), 100, 7)]
    assert {found.behaviour for found in tested} == set(Behaviour)


# -- the servers


def sent(script: Script, *bodies: dict[str, Any]) -> list[bytes | None]:
    """Return what a server sends to each request. None: the stream broke."""
    server = ScriptedServer(VLLM.spoken, script, FakeTime())
    replies: list[bytes | None] = []
    for body in bodies:
        content = json.dumps({"stream": True, "max_tokens": 50, **body}).encode()
        response = server(httpx2.Request("POST", f"{VLLM.spoken.address}/chat/completions", content=content))
        try:
            replies.append(response.read())
        except httpx2.ReadError:
            replies.append(None)
    return replies


def texts(stream: bytes | None) -> str:
    """Return the text of a stream of vLLM."""
    assert stream is not None
    chunks = [json.loads(line[5:]) for line in stream.split(b"\n\n") if line[:6] == b"data: " and b"[DONE]" not in line]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get("reasoning") or delta.get("content") or "" for delta in deltas)


NEW: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}


def half(given: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": given}]}


@pytest.mark.parametrize("end", range(len(TEXT.text)))
def test_a_server_goes_on_where_the_reply_ends(end: int) -> None:
    given = TEXT.text[:end]
    for body in ({"prompt": f"hi{given}"}, half(given)):
        start = TEXT.place(given_by(body, TEXT).text)
        assert given + "".join(token for token, _ in TEXT.rest(start)) == TEXT.text


def test_a_held_event_does_not_reach_the_next_reply() -> None:
    script = Script(Behaviour.SWAP)
    left = script.steps(iter([(b"first", True), (b"second", True)]))
    assert next(left) == b"second"
    assert b"first" not in list(script.steps(iter([(b"third", True)])))


@pytest.mark.parametrize(("events", "told"), [(1, False), (2, True)])
def test_a_wrong_order_can_be_noticed_only_by_a_client_that_reads_on(events: int, told: bool) -> None:
    script = Script(Behaviour.SWAP)
    reply = script.steps(iter([(b"first", True), (b"second", True)]))
    assert list(itertools.islice(reply, events)) == [b"second", b"first"][:events]
    assert script.told is told


@pytest.mark.parametrize("strategy", ["chat_flag", "raw"])
def test_a_client_may_leave_before_the_event_that_came_too_late(strategy: str) -> None:
    with Runner() as runner:
        outcomes = [runner.run(case(Behaviour.SWAP, at, strategy=strategy)) for at in range(9)]
    assert [outcome.why for outcome in outcomes if outcome.why] == []


def test_a_reply_that_only_repeats_the_given_text_is_no_hidden_reasoning() -> None:
    with Runner() as runner:
        outcome = runner.run(case(Behaviour.RESTART, 14, "Mistral", "chat_mark"))
    assert not outcome.why  # before, the next request asked for 16,578 tokens


def test_a_stream_breaks_once_and_at_the_byte() -> None:
    whole = sent(Script(Behaviour.NOTHING), NEW)[0]
    assert whole is not None
    for at in (0, 1, 200, len(whole) - 1):
        assert sent(Script(Behaviour.BREAK, at, politely=True), NEW, NEW) == [whole[:at], whole]
        assert sent(Script(Behaviour.BREAK, at), NEW, NEW) == [None, whole]


BODY = TEXT.text[:30]


@pytest.mark.parametrize(
    ("behaviour", "given", "expected"),
    [
        (Behaviour.NOTHING, BODY, "".join(token for token, _ in TEXT.rest(30))),
        (Behaviour.TRIM, TEXT.text[:28], "\n\nWait, no.\nIt is \u00e9."),
        (Behaviour.RESTART, BODY, "I add two and two.\n\nWait, no.\nIt is \u00e9."),
    ],
)
def test_what_a_server_writes(behaviour: Behaviour, given: str, expected: str) -> None:
    written = texts(sent(Script(behaviour, at=99), half(given))[0])
    assert written.replace("</think>\n\n", "") == expected.replace("</think>\n\n", "")


def test_an_echo_comes_before_the_rest() -> None:
    rest = "".join(token for token, _ in TEXT.rest(30)).replace("</think>\n\n", "")
    assert texts(sent(Script(Behaviour.ECHO, at=99), half(BODY))[0]) == BODY + rest


def test_a_server_ignores_the_limit() -> None:
    server = ScriptedServer(VLLM.spoken, Script(Behaviour.ENDLESS), FakeTime())
    content = json.dumps({"stream": True, "max_tokens": 2, **NEW}).encode()
    stream: Any = server(httpx2.Request("POST", VLLM.spoken.address, content=content)).stream
    assert len(list(itertools.islice(stream, 1000))) == 1000


# -- the verdict


class Forgetful(OpenAIBackend):
    """Takes a broken stream for a complete one."""

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        with suppress(BackendError):
            yield from super().continue_turn(turn, request)


class Repetitive(OpenAIBackend):
    """Sends the same request again if a stream breaks."""

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        first_turn = deepcopy(turn)
        for _ in range(2):
            with suppress(BackendError):
                yield from super().continue_turn(first_turn, request)
                return


class Unnumbered(ChunkReader):
    def _repeated(self, chunk: Any) -> bool:
        return False


class Trusting(OpenAIBackend):
    """Reads every chunk, even a repeated one."""

    def _reader(self, payload: Payload, turn: Turn, request: Request) -> ChunkReader:
        return Unnumbered(payload, turn, request.max_tokens, None)


class Patient(OpenAIBackend):
    """Waits for ever."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings, timeout=1e9)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        return super().continue_turn(turn, replace(request, deadline=Deadline(clock=request.deadline.clock)))


class Late(Patient):
    """Notices the deadline too late."""

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        later = request.deadline.seconds + 2.0
        deadline = Deadline(later, request.deadline.end + 2.0, request.deadline.clock)
        return OpenAIBackend.continue_turn(self, turn, replace(request, deadline=deadline))


class Greedy(OpenAIBackend):
    """Reads further than the limit of its request."""

    def _reader(self, payload: Payload, turn: Turn, request: Request) -> ChunkReader:
        return super()._reader(payload, turn, replace(request, max_tokens=request.max_tokens + 50))

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        yield from [*super().continue_turn(turn, request)]


class Wasteful(OpenAIBackend):
    """Sends each request three times."""

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        for _ in range(2):
            with suppress(BackendError):
                list(super().continue_turn(turn, request))
        yield from super().continue_turn(turn, request)


class Careless(OpenAIBackend):
    """Raises another error than those of the package."""

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        try:
            yield from super().continue_turn(turn, request)
        except BackendError as error:
            raise KeyError from error


def outcome(found: Case, kind: type[OpenAIBackend]) -> Outcome:
    with Runner(kind) as runner:
        return runner.run(found)


@pytest.mark.parametrize(
    ("careless", "found", "faults"),
    [
        (Forgetful, case(Behaviour.BREAK, 400), {"lost"}),
        (Repetitive, case(Behaviour.BREAK, 400), {"doubled"}),
        (Trusting, case(Behaviour.TWICE, 3), {"doubled"}),
        (Patient, case(Behaviour.PING_FOR_EVER, 3), {"hung"}),
        (Late, case(Behaviour.PING_FOR_EVER, 3), {"hung"}),
        (Greedy, case(Behaviour.ENDLESS), {"over_limit"}),
        (Wasteful, case(Behaviour.CRUMBS, strategy="raw"), {"over_limit"}),
        (Careless, case(Behaviour.BREAK, 400), {"untyped"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_a_faulty_client_is_detected(careless: type[OpenAIBackend], found: Case, faults: set[str]) -> None:
    wrong = outcome(found, careless)
    assert {name for name in ("lost", "doubled", "hung", "over_limit", "untyped") if getattr(wrong, name)} == faults
    assert wrong.why
    assert not outcome(found, OpenAIBackend).why
    figures = run.with_cases({"faults": 0, "wanted": 0, "lost": 0, "doubled": 0}, ScriptedRun([wrong]))
    assert all(figures[name] for name in faults)
    assert not run.passed(figures)


def test_an_error_that_nobody_handles_is_detected() -> None:
    """An event loop only logs an error of a task that nobody awaits."""

    class Abandoning(OpenAIBackend):
        async def acontinue_turn(self, turn: Turn, request: Request) -> Any:
            async for event in super().acontinue_turn(turn, request):
                asyncio_error(self)
                yield event

    def asyncio_error(_: object) -> None:
        import asyncio  # noqa: PLC0415

        asyncio.get_running_loop().call_exception_handler({"message": "abandoned"})

    assert outcome(replace(VLLM, asynchronous=True), Abandoning).untyped


def test_a_fault_that_did_not_occur_is_reported() -> None:
    assert outcome(case(Behaviour.BREAK, 10**6), OpenAIBackend).why == "the fault did not occur"


def test_a_request_to_another_host_is_reported() -> None:
    found = case(Behaviour.REDIRECT)
    with Runner() as runner:
        server = ScriptedServer(found.spoken, found.script(), FakeTime())
        server(httpx2.Request("GET", "http://elsewhere.test/v1/models"))
        assert "another host" in runner._outcome(found, server)[0].why  # noqa: SLF001


def clean() -> Iterator[Case]:
    """Yield a few cases of each kind."""
    for behaviour in (Behaviour.DRIP, Behaviour.PING, Behaviour.SILENCE, Behaviour.ENDLESS, Behaviour.REDIRECT):
        yield from (replace(found, behaviour=behaviour) for found in combinations())


def test_right_clients_pass() -> None:
    with Runner() as runner:
        outcomes = [runner.run(found) for found in clean()]
    assert [found.why for found in outcomes if found.why] == []
    figures = run.with_cases({"faults": 0, "wanted": 0, "lost": 0, "doubled": 0}, ScriptedRun(outcomes))
    assert figures["cases"] == len(outcomes)
    assert run.passed(figures)
    json.dumps(figures)
