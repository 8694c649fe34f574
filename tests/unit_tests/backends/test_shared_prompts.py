"""Tests of prompts that several turns have in common. They count the tokens at the model's input."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_spec_thinking import Agreement, ChatSpeculativeThinking, DelegationPolicy, pocket
from langchain_spec_thinking.backends.base import Request, Usage
from langchain_spec_thinking.backends.local.batched_forward import _PendingTurn
from langchain_spec_thinking.backends.local.shared_prompts import SharedPrompts
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_batched_forward import TURNS, Gathered, passes
from tests.unit_tests.backends.test_huggingface import continued, conversation_turn, counting, decoded, prefilled, turn

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from transformers import PreTrainedModel

    from langchain_spec_thinking import HuggingFaceBackend
    from langchain_spec_thinking.backends.local.kv_cache import TurnCache
    from langchain_spec_thinking.turn import Turn

LONG = "the cat sat on the mat " * 4


def fresh(make: Callable[[], PreTrainedModel] = tiny.llama) -> HuggingFaceBackend:
    """Return a backend with a copy of a model, so that no other test has left caches in it."""
    return tiny.backend(copy.deepcopy(make()))


def prompt_tokens(backend: HuggingFaceBackend, half: Turn) -> int:
    return len(backend._template.prompt_ids(half))  # noqa: SLF001 - there is no public access


def used(backend: HuggingFaceBackend, half: Turn, tokens: int = 3) -> Usage:
    """Continue a turn, and return its usage."""
    usage = Usage()
    for event in backend.continue_turn(half, Request(tokens, temperature=0)):
        usage = event.with_defaults_from(usage) if isinstance(event, Usage) else usage
    return usage


@pytest.mark.parametrize("samples", [2, 4])
def test_the_samples_of_a_turn_read_its_prompt_once(samples: int) -> None:
    small = pocket.speculative()
    rule = Agreement(samples=samples, compare=lambda *_: True)
    pair = ChatSpeculativeThinking.pocket(speculative=small, policy=DelegationPolicy.gated(escalation=rule), seed=1)
    question = f"{samples} readers ask this. {pocket.problems()[samples].question}"  # no other test begins so
    with counting([small._model._model]) as read:  # noqa: SLF001 - there is no public access
        report = pair.invoke(question).response_metadata["speculative_thinking"]
    usage = report["usage"]["speculative"]
    prompt = usage["prompt_tokens"] // samples
    assert usage["requests"] == samples
    assert prefilled(usage) == prompt + samples - 1  # each further sample reads the last token for its logits
    assert read[0] - prefilled(usage) in decoded(usage)


def test_turns_with_the_same_prompt_read_it_once() -> None:
    alone = fresh()
    expected, prompt = continued(alone, turn(LONG), max_tokens=9), prompt_tokens(alone, turn(LONG))
    backend = fresh()
    forward = Gathered(backend)
    halves = [turn(LONG) for _ in range(TURNS)]  # all are kept, and so are their caches
    with passes(backend._model._model, forward.gather) as read:  # noqa: SLF001
        assert forward.run_all_turns(lambda i: continued(backend, halves[i], max_tokens=9)) == [expected] * TURNS
    assert read[0] == prompt
    assert sum(read) == prompt + TURNS - 1 + 8 * TURNS


def test_a_turn_waits_for_another_turn_of_the_pass_that_reads_its_prompt() -> None:
    backend = fresh()
    model = backend._model  # noqa: SLF001
    halves = [turn(LONG), turn(LONG), turn("Yes. " * 20), turn(LONG)]
    caches = [model.turn_cache(half, backend._template) for half in halves]  # noqa: SLF001
    waiting = [_PendingTurn(cache, cache.missing()) for cache in caches]
    assert model._forward._select_batch(waiting[0], waiting) == [waiting[0], waiting[2]]  # noqa: SLF001
    assert model._forward._select_batch(waiting[1], waiting) == [waiting[1], waiting[2]]  # noqa: SLF001


def test_a_turn_that_comes_too_late_to_copy_its_prompt_joins_the_next_pass() -> None:
    backend = fresh()
    used(backend, first := turn(LONG))
    forward = backend._model._forward  # noqa: SLF001
    running, late = (
        _PendingTurn(cache, cache.missing())
        for cache in (backend._model.turn_cache(half, backend._template) for half in (first, turn(LONG)))  # noqa: SLF001
    )

    class Late(SharedPrompts):
        """The second turn begins to wait when the prompt of the first turn was looked at."""

        def copy_to(self, cache: TurnCache) -> bool:
            forward._waiting.append(late)  # noqa: SLF001
            return super().copy_to(cache)

    running.ids = running.ids or [1]
    forward._prompts, forward._waiting = Late(), [running]  # noqa: SLF001
    forward._run_pass(running)  # noqa: SLF001
    assert running.scores is not None
    assert late.scores is None
    assert forward._waiting == [late]  # noqa: SLF001


def test_a_turn_copies_the_prompt_of_a_turn_that_is_running_or_finished() -> None:
    backend = fresh()
    first, second, third = turn(LONG), turn(LONG), turn(LONG)
    running = backend.continue_turn(first, Request(20, temperature=0))
    events = [next(running) for _ in range(4)]
    assert any(isinstance(event, Usage) for event in events)
    prompt = prompt_tokens(backend, first)
    for half in (second, third):
        assert used(backend, half) == Usage(prompt, prompt - 1)
    running.close()


def test_a_common_beginning_is_copied_if_it_is_half_of_the_prompt() -> None:
    backend = fresh()
    first, near, far = turn(LONG), turn(LONG + "Yes."), turn("Yes. " + LONG)
    used(backend, first)
    assert (used(backend, near).cached_tokens or 0) >= prompt_tokens(backend, first) - 3
    assert not used(backend, far).cached_tokens
    assert continued(backend, near, max_tokens=20) == continued(fresh(), near, max_tokens=20)


def test_a_model_with_sliding_windows_reads_the_prompt_of_each_turn() -> None:
    backend = fresh(tiny.sliding)
    halves = [turn(LONG) for _ in range(3)]
    texts = [continued(backend, half, max_tokens=20) for half in halves]
    assert texts == [continued(fresh(tiny.sliding), turn(LONG), max_tokens=20)] * 3


def test_a_turn_reads_its_prompt_itself_if_there_is_no_memory_for_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = fresh()
    first, second = turn(LONG), turn(LONG)
    expected = continued(backend, first)
    argument = type(backend._model._argument)  # noqa: SLF001

    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(argument, "copy_of", fail)
    with counting([backend._model._model]) as read:  # noqa: SLF001
        assert continued(backend, second) == expected
    assert read[0] >= prompt_tokens(backend, second)


def test_a_cache_that_another_conversation_took_over_is_not_copied() -> None:
    backend = fresh()
    texts = [LONG + "It ate.", LONG + "It slept there."]
    left = turn(texts[0])
    used(backend, left)
    del left
    taken, third = turn(texts[1]), turn(texts[0])
    for half, text in ((taken, texts[1]), (third, texts[0])):
        assert continued(backend, half, max_tokens=20) == continued(fresh(), turn(text), max_tokens=20)


PROMPTS = st.lists(st.sampled_from(["the cat ", "sat on ", "the mat.\n\n"]), min_size=6, max_size=9).map("".join)


@given(st.lists(st.lists(PROMPTS, min_size=1, max_size=5), min_size=1, max_size=3))
@settings(max_examples=25)
def test_copies_change_no_text(rounds: list[list[str]]) -> None:
    backend, alone = fresh(), fresh()
    seen: dict[str, str] = {}
    for prompts in rounds:
        conversations = [conversation_turn(prompts[0][:9], "the mat", prompt) for prompt in prompts]
        start = threading.Barrier(len(prompts))

        def work(half: Turn, start: threading.Barrier = start) -> str:
            start.wait()
            return continued(backend, half, max_tokens=12)

        with ThreadPoolExecutor(len(prompts)) as pool:
            texts = list(pool.map(work, conversations))
        for half, text in zip(conversations, texts, strict=True):
            key = repr(half.history)
            if key not in seen:
                alone._model._forward._prompts._sources.clear()  # noqa: SLF001 - this backend copies nothing
                seen[key] = continued(alone, type(half)(half.history), max_tokens=12)
            assert text == seen[key]
