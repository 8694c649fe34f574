"""Faults of turns with a rule of escalation: every way to call a model gives the same result, and records replay it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_spec_thinking import (
    Agreement,
    Budget,
    ChatSpeculativeThinking,
    DelegationPolicy,
    EscalateIfAny,
    Stall,
    recording,
    replay,
)
from langchain_spec_thinking.backends.base import Call, End, Piece, Usage
from langchain_spec_thinking.errors import BackendError, TurnTimeoutError
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import ToolCall
from tests.unit_tests import tool_task
from tests.unit_tests.fake_time import FakeTime, FakeTimeLoop
from tests.unit_tests.gated_pairs import (
    DIFFER,
    LARGE,
    LOOP,
    QUESTION,
    THE_REST,
    THOUGHT,
    WITH_CUE,
    Answers,
    Failing,
    blocks,
    gated,
    merged,
    pair,
    report,
    scripted,
)
from tests.unit_tests.openai_server import ASKED, client
from tests.unit_tests.tool_task import RECEIPT, TOOLS, Receipt, call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from langchain_core.runnables import Runnable

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn

GONE = "it is gone"
SHOWN = f"the large model failed, so the answer of the small model is shown: {GONE}"
SAMPLE_FAILED = f"a sample of the small model failed: {GONE}"
SPENT = "the budget is spent, so the answer of the small model is shown: the large model wrote 0 of at most 0 tokens"
STEP = 1_000_003


class FailingSamples(Answers):
    """A small model whose samples fail after some text, when the answer of the attempt is written."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.answered = threading.Event()

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        if request.seed and request.seed >= STEP:
            yield Piece("It is", 2)
            assert self.answered.wait(20)
            raise BackendError(GONE)
        *events, end = super().continue_turn(turn, request)
        yield from events
        self.answered.set()
        yield end


def failing(text: str = "") -> Failing:
    return Failing(text, error=BackendError(GONE))


@dataclass(frozen=True)
class Outcome:
    """What a turn brings.

    Attributes:
        text: The answer. None: the turn raises the error.
        escalated: Why the large model answered. None: it did not.
        degraded: What the report says about faults.
        calls: The arguments of the tool calls.
    """

    text: str | None
    escalated: str | None = None
    degraded: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()


TEA, COFFEE = call("price", item="tea"), call("price", item="coffee")
STOLEN = call("steal", item="tea")


def with_tools(first: str, second: str, large: Any) -> Any:
    return pair(speculative=scripted([first, second], THOUGHT), large=large).bind_tools(TOOLS)


TURNS: dict[str, tuple[Callable[[], Any], Outcome]] = {
    "the large model fails at once": (lambda: pair("4", "5", large=failing()), Outcome("4", None, (SHOWN,))),
    "the large model fails in its thought": (
        lambda: pair("4", "5", large=failing("Hm, two")),
        Outcome("4", None, (SHOWN,)),
    ),
    "the large model fails and nothing is shown before it": (
        lambda: pair("4", "5", thought=None, large=failing()),
        Outcome("4", None, (SHOWN,)),
    ),
    "the large model fails while it continues a thought": (
        lambda: pair("4", "5", large=failing(" Hm"), policy=gated(escalate_to="continue")),
        Outcome("4", None, (SHOWN,)),
    ),
    "the large model fails and the error is wanted": (
        lambda: pair("4", "5", large=failing(), on_target_failure="raise"),
        Outcome(None),
    ),
    "all samples fail": (
        lambda: pair(speculative=FailingSamples(["4"]), policy=gated(Agreement(samples=4))),
        Outcome("It is 5.", DIFFER, (SAMPLE_FAILED,)),
    ),
    "all samples and the large model fail": (
        lambda: pair(speculative=FailingSamples(["4"]), policy=gated(Agreement(samples=4)), large=failing()),
        Outcome("4", None, (SAMPLE_FAILED, SHOWN)),
    ),
    "all samples fail and the budget is spent": (
        lambda: pair(speculative=FailingSamples(["4"]), policy=gated(budget=Budget(target_tokens=0))),
        Outcome(
            "4",
            None,
            (SAMPLE_FAILED, SPENT),
        ),
    ),
    "calls that differ, and the large model fails": (
        lambda: with_tools(TEA, COFFEE, failing()),
        Outcome("", None, (SHOWN,), ("tea",)),
    ),
    "calls that differ": (
        lambda: with_tools(TEA, "It costs 3.", ScriptedBackend(COFFEE, name="large")),
        Outcome("", DIFFER, (), ("coffee",)),
    ),
    "calls that agree": (
        lambda: with_tools(TEA, TEA, ScriptedBackend(COFFEE, name="large")),
        Outcome("", None, (), ("tea",)),
    ),
    "calls of a tool that does not exist": (
        lambda: with_tools(STOLEN, STOLEN, ScriptedBackend(COFFEE, name="large")),
        Outcome("", DIFFER, (), ("coffee",)),
    ),
}
_WAYS = ("invoke", "stream", "batch", "ainvoke", "astream", "abatch")


