"""The generation configuration of a local model applies as in `generate` of transformers."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_huggingface import continued, generated, turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

TOKENS = 40


@cache
def plain() -> list[int]:
    """Return the first tokens that the model writes without any setting."""
    return [int(token) for token in tiny.byte_tokenizer().encode(written(), add_special_tokens=False)]


@cache
def written() -> str:
    return generated(tiny.llama(4), "hi", TOKENS, do_sample=False)


GREEDY: dict[str, Callable[[], Any]] = {
    "suppress_tokens": lambda: plain()[:2],
    "begin_suppress_tokens": lambda: plain()[:1],
    "bad_words_ids": lambda: [plain()[2:4], plain()[5:6]],
    "sequence_bias": lambda: [[plain()[1:2], -30.0]],
    "no_repeat_ngram_size": lambda: 1,
    "repetition_penalty": lambda: 3.0,
    "min_new_tokens": lambda: 25,
}
SAMPLED: dict[str, float] = {"min_p": 0.5, "typical_p": 0.2, "top_k": 2, "top_p": 0.2, "epsilon_cutoff": 0.2}


def configured(setting: str, value: object) -> PreTrainedModel:
    """Return a model with a setting. A token that it writes soon ends its text, because some settings forbid ends."""
    model = copy.deepcopy(tiny.llama(4))
    if setting == "min_new_tokens":
        model.generation_config.eos_token_id = [3, plain()[1]]
    setattr(model.generation_config, setting, value)
    return model


def expected_of(model: PreTrainedModel) -> str:
    """Return the greedy text of `generate`, without the token that ends it."""
    text, ends = generated(model, "hi", TOKENS, do_sample=False), model.generation_config.eos_token_id
    last = str(tiny.byte_tokenizer().decode(ends[1:])) if isinstance(ends, list) else ""
    return text.removesuffix(last)


@pytest.mark.parametrize("setting", GREEDY)
def test_greedy_text_equals_that_of_generate(setting: str) -> None:
    model = configured(setting, GREEDY[setting]())
    expected = expected_of(model)
    assert expected != expected_of(configured(setting, None))  # the setting changes the text
    assert continued(tiny.backend(model), turn()) == expected


@pytest.mark.parametrize("setting", GREEDY)
@pytest.mark.parametrize("first", [1, 7])
def test_a_continued_turn_does_not_begin_anew(setting: str, first: int) -> None:
    model = configured(setting, GREEDY[setting]())
    backend, running = tiny.backend(model), turn()
    running.append("speculative", continued(backend, running, max_tokens=first))
    rest = continued(backend, running, max_tokens=TOKENS - first)
    assert running.answer + rest == expected_of(model)


@pytest.mark.parametrize("setting", SAMPLED)
def test_sampled_text_equals_that_of_generate(setting: str) -> None:
    model = configured(setting, SAMPLED[setting])
    ours = continued(tiny.backend(model), turn(), temperature=1.3, seed=5)
    torch.manual_seed(5)
    limits = {"top_k": 0} | {setting: SAMPLED[setting]}
    assert ours == generated(model, "hi", TOKENS, do_sample=True, temperature=1.3, **limits)
    assert ours != continued(tiny.backend(configured(setting, None)), turn(), temperature=1.3, seed=5)


@pytest.mark.parametrize("setting", GREEDY)
def test_takeovers_drafts_and_shared_passes_do_not_change_the_text(setting: str) -> None:
    model = configured(setting, GREEDY[setting]())
    expected = expected_of(model)
    policy = DelegationPolicy(boundary="\n", takeover_tokens=3, takeover_every_boundary=True)
    backend, same = tiny.backend(model), tiny.backend(model)
    pair = ChatSpeculativeThinking(speculative=same, target=backend, policy=policy, temperature=0, max_tokens=TOKENS)
    with ThreadPoolExecutor(3) as threads:
        alone = [threads.submit(continued, backend, turn()) for _ in range(2)]
        together = threads.submit(pair.invoke, "hi")
        assert [text.result() for text in alone] == [expected, expected]
        assert together.result().text == expected
