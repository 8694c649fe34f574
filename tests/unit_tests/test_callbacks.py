"""Tests of takeovers in LangChain's callbacks and tracers, for every way to call the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_spec_thinking import Budget, ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.backends.base import Backend, Event, Request
from langchain_spec_thinking.callbacks import TAKEOVER, drive_with_callbacks
from langchain_spec_thinking.drivers import adrive, drive
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.report import Takeover, TakeoverStart
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.turn_events import Delta
from tests.unit_tests.loops import wait_for_tasks
from tests.unit_tests.test_chat_models import TEXTS, pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator
    from uuid import UUID

    from langchain_core.tracers.schemas import Run as Traced

    from langchain_spec_thinking.turn import Turn

EVENT = {
    "kind": "reflection",
    "cue": "wait",
    "draft": "Wait,",
    "author": "target",
    "channel": "thinking",
    "text": "Hm, two and three make five indeed.",
    "start": 16,
    "end": 51,
    "tokens": 7,
}
"""The data of the takeover in a turn of `pair`."""


class EventRecorder(BaseCallbackHandler):
    """A handler that keeps custom events, and the starts and ends of runs."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any], UUID]] = []
        self.tags: list[str] = []
        self.model: UUID | None = None
        self.started: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.model = run_id
        self.started.append("model")

    def on_chain_start(self, serialized: Any, inputs: Any, *, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        if parent_run_id is not None and parent_run_id == self.model:
            self.started.append(kwargs["name"])

    def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.events.append((name, data, run_id))
        self.tags = kwargs["tags"]


class StreamingEventRecorder(EventRecorder, _StreamingCallbackHandler[Any]):
    """A handler that turns `invoke` into streaming, like the handlers of LangGraph and `astream_events`."""

    def tap_output_iter(self, run_id: UUID, output: Iterator[Any]) -> Iterator[Any]:
        return output

    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[Any]) -> AsyncIterator[Any]:
        return output


Way = Callable[[ChatSpeculativeThinking, Any], object]


async def astream(model: ChatSpeculativeThinking, config: Any) -> None:
    async for _ in model.astream("2 + 3?", config):
        pass


async def astream_events(model: ChatSpeculativeThinking, config: Any) -> None:
    stream = await model.astream_events("2 + 3?", config, version="v3")
    try:
        async for _ in stream:
            pass
    finally:
        await wait_for_tasks()  # LangChain ends the run after the end of the stream


WAYS: dict[str, Way] = {
    "invoke": lambda model, config: model.invoke("2 + 3?", config),
    "stream": lambda model, config: list(model.stream("2 + 3?", config)),
    "batch": lambda model, config: model.batch(["2 + 3?"], config),
    "stream_events": lambda model, config: list(model.stream_events("2 + 3?", config, version="v3")),
    "ainvoke": lambda model, config: asyncio.run(model.ainvoke("2 + 3?", config)),
    "astream": lambda model, config: asyncio.run(astream(model, config)),
    "astream_events": lambda model, config: asyncio.run(astream_events(model, config)),
    "chain": lambda model, config: list((RunnableLambda(lambda x: x) | model).stream("2 + 3?", config)),
    "inherited": lambda model, config: RunnableLambda[Any, Any](lambda _: model.invoke("2 + 3?")).invoke(0, config),
}


@pytest.mark.parametrize("recorder_type", [EventRecorder, StreamingEventRecorder])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_takeover_is_a_custom_event_and_a_child_run(way: Way, recorder_type: type[EventRecorder]) -> None:
    recorder = recorder_type()
    way(pair(), {"callbacks": [recorder], "tags": ["mine"]})
    [(name, data, run_id)] = recorder.events
    assert data.pop("seconds") > 0
    assert (name, data, run_id) == (TAKEOVER, EVENT, recorder.model)
    assert recorder.started == ["model", TAKEOVER]
    assert "mine" in recorder.tags


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_callbacks_of_the_model_get_the_event_too(way: Way) -> None:
    recorder = EventRecorder()
    way(pair(callbacks=[recorder]), {})
    assert [name for name, _, _ in recorder.events] == [TAKEOVER]


