"""Tests of samples: how they are drawn, when drawing stops, how they are compared, and what counts."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from langchain_spec_thinking import (
    Agreement,
    ChatSpeculativeThinking,
    DelegationPolicy,
    EscalateIfAll,
    Escalation,
    Record,
    Stall,
    recording,
)
from langchain_spec_thinking.backends.base import End, Piece
from langchain_spec_thinking.errors import NoThreadError
from langchain_spec_thinking.evaluation.outcomes import Outcome
from langchain_spec_thinking.policy.escalation import AskIfSame, Escalate, Evidence
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_threads import no_thread_can_start
from tests.unit_tests.gated_pairs import DIFFER, ESSAYS, LARGE, QUESTION, Answers, gated, pair, report
from tests.unit_tests.wire import Handler, event, streamed, text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator

    from langchain_core.messages import AIMessage

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.policy.escalation import Verdict
    from langchain_spec_thinking.turn import Turn

STEP = 1_000_003
"""How far apart the seeds of two samples are. The attempt has the seed 0."""
SECONDS = 10
"""How long a test waits for something that happens at once if the code is right, in seconds."""


@dataclass
class Thinker(Answers):
    """A small model whose attempt thinks until its third sample is closed. The third sample never ends by itself."""

    written: int = 0
    begun: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        if request.seed == 3 * STEP:
            yield from self._never_ends()
        elif request.seed:
            assert self.begun.wait(SECONDS)  # the others must not end before the third one has begun
            yield from super().continue_turn(turn, request)
        else:
            yield from self._think()
            yield from super().continue_turn(turn, request)

    def _never_ends(self) -> Generator[Event, None, None]:
        try:
            for _ in range(10**6):
                self.written += 1
                yield Piece("a ", 1)
                self.begun.set()
        finally:
            self.closed.set()

    def _think(self) -> Generator[Event, None, None]:
        for _ in range(SECONDS * 100):
            yield Piece("Hm. ", 0)
            if self.closed.wait(0.01):
                return
        raise AssertionError


def spent(message: AIMessage) -> dict[str, int]:
    used: dict[str, int] = report(message)["usage"]["speculative"]
    return used


async def test_samples_are_cancelled_while_the_attempt_still_thinks() -> None:
    for calls in ("invoke", "ainvoke"):
        small = Thinker(["4", "5", "6", ""], thought="So")
        model = pair(speculative=small, policy=gated(Agreement(samples=4)), max_tokens=10**7)
        message = model.invoke(QUESTION) if calls == "invoke" else await model.ainvoke(QUESTION)
        assert report(message)["escalated"] == DIFFER
        assert 0 < small.written < 10**5
        others = spent(pair("4", "5", "6", thought="So", policy=gated(Agreement(samples=3))).invoke(QUESTION))
        assert small.written <= spent(message)["completion_tokens"] - others["completion_tokens"] + 9
        assert spent(message)["discarded_tokens"] >= small.written


async def test_an_answer_that_is_accepted_early_cancels_the_samples() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    class Endless(Answers):
        async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
            if request.seed:
                try:
                    yield Piece("It ", 7)
                    begun.set()
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
            await begun.wait()
            for each in self.continue_turn(turn, request):
                yield each

    rule = EscalateIfAll(Stall(), Agreement())
    message = await pair(speculative=Endless(["4"], thought=None), policy=gated(rule)).ainvoke(QUESTION)
    assert message.content == "4"
    assert cancelled.is_set()
    assert spent(message)["completion_tokens"] == 1 + 7
    assert spent(message)["discarded_tokens"] == 7


# -- a server


class UntilClosed(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A reply that goes on until its client closes the connection."""

    def __init__(self, server: SampleServer) -> None:
        self.server = server

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(10**6):
            yield event(text("a "))
            self.server.begun.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part
            await asyncio.sleep(0)

    def close(self) -> None:
        self.server.closed.set()

    async def aclose(self) -> None:
        self.close()


class Late(UntilClosed):
    """A reply that arrives when the endless reply has begun."""

    def __init__(self, server: SampleServer, answer: str) -> None:
        super().__init__(server)
        self.answer = answer

    def __iter__(self) -> Iterator[bytes]:
        assert self.server.begun.wait(SECONDS)
        yield from (event(text(self.answer)), event(text("", "stop")), event("[DONE]"))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.to_thread(self.server.begun.wait, SECONDS)
        for part in self:
            yield part

    def close(self) -> None:
        """Do nothing: only the end of the endless reply counts."""


