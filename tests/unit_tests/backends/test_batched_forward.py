"""Tests of shared forward passes, on tiny models with random weights."""

from __future__ import annotations

import copy
import string
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.backends.local.batched_forward import BatchedForward, _PendingTurn
from langchain_spec_thinking.errors import BackendError
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_huggingface import PROMPTS, continued, turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from langchain_core.messages import AIMessage
    from transformers import PreTrainedModel

    from langchain_spec_thinking import HuggingFaceBackend

TURNS = 16
DIFFERENT = [letter * 7 for letter in string.ascii_letters[:TURNS]]
"""Texts of turns that have so little in common that no turn copies the prompt of another one."""


class Gathered(BatchedForward):
    """Forward passes that begin only after every other turn waits. So the turns in a pass do not depend on the machine.

    Args:
        backend: The backend that uses these passes from now on.
    """

    def __init__(self, backend: HuggingFaceBackend) -> None:
        model = backend._model  # noqa: SLF001 - there is no public access to its passes
        vars(self).update(vars(model._forward))  # noqa: SLF001
        model._forward = self  # noqa: SLF001
        self._changed = threading.Condition()
        self._in_wait: list[_PendingTurn] = []
        self._others = 0

    def _wait(self, pending: _PendingTurn) -> bool:
        with self._changed:
            self._in_wait.append(pending)
            self._changed.notify_all()
        try:
            return super()._wait(pending)
        finally:
            with self._changed:
                self._in_wait.remove(pending)

    def gather(self, _: object = None) -> None:
        """Wait until all turns wait, except the turn that runs the pass."""
        with self._changed:
            self._changed.wait_for(lambda: sum(not pending.woken.is_set() for pending in self._in_wait) >= self._others)

    def run_all_turns(self, work: Callable[[int], Any]) -> list[Any]:
        """Return the results of `work` for every turn. All calls begin at the same time."""
        self._others = TURNS - 1

        def begin(index: int) -> Any:
            try:
                return work(index)
            finally:
                with self._changed:
                    self._others -= 1
                    self._changed.notify_all()

        return run_all_turns(begin)


@contextmanager
def passes(model: PreTrainedModel, hook: Callable[[dict[str, torch.Tensor]], None]) -> Iterator[list[int]]:
    """Record the number of tokens that each pass of a model reads. `hook` gets the inputs before each pass."""
    read: list[int] = []

    def before(_: torch.nn.Module, __: object, inputs: dict[str, torch.Tensor]) -> None:
        read.append(inputs["input_ids"].shape[1])
        hook(inputs)

    handle = model.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield read
    finally:
        handle.remove()


def run_all_turns(work: Callable[[int], Any]) -> list[Any]:
    """Return the results of `work` for every turn. All calls begin at the same time."""
    start = threading.Barrier(TURNS)

    def begin(index: int) -> Any:
        start.wait()
        return work(index)

    with ThreadPoolExecutor(TURNS) as pool:
        return list(pool.map(begin, range(TURNS)))


@pytest.mark.parametrize("make", [tiny.llama, tiny.sliding])
def test_shared_passes_change_no_text(make: Callable[[], PreTrainedModel]) -> None:
    backend = tiny.backend(make())
    policy = DelegationPolicy(boundary="\n", takeover_every_boundary=True, takeover_tokens=3, opening_tokens=5)
    pair = ChatSpeculativeThinking(
        speculative=backend, target=tiny.backend(tiny.llama(5)), policy=policy, max_tokens=60, temperature=0
    )
    prompts = [f"{PROMPTS[index % len(PROMPTS)]} {'so ' * index}" for index in range(TURNS)]
    alone = [pair.invoke(prompt) for prompt in prompts]
    shared = run_all_turns(lambda index: pair.invoke(prompts[index]))
    assert [message.text for message in shared] == [message.text for message in alone]
    assert [used(message) for message in shared] == [used(message) for message in alone]


def used(message: AIMessage) -> dict[str, Any]:
    """Return the usage of a turn without cached tokens, which depend on the earlier turns."""
    usage: dict[str, dict[str, int]] = message.response_metadata["speculative_thinking"]["usage"]
    return {author: side | {"cached_tokens": 0} for author, side in usage.items()}


def test_turns_that_wait_are_read_in_one_pass() -> None:
    model, tokens = copy.deepcopy(tiny.llama()), 20
    backend = tiny.backend(model)
    with passes(model, lambda _: None) as alone:
        for text in DIFFERENT:
            continued(backend, turn(text), max_tokens=tokens)
    model = copy.deepcopy(model)  # has no cache of these turns
    backend = tiny.backend(model)
    forward = Gathered(backend)
    with passes(model, forward.gather) as shared:
        forward.run_all_turns(lambda index: continued(backend, turn(DIFFERENT[index]), max_tokens=tokens))
    assert sum(shared) == sum(alone)
    assert len(shared) <= 2 * len(alone) // TURNS + 1  # the first turn reads alone