async def test_events_of_astream_events() -> None:
    events = [event async for event in pair().astream_events("2 + 3?", version="v2")]
    [custom] = [event for event in events if event["event"] == "on_custom_event"]
    assert (custom["name"], {**custom["data"], "seconds": 0}) == (TAKEOVER, {**EVENT, "seconds": 0})
    assert custom["run_id"] == events[0]["run_id"]
    names = [event["event"] for event in events if event["name"] == TAKEOVER]
    assert names == ["on_chain_start", "on_chain_end", "on_custom_event"]


class Tracer(BaseTracer):
    """A tracer that keeps whole traces."""

    def __init__(self) -> None:
        super().__init__()
        self.traces: list[Traced] = []

    def _persist_run(self, run: Traced) -> None:
        self.traces.append(run)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_tracers_show_a_child_run_with_both_texts(way: Way) -> None:
    tracer, collector, usage = Tracer(), RunCollectorCallbackHandler(), UsageMetadataCallbackHandler()
    way(pair(), {"callbacks": [tracer, collector, usage]})
    [trace] = tracer.traces
    [model] = [run for run in [trace, *trace.child_runs] if run.run_type in {"llm", "chat_model"}]
    [child] = model.child_runs
    assert (child.name, child.run_type, child.error) == (TAKEOVER, "chain", None)
    assert child.inputs == {"kind": "reflection", "cue": "wait", "draft": "Wait,"}
    assert child.outputs is not None
    assert {**EVENT, **child.outputs, "seconds": 0} == {**EVENT, "seconds": 0}
    assert child.end_time is not None
    assert child.end_time >= child.start_time
    assert len(collector.traced_runs) == 1
    [counted] = usage.usage_metadata.values()
    assert counted["output_tokens"] == 24  # each token is counted once


class Breaking(Backend):
    """A backend that cannot be reached."""

    name = "breaking"

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        msg = "gone"
        raise BackendError(msg)
        yield


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_takeover_that_fails_is_an_error_of_its_run(way: Way) -> None:
    tracer = Tracer()
    model = pair(target=Breaking(), on_target_failure="raise")
    with suppress(BackendError):
        way(model, {"callbacks": [tracer]})
    [trace] = tracer.traces
    [model_run] = [run for run in [trace, *trace.child_runs] if run.run_type in {"llm", "chat_model"}]
    [child] = model_run.child_runs
    assert "gone" in (child.error or "")


def test_a_takeover_without_text_is_reported() -> None:
    recorder = EventRecorder()
    message = pair(target=Breaking()).invoke("2 + 3?", {"callbacks": [recorder]})
    assert [(data["text"], data["tokens"]) for _, data, _ in recorder.events] == [("", 0)]
    assert message.response_metadata["speculative_thinking"]["takeovers"] == 0


def test_surplus_text_of_the_target_is_not_a_draft() -> None:
    recorder = EventRecorder()
    target = ScriptedBackend("Hm, let me verify it.\n\nMore.", name="large")
    pair(target=target, policy=DelegationPolicy(takeover_tokens=None)).invoke("2 + 3?", {"callbacks": [recorder]})
    drafts = [(data["kind"], data["draft"]) for _, data, _ in recorder.events]
    assert drafts[:2] == [("reflection", "Wait,"), ("verification", "")]


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_closing_a_stream_in_a_takeover_ends_its_run(way: str) -> None:
    tracer = Tracer()

    async def part() -> None:
        stream = pair().astream("2 + 3?", {"callbacks": [tracer]})
        async for chunk in stream:
            if "Hm" in str(chunk.content):
                break
        await stream.aclose()  # type: ignore[attr-defined]
        await wait_for_tasks()  # LangChain lets the event loop close its inner generator

    if way == "stream":
        stream = pair().stream("2 + 3?", {"callbacks": [tracer]})
        next(chunk for chunk in stream if "Hm" in str(chunk.content))
        stream.close()  # type: ignore[attr-defined]
    else:
        asyncio.run(part())
    [trace] = tracer.traces
    assert [child.error is not None for child in trace.child_runs] == [True]