class SampleServer(Handler):
    """Answers the attempt and the first sample differently. The second sample gets no end."""

    def __init__(self) -> None:
        self.begun, self.closed = threading.Event(), threading.Event()
        self.seeds: list[int] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return httpx2.Response(200, json={"data": [{"id": "big", "object": "model", "owned_by": "me"}]})
        seed = json.loads(request.content)["seed"]
        self.seeds.append(seed)
        if seed == 2 * STEP:
            return streamed(UntilClosed(self))
        return streamed(Late(self, "It is 4." if seed else "It is 5."))


@pytest.mark.parametrize("calls", ["invoke", "ainvoke"])
async def test_a_server_gets_parallel_requests_and_the_last_one_is_closed(calls: str) -> None:
    server = SampleServer()
    model = ChatSpeculativeThinking(
        speculative=server.backend(tokenizer=tiny.byte_tokenizer()),
        target=pair().target,
        policy=DelegationPolicy.gated(escalation=Agreement(samples=3)),
        seed=0,
        max_tokens=10**6,
    )
    message = model.invoke(QUESTION) if calls == "invoke" else await model.ainvoke(QUESTION)
    assert message.text in LARGE
    assert report(message)["escalated"] == DIFFER
    assert server.closed.wait(SECONDS)
    assert sorted(server.seeds) == [0, STEP, 2 * STEP]
    used = spent(message)
    shown = model.speculative.count_tokens("It is 4.") + model.speculative.count_tokens("It is 5.")
    assert used["requests"] == 3
    assert used["prompt_tokens"] == 3 * model.speculative.count_tokens(QUESTION)  # a server that is cut tells no usage
    assert used["completion_tokens"] > shown
    assert used["discarded_tokens"] == used["completion_tokens"]


@dataclass
class Cancels(Answers):
    """A small model whose client leaks a cancellation of its own in a sample."""

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        if request.seed == STEP:
            raise asyncio.CancelledError
        async for one in super().acontinue_turn(turn, request):
            yield one


async def test_a_sample_that_its_backend_cancels_has_failed() -> None:
    async with asyncio.timeout(SECONDS):
        message = await pair(speculative=Cancels(["5", "5"])).ainvoke(QUESTION)
    assert report(message)["escalated"] == DIFFER
    assert "cancelled by its backend" in report(message)["degraded"][0]


@dataclass(frozen=True)
class AsksEarly(Escalation):
    """Asks the small model as soon as one sample is there, and decides when both are."""

    further_samples: int = 2

    def examine(self, evidence: Evidence) -> Verdict | None:
        if evidence.answer is None or not evidence.samples:
            return None
        if not evidence.judged:
            return AskIfSame(evidence.answer.text, evidence.samples[0].text)
        return Escalate("all were seen") if len(evidence.samples) == self.further_samples else None


@dataclass
class AnswersLate(Answers):
    """A small model whose second sample ends only after the question of the rule."""

    asked: threading.Event = field(default_factory=threading.Event)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        if "say the same?" in turn.history[-1].content:
            self.asked.set()
        elif request.seed == 2 * STEP:
            assert self.asked.wait(SECONDS)
        yield from super().continue_turn(turn, request)


@pytest.mark.parametrize("calls", ["invoke", "ainvoke"])
async def test_a_question_of_a_rule_ends_no_sample(calls: str) -> None:
    model = pair(speculative=AnswersLate(["5", "5", "5"]), policy=gated(AsksEarly()))
    message = model.invoke(QUESTION) if calls == "invoke" else await model.ainvoke(QUESTION)
    assert report(message)["escalated"] == "all were seen"


def test_samples_need_one_thread_at_least() -> None:
    model = pair("5", "5")
    with no_thread_can_start(), pytest.raises(NoThreadError, match="can't start new thread"):
        model.invoke(QUESTION)


def test_samples_that_would_all_be_equal_are_refused() -> None:
    rule = Agreement(temperature=None)
    assert pair("5", "5", policy=gated(rule), temperature=0.5)
    with pytest.raises(ValueError, match="temperature: expected a number above 0 for the samples of Agreement"):
        pair("5", "5", policy=gated(rule), temperature=0)