def test_turns_do_not_alternate() -> None:
    """A turn that chooses its token is waited for. Otherwise two turns would get each other's passes in turn."""
    model, tokens = copy.deepcopy(tiny.llama()), 20
    backend = tiny.backend(model)
    forward = Gathered(backend)
    forward.patience = 1e6  # so that the count does not depend on the machine
    forward._others = 1  # noqa: SLF001 - a fake of this file
    first_pass = iter([True])

    def await_both(_: object) -> None:
        if next(first_pass, False):
            forward.gather()

    with passes(model, await_both) as read, ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda text: continued(backend, turn(text), max_tokens=tokens), DIFFERENT[:2]))
    assert len(read) <= tokens + 1  # the first turn may read its prompt alone


def test_nobody_waits_for_a_turn_that_has_ended() -> None:
    model = copy.deepcopy(tiny.llama())
    backend = tiny.backend(model)
    backend._model._forward.patience = 1e6  # noqa: SLF001 - a wait for a turn that does not come back would not end
    both = threading.Barrier(2)

    def write(index: int) -> str:
        both.wait()
        return continued(backend, turn(DIFFERENT[index]), max_tokens=(5, 20)[index])

    with ThreadPoolExecutor(2) as pool:
        assert len(list(pool.map(write, range(2)))) == 2


def test_a_turn_that_comes_back_late_is_not_waited_for() -> None:
    backend = tiny.backend(copy.deepcopy(tiny.llama()))
    forward = backend._model._forward  # noqa: SLF001
    slow, quick = (backend._model.turn_cache(turn(text), backend._template) for text in DIFFERENT[:2])  # noqa: SLF001
    forward.patience = 0  # every turn comes back too late
    for cache in (slow, quick, slow, quick):
        forward.read(cache)
        cache.append(1)
    assert not forward._returning  # noqa: SLF001


def test_a_single_turn_never_waits() -> None:
    model = tiny.llama()
    backend = tiny.backend(model)
    with passes(model, lambda _: None) as read:
        continued(backend, turn(), max_tokens=7)
    assert len(read) == 7


def test_after_a_shared_pass_failed_each_turn_gets_its_own_pass() -> None:
    model = tiny.llama()
    backend = tiny.backend(model)
    expected = continued(backend, turn(), max_tokens=12)

    forward, failed = Gathered(backend), []

    def fail_if_shared(inputs: dict[str, torch.Tensor]) -> None:
        forward.gather()
        if "turns" in inputs:
            failed.append(inputs)
            raise MemoryError

    with passes(model, fail_if_shared):
        assert forward.run_all_turns(lambda _: continued(backend, turn(), max_tokens=12)) == [expected] * TURNS
    assert failed


def test_a_failing_turn_does_not_affect_other_turns() -> None:
    model = tiny.llama()
    backend = tiny.backend(model)
    expected = continued(backend, turn(), max_tokens=12)

    forward = Gathered(backend)

    def fail_long(inputs: dict[str, torch.Tensor]) -> None:
        forward.gather()
        if inputs["input_ids"].shape[1] >= 100:
            raise MemoryError

    def work(index: int) -> str:
        try:
            return continued(backend, turn("x " * 60 if index == 3 else "hi"), max_tokens=12)
        except BackendError:
            return "failed"

    with passes(model, fail_long):
        assert forward.run_all_turns(work) == [*[expected] * 3, "failed", *[expected] * (TURNS - 4)]


def test_a_shared_pass_keeps_its_token_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.local.batched_forward.TOKENS_MAX", 20)
    model = tiny.llama()
    backend = tiny.backend(model)
    forward = Gathered(backend)
    with passes(model, forward.gather) as read:
        forward.run_all_turns(lambda index: continued(backend, turn(DIFFERENT[index]), max_tokens=3))
    assert max(read) <= 20
    prompts = (len(backend._template.prompt_ids(turn(text))) for text in DIFFERENT)  # noqa: SLF001
    assert sum(read) == sum(prompts) + TURNS * 2


def test_an_interrupted_waiter_wakes_the_next_turn() -> None:
    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    # A model of its own, because its passes never run again: this test leaves a turn that waits.
    backend = tiny.backend(copy.deepcopy(tiny.llama()))
    forward, cache = backend._model._forward, backend._model.turn_cache(turn(), backend._template)  # noqa: SLF001
    leaving, next_one = _PendingTurn(cache, [], woken=Interrupted()), _PendingTurn(cache, [])
    leaving.woken.set()  # it has to run the next pass
    forward._waiting, forward._running = [leaving, next_one], True  # noqa: SLF001
    with pytest.raises(KeyboardInterrupt):
        forward._wait(leaving)  # noqa: SLF001
    assert forward._waiting == [next_one]  # noqa: SLF001
    assert next_one.woken.is_set()