async def message_of(model: Runnable[Any, AIMessage], way: str) -> AIMessage:
    """Call a model in one of six ways."""
    match way:
        case "invoke":
            return model.invoke(QUESTION)
        case "ainvoke":
            return await model.ainvoke(QUESTION)
        case "batch":
            return model.batch([QUESTION])[0]
        case "abatch":
            return (await model.abatch([QUESTION]))[0]
        case "stream":
            return merged(chunk for chunk in model.stream(QUESTION) if isinstance(chunk, AIMessageChunk))
    return merged([chunk async for chunk in model.astream(QUESTION) if isinstance(chunk, AIMessageChunk)])


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("name", TURNS)
async def test_each_way_to_call_has_the_same_outcome(name: str, way: str) -> None:
    make, outcome = TURNS[name]
    if outcome.text is None:
        with pytest.raises(BackendError, match=GONE):
            await message_of(make(), way)
        return
    message = await message_of(make(), way)
    found = report(message)
    assert message.text == outcome.text
    assert found["escalated"] == outcome.escalated
    assert tuple(found["degraded"]) == outcome.degraded
    assert tuple(made["args"]["item"] for made in message.tool_calls) == outcome.calls
    assert not message.invalid_tool_calls


@pytest.mark.parametrize("name", [name for name, (_, outcome) in TURNS.items() if outcome.text is not None])
async def test_a_record_repeats_the_fault(name: str) -> None:
    records: list[Any] = []
    with recording(records.append):
        message = await message_of(TURNS[name][0](), "ainvoke")
    (record,) = records
    again = replay(type(record).from_dict(record.as_dict()))
    assert again.difference is None
    assert (again.turn.answer, again.report.escalated) == (message.text, report(message)["escalated"])
    assert [made.name for made in again.turn.calls] == [made["name"] for made in message.tool_calls]


# -- deadlines and cancelling


class Direct(Answers):
    """A small model that needs no thread, so that its time does not depend on the machine."""

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        for event in self.continue_turn(turn, request):
            yield event


class Blocking(Direct):
    """A small model whose samples wait until they are released."""

    released: threading.Event

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        if request.seed:
            self.released.wait()
        yield from super().continue_turn(turn, request)

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        if request.seed:
            await asyncio.Event().wait()
        async for event in super().acontinue_turn(turn, request):
            yield event


def ask_in_fake_time(model: ChatSpeculativeThinking) -> None:
    """Run a turn. Time passes only if the turn waits for it."""
    time = FakeTime()
    with asyncio.Runner(loop_factory=lambda: FakeTimeLoop(time)) as runner:
        runner.run(time.of(model).ainvoke(QUESTION))


@pytest.mark.parametrize(
    ("ask", "seconds"),
    [(lambda model: model.invoke(QUESTION), 2.0), (ask_in_fake_time, 30.0)],  # two seconds are enough for the attempt
    ids=["invoke", "ainvoke"],
)
def test_the_deadline_holds_while_a_sample_is_late(
    ask: Callable[[ChatSpeculativeThinking], object], seconds: float
) -> None:
    small = Blocking(["4", "5"])
    small.released = threading.Event()
    try:
        with pytest.raises(TurnTimeoutError) as caught:
            ask(pair(speculative=small, timeout=seconds))
        assert caught.value.thinking == THOUGHT
        assert caught.value.answer == ""
    finally:
        small.released.set()