def test_the_time_of_a_turn_includes_the_wait_for_its_samples() -> None:
    records: list[Record] = []
    with recording(records.append):
        pair("5", "5").invoke(QUESTION)
    escalation = records[0].escalation
    assert escalation
    assert escalation.seconds
    late = replace(records[0], escalation=replace(escalation, seconds=9.5))
    assert Outcome.of_record("q", Record.from_dict(late.as_dict()).as_dict()).seconds == 9.5


def test_samples_have_seeds_and_a_temperature_of_their_own() -> None:
    model = pair("5", "5", "5", policy=gated(Agreement(samples=3, temperature=1.1)), temperature=0)
    model.invoke(QUESTION)
    requests = sorted((request.seed, request.temperature) for request, _ in model.speculative.requests)  # type: ignore[attr-defined]
    assert requests == [(0, 0), (STEP, 1.1), (2_000_006, 1.1)]


def test_samples_count_as_used_and_discarded() -> None:
    alone = report(pair("5", policy=gated(Stall())).invoke(QUESTION))["usage"]["speculative"]
    three = report(pair("5", "5", "5", policy=gated(Agreement(samples=3))).invoke(QUESTION))["usage"]["speculative"]
    assert three["requests"] == 3
    assert three["prompt_tokens"] == 3 * alone["prompt_tokens"]
    assert three["completion_tokens"] == 3 * alone["completion_tokens"]
    assert three["discarded_tokens"] == 2 * alone["completion_tokens"]


def test_the_logical_usage_counts_what_is_shown() -> None:
    usage = pair("5", "5", "5", policy=gated(Agreement(samples=3))).invoke(QUESTION).usage_metadata
    alone = pair("5", policy=gated(Stall())).invoke(QUESTION).usage_metadata
    assert usage == alone


class Waiting(Answers):
    """A small model whose second sample waits until it is cancelled or the test ends."""

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        if request.seed == 2 * STEP:
            self.requests.append((request, turn))
            yield Piece("It", 1)
            self.started.set()
            while not self.closed.wait(0.001):
                yield Piece(" ", 1)
        else:
            yield from super().continue_turn(turn, request)

    started: threading.Event
    closed: threading.Event


def test_drawing_stops_as_soon_as_two_answers_differ() -> None:
    small = Waiting(["4", "5", "6"])
    small.started, small.closed = threading.Event(), threading.Event()
    model = pair(speculative=small, policy=gated(Agreement(samples=3)), max_tokens=10**6)
    try:
        assert report(model.invoke(QUESTION))["escalated"] == DIFFER
    finally:
        small.closed.set()


async def test_a_sample_that_is_not_needed_is_cancelled() -> None:
    cancelled = asyncio.Event()

    class Endless(Answers):
        async def acontinue_turn(self, turn: Turn, request: Request) -> Any:
            if request.seed == 2 * STEP:
                try:
                    yield Piece("It", 1)
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
            for one in self.continue_turn(turn, request):
                yield one
                await asyncio.sleep(0)

    model = pair(speculative=Endless(["4", "5", "6"]), policy=gated(Agreement(samples=3)))
    assert report(await model.ainvoke(QUESTION))["escalated"] == DIFFER
    await cancelled.wait()


async def test_cancelling_the_turn_cancels_its_samples() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    class Endless(Answers):
        async def acontinue_turn(self, turn: Turn, request: Request) -> Any:
            try:
                yield Piece("It", 1)
                if request.seed:
                    begun.set()
                await asyncio.Event().wait()
            finally:
                if request.seed:
                    cancelled.set()

    task = asyncio.create_task(pair(speculative=Endless(["4", "5"])).ainvoke(QUESTION))
    await begun.wait()
    task.cancel()
    await cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("reply", "escalated"), [("Yes.", None), ("no", DIFFER), ("", DIFFER)])
def test_free_texts_are_compared_by_the_small_model(reply: str, escalated: str | None) -> None:
    class Judge(Answers):
        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            if "say the same?" not in turn.history[-1].content:
                yield from super().continue_turn(turn, request)
                return
            assert (request.temperature, request.max_tokens) == (0, 4)
            assert all(text in turn.history[-1].content for text in (QUESTION, *ESSAYS))
            yield from (Piece(reply, 1), End("stop"))

    found = report(pair(speculative=Judge([*ESSAYS])).invoke(QUESTION))
    assert found["escalated"] == escalated
    assert found["degraded"] == ["the answers are longer texts, so the small model itself compared them"]
    assert found["usage"]["speculative"]["requests"] == 3