class Broken(BaseCallbackHandler):
    """A handler that raises an error for every event."""

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    on_chain_start = on_chain_end = on_custom_event  # type: ignore[assignment]


class ABroken(AsyncCallbackHandler):
    """An asynchronous handler that raises an error for every event."""

    async def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("handler", [Broken, ABroken])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_failing_callback_does_not_break_the_turn(way: Way, handler: type[BaseCallbackHandler]) -> None:
    recorder = EventRecorder()
    way(pair(), {"callbacks": [handler(), recorder]})
    assert len(recorder.events) == 1


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_without_callbacks_no_manager_is_made(way: Way) -> None:
    seen = []

    class Watched(ChatSpeculativeThinking):
        def _copy(self, manager: Any) -> Any:
            seen.append(manager)
            return super()._copy(manager)

    base = pair()
    way(Watched(speculative=base.speculative, target=base.target), {})
    assert set(seen) <= {None}


@given(TEXTS, TEXTS)
def test_each_takeover_with_text_is_reported_once(written: str, taken_over: str) -> None:
    models = ScriptedBackend(written, thinks=True), ScriptedBackend(taken_over)
    policies = [
        DelegationPolicy(takeover_tokens=4, reflection_limit=1),
        DelegationPolicy.non_reasoning(opening_tokens=3),
    ]
    for policy in [*policies, DelegationPolicy(takeover_tokens=None, budget=Budget(target_tokens=9))]:
        model = ChatSpeculativeThinking(speculative=models[0], target=models[1], policy=policy, max_tokens=60)
        run = model.new_run([HumanMessage("x")])
        events = list(drive(run))
        takeovers = [each for each in events if isinstance(each, Takeover)]
        assert len(takeovers) == sum(isinstance(each, TakeoverStart) for each in events)
        assert sum(bool(takeover.text) for takeover in takeovers) == run.report.takeovers
        for takeover in takeovers:
            assert takeover.text == run.turn.text(takeover.channel)[takeover.start : takeover.end]
        by_target = sum(s.tokens for s in run.report.segments if s.author == "target" and s.kind != "answer")
        assert sum(takeover.tokens for takeover in takeovers) == by_target
        discarded = sum(usage.discarded_tokens for usage in run.report.usage.values())
        assert sum(dropped.tokens for dropped in run.report.dropped) <= discarded


async def test_synchronous_and_asynchronous_drivers_yield_the_same_events() -> None:
    events = [each async for each in adrive(pair().new_run([HumanMessage("x")]))]
    expected = list(drive(pair().new_run([HumanMessage("x")])))
    assert [type(each) for each in events] == [type(each) for each in expected]
    texts = [each.text for each in drive_with_callbacks(pair().new_run([HumanMessage("x")]), None)]
    assert texts == [each.text for each in expected if isinstance(each, Delta)]


def test_the_report_holds_dropped_drafts() -> None:
    report = pair().invoke("2 + 3?").response_metadata["speculative_thinking"]
    assert report["dropped"] == [
        {"author": "speculative", "channel": "thinking", "at": 16, "text": "Wait,", "tokens": 1}
    ]


def test_a_huge_dropped_draft_is_shortened() -> None:
    whole = ScriptedBackend("One.\n\nWait " + "x" * 5000, thinks=True, tokenize=lambda text: [text])
    report = pair(speculative=whole, max_tokens=100).invoke("2 + 3?").response_metadata["speculative_thinking"]
    assert len(report["dropped"][0]["text"]) == 1000