def test_the_deadline_holds_in_the_answer_of_the_large_model() -> None:
    class Late(Failing):
        async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
            yield Piece("So.</think>\n\nIt is", 3)
            await asyncio.Event().wait()

    with pytest.raises(TurnTimeoutError) as caught:
        ask_in_fake_time(pair(speculative=Direct(["4", "5"]), large=Late(), timeout=30.0))
    assert (caught.value.thinking, caught.value.answer) == (f"{THOUGHT}\n\nSo.", "It is")


@dataclass
class Watched(Answers):
    """A small model that writes without an end. It counts its open requests.

    Attributes:
        open: Number of requests that run.
        begun: Set when the attempt and a sample run.
        ended: Set when no request runs any more.
    """

    open: int = 0
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    lock: Any = field(default_factory=threading.Lock)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        self._count(1)
        try:
            for _ in range(10**6):
                yield Piece("on. ", 1)
                if request.seed == 0:
                    assert self.begun.wait(20)
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self.lock:
            self.open += more
            if self.open == 2:
                self.begun.set()
            if self.open == 0:
                self.ended.set()


def test_a_stream_that_is_closed_ends_its_samples() -> None:
    small = Watched()
    stream = pair(speculative=small, max_tokens=10**6).stream(QUESTION)
    for _ in range(3):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert small.ended.wait(20)


async def test_an_asynchronous_stream_that_is_closed_ends_its_samples() -> None:
    small = Watched()
    stream = pair(speculative=small, max_tokens=10**6).astream(QUESTION)
    for _ in range(3):
        await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    assert await asyncio.to_thread(small.ended.wait, 20)


async def test_cancelling_in_the_answer_of_the_large_model_closes_its_request() -> None:
    begun, closed = asyncio.Event(), asyncio.Event()

    class Endless(Failing):
        async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
            try:
                yield Piece("So.</think>\n\nIt is", 3)
                begun.set()
                await asyncio.Event().wait()
            finally:
                closed.set()

    task = asyncio.create_task(pair("4", "5", large=Endless()).ainvoke(QUESTION))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()


# -- tools


class Native(Answers):
    """A small model that makes two calls of its server in the order that its seed says."""

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        calls = [ToolCall(f"{request.seed}-{item}", "price", f'{{"item": "{item}"}}') for item in ("tea", "coffee")]
        yield Usage(prompt_tokens=5)
        for each in reversed(calls) if request.seed else calls:
            yield Call(each, 3)
        yield End("stop")


def test_parallel_calls_agree_in_any_order_and_are_made_as_the_attempt_wrote_them() -> None:
    message = pair(speculative=Native([], None)).bind_tools(TOOLS).invoke(QUESTION)
    assert [made["args"]["item"] for made in message.tool_calls] == ["tea", "coffee"]
    assert [made["id"] for made in message.tool_calls] == ["0-tea", "0-coffee"]
    assert report(message)["escalated"] is None


