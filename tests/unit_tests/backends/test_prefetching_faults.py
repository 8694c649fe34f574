"""If prefetching fails or is not useful, the turn is not affected."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from langchain_core.messages import HumanMessage

from langchain_spec_thinking import Budget, ChatSpeculativeThinking, DelegationPolicy, OpenAIBackend, TargetLeads
from langchain_spec_thinking.backends.base import End, Event, Piece, Request, Usage
from langchain_spec_thinking.backends.prefetching import begin, prefetch_by_request, prefetch_in_thread
from langchain_spec_thinking.drivers import drive
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.run import Run
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_huggingface import continued, counting, turn
from tests.unit_tests.wire import delta, sse

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from transformers import PreTrainedModel

    from langchain_spec_thinking.turn import Turn

THOUGHT = "One.\n\nTwo two.\n\nThree three.\n\nFour.</think>Done."


@dataclass
class Reading(ScriptedBackend):
    """A backend that prefetches at once and counts its prefetches."""

    prefetches: int = 0

    def prefetch(self, turn: Turn) -> Future[Usage]:
        self.prefetches += 1
        done: Future[Usage] = Future()
        done.set_result(Usage(9, 0, 1))
        return done


@dataclass
class Refusing(ScriptedBackend):
    """A backend whose chat template refuses every conversation."""

    def prefetch(self, turn: Turn) -> Future[Usage]:
        raise BackendError("the chat template refuses this conversation")

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        raise BackendError("the chat template refuses this conversation")
        yield


@dataclass
class Late(ScriptedBackend):
    """A backend that reports its prompt tokens at the end."""

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        yield from (event for event in super().continue_turn(turn, request) if isinstance(event, Piece))
        yield End("stop", Usage(prompt_tokens=12))


def rest(half: Turn) -> str:
    return THOUGHT.removeprefix(half.thinking)


def driven(target: ScriptedBackend, small: ScriptedBackend | None = None, **settings: Any) -> Run:
    small = small or ScriptedBackend(rest, thinks=True)
    model = ChatSpeculativeThinking(speculative=small, target=target, **{"prefetch": "on", **settings})
    run = model.new_run([HumanMessage("hi")])
    assert isinstance(run, Run)
    list(drive(run))
    return run


@pytest.mark.parametrize(
    ("policy", "times"),
    [
        (DelegationPolicy(), 3),
        (DelegationPolicy(budget=Budget(target_tokens=0)), 0),
        (DelegationPolicy(budget=Budget(target_share=0)), 0),
        (DelegationPolicy(trigger=TargetLeads()), 0),  # the target writes first
    ],
)
def test_a_target_that_may_not_take_over_prefetches_nothing(policy: DelegationPolicy, times: int) -> None:
    target = Reading(rest, thinks=True)
    driven(target, policy=policy)
    assert target.prefetches == times


def test_the_turn_continues_if_the_target_refuses_the_conversation() -> None:
    assert driven(Refusing("x")).turn.answer == "Done."


@pytest.mark.parametrize("prefetch", ["off", "on"])
def test_the_model_that_writes_first_counts_the_prompt(prefetch: str) -> None:
    assert driven(Reading("x"), Late(rest, thinks=True), prefetch=prefetch).report.prompt_tokens == 12


@contextmanager
def blocked(model: PreTrainedModel) -> Iterator[threading.Event]:
    """Let every pass of a model wait until the event is set."""
    gate = threading.Event()
    hook = model.register_forward_pre_hook(lambda *_: gate.wait() and None)
    try:
        yield gate
    finally:
        gate.set()
        hook.remove()


def test_a_finished_turn_keeps_its_cache_during_a_prefetch() -> None:
    """Otherwise the next turn of the conversation would take over the cache during the prefetch."""
    model = copy.deepcopy(tiny.llama(1))
    backend, other = tiny.backend(model), tiny.backend(copy.deepcopy(tiny.llama(1)))
    expected = continued(other, turn("What is 2 + 3?"))
    running = turn("What is 2 + 3?")
    running.append("speculative", "the cat sat on the mat, ")
    first = backend.prefetch(running)
    assert first is not None
    wait([first])
    running.append("speculative", "and then the cat ate the rat, so we add two and three.")
    with blocked(model) as gate:
        second = backend.prefetch(running)
        assert second is not None
        del running
        gc.collect()
        events = backend.continue_turn(turn("What is 2 + 3?"), Request(40, temperature=0))
        usage = next(events)  # the new turn has its cache now
        assert isinstance(usage, Usage)
        gate.set()
        wait([second])
        text = [e.text for e in events if isinstance(e, Piece)]
    assert "".join(text) == expected


def test_a_turn_whose_prefetch_failed_is_collected() -> None:
    """The cache of a turn refers to the prefetch. Its error must not refer to the turn, or the turn lives for ever."""
    threads = []

    def fail(*_: object) -> None:
        threads.append(threading.current_thread())
        try:
            model.get_parameter("weights")
        except AttributeError as error:
            raise MemoryError from error

    model, running = copy.deepcopy(tiny.llama(1)), turn()
    running.append("speculative", "the cat sat")
    backend, collected = tiny.backend(model), threading.Event()
    hook = model.register_forward_pre_hook(fail)
    prefetch = backend.prefetch(running)
    assert prefetch is not None
    assert isinstance(prefetch.exception(60), MemoryError)
    threads.pop().join(60)
    hook.remove()
    weakref.finalize(running, collected.set)
    del running, prefetch
    gc.collect()
    assert collected.is_set()


def test_a_takeover_does_not_wait_for_a_prefetch_that_has_not_begun() -> None:
    backend, running = tiny.backend(copy.deepcopy(tiny.llama(1))), turn()
    running.append("speculative", "the cat sat")
    cache = backend._model.turn_cache(running, backend._template)  # noqa: SLF001
    prefetch: Future[Usage] = Future()
    cache.prefetching = prefetch
    assert continued(backend, running, max_tokens=3)
    assert prefetch.cancelled()


def test_a_prefetch_that_has_begun_is_awaited() -> None:
    prefetch: Future[Usage] = Future()
    assert begin(prefetch)
    assert begin(prefetch)
    assert not prefetch.cancel()


def test_a_prefetch_that_is_cancelled_does_not_begin() -> None:
    prefetch: Future[Usage] = Future()
    prefetch.cancel()
    assert not begin(prefetch)
    assert not begin(prefetch)


def test_beyond_the_limit_nothing_is_prefetched() -> None:
    gate = threading.Event()

    def read(_: Future[Usage]) -> Usage:
        gate.wait()
        return Usage(1)

    started = []
    try:
        while prefetch := prefetch_in_thread(read):
            started.append(prefetch)
    finally:
        gate.set()
    assert len(started) == 16
    assert [prefetch.result() for prefetch in started] == [Usage(1)] * 16


class Endless(ScriptedBackend):
    """A backend whose prefetch ends only if it is cancelled.

    Attributes:
        started: Prefetches that were started.
        closed: Set when a request is closed.
    """

    def __init__(self) -> None:
        super().__init__("x", name="endless")
        self.started: list[Future[Usage]] = []
        self.closed = threading.Event()

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        try:
            while True:
                yield Usage(1)
        finally:
            self.closed.set()

    def prefetch(self, turn: Turn) -> Future[Usage] | None:
        prefetch = prefetch_by_request(self, turn)
        self.started += [prefetch] if prefetch else []
        return prefetch


@pytest.mark.parametrize("tokens", [None, 3], ids=["a turn that ends", "a turn that is closed"])
def test_the_prefetch_ends_with_its_turn(tokens: int | None) -> None:
    target = Endless()
    small = ScriptedBackend(rest, thinks=True)
    model = ChatSpeculativeThinking(
        speculative=small, target=target, policy=DelegationPolicy(budget=Budget(target_tokens=1)), prefetch="on"
    )
    events = drive(model.new_run([HumanMessage("hi")]))
    for _ in islice(events, tokens):
        pass
    events.close()
    assert [prefetch.cancelled() for prefetch in target.started] == [True]
    assert target.closed.wait()


def test_a_turn_longer_than_the_context_is_not_prefetched() -> None:
    model, running = copy.deepcopy(tiny.llama(1)), turn()
    running.append("speculative", "the cat sat on the mat " * 200)
    backend = tiny.backend(model)
    with counting([model]) as read:
        assert backend.prefetch(running) is None
    assert read == [0]


def test_no_prefetch_with_only_an_asynchronous_client() -> None:
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: sse(delta("stop", content="Hi"))))
    backend = OpenAIBackend("m", base_url="http://127.0.0.1:9/v1", api_key="x", http_async_client=client)
    assert backend.prefetch(turn()) is None


def test_no_prefetch_if_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    with monkeypatch.context() as patched:
        patched.setattr("langchain_spec_thinking.backends.prefetching.start_thread", refused)
        assert [prefetch_in_thread(lambda _: Usage(1)) for _ in range(100)] == [None] * 100
    started = prefetch_in_thread(lambda _: Usage(1))
    assert started is not None
    assert started.result() == Usage(1)