@pytest.mark.parametrize("agrees", [True, False])
async def test_an_agent_finishes_a_task_with_a_gate(agrees: bool) -> None:
    """If the samples differ, the large model makes each step of the task."""

    class Doubtful(ScriptedBackend):
        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            doubts = not agrees and (request.seed or 0) >= STEP
            text = "Nobody knows." if doubts else tool_task.small
            yield from ScriptedBackend(text, thinks=True).continue_turn(turn, request)

    model = ChatSpeculativeThinking(
        speculative=Doubtful(name="small", thinks=True),
        target=ScriptedBackend(tool_task.small, name="large", thinks=True),
        policy=DelegationPolicy.gated(),
        seed=0,
    )
    agent = create_agent(model, tools=TOOLS)
    for state in (agent.invoke(tool_task.QUESTION), await agent.ainvoke(tool_task.QUESTION)):
        messages = state["messages"]
        assert tool_task.steps(messages) == tool_task.TASK_STEPS
        replies = [message for message in messages if isinstance(message, AIMessage)]
        requests = [report(reply)["usage"]["target"]["requests"] for reply in replies]
        assert all(requests) if not agrees else not any(requests)


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("agrees", [True, False])
async def test_a_structured_answer_is_that_of_the_model_that_answers(method: Any, agrees: bool) -> None:
    def written(item: str) -> str:
        receipt = Receipt(item=item, euros=7)
        return call("Receipt", **receipt.model_dump()) if method == "function_calling" else receipt.model_dump_json()

    answers = [written("tea" if agrees else "coffee"), written("tea")]
    for thought in (THOUGHT, None):
        model = pair(speculative=scripted(answers, thought), large=ScriptedBackend(written("tea"), name="large"))
        structured = model.with_structured_output(Receipt, method=method)
        streamed = [part async for part in structured.astream(QUESTION)]
        assert structured.invoke(QUESTION) == await structured.ainvoke(QUESTION) == streamed[-1] == RECEIPT


async def test_the_server_of_this_package_serves_a_gated_pair() -> None:
    for answers, text in ((("5", "5."), "5"), (("4", "5"), "It is 5.")):
        reply = await client(pair(*answers)).chat.completions.create(**ASKED)
        message: Any = reply.choices[0].message
        assert message.content == text
        assert message.reasoning_content.startswith(THOUGHT)
        parts = [part async for part in await client(pair(*answers)).chat.completions.create(**ASKED, stream=True)]
        deltas = [part.choices[0].delta for part in parts]
        assert "".join(delta.content or "" for delta in deltas) == text
        assert "".join(getattr(delta, "reasoning_content", "") or "" for delta in deltas) == message.reasoning_content


# -- laws


class Chopped(Answers):
    """A small model whose text comes in pieces of given sizes."""

    sizes: tuple[int, ...] = ()

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        yield from chopped(super().continue_turn(turn, request), self.sizes)


class ChoppedLarge(ScriptedBackend):
    """A large model whose text comes in pieces of given sizes."""

    sizes: tuple[int, ...] = ()

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        yield from chopped(super().continue_turn(turn, request), self.sizes)


def chopped(events: Any, sizes: tuple[int, ...]) -> Generator[Event, None, None]:
    text = "".join(each.text for each in events if isinstance(each, Piece))
    for size in (*sizes, len(text)):
        yield Piece(text[:size], 1)
        text = text[size:]
    yield End("stop")


LAWS = {
    "a gate": (gated(), THOUGHT),
    "a gate that continues": (gated(escalate_to="continue"), THOUGHT),
    "a gate without thoughts": (gated(), None),
    "a stall": (gated(EscalateIfAny(Stall(), Agreement())), f"So.\n\n{LOOP}{LOOP}"),
    "a stall that continues": (gated(Stall(), escalate_to="continue"), f"So.\n\n{LOOP}{LOOP}"),
    "the rest of the thought, and a gate": (THE_REST, WITH_CUE),
}


@pytest.mark.parametrize("name", LAWS)
@given(
    small=st.lists(st.integers(1, 12), max_size=30), large=st.lists(st.integers(1, 9), max_size=9), same=st.booleans()
)
def test_the_size_of_pieces_changes_no_escalated_turn(
    name: str, small: list[int], large: list[int], same: bool
) -> None:
    policy, thought = LAWS[name]
    answers = ["It is 5.", "5" if same else "4"]

    def message(small: list[int], large: list[int]) -> AIMessage:
        speculative = Chopped(answers, thought)
        target = ChoppedLarge(LARGE, name="large", thinks=True)
        speculative.sizes, target.sizes = tuple(small), tuple(large)
        return pair(speculative=speculative, large=target, policy=policy).invoke(QUESTION)

    whole, pieces = message([], []), message(small, large)
    assert blocks(pieces) == blocks(whole)
    assert pieces.text == whole.text
    assert report(pieces)["escalated"] == report(whole)["escalated"]
