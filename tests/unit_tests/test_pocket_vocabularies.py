"""The pocket pair's tokenizers and chat template: nothing is lost, tags survive, prompts look as the models expect."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from benchmarks.pocket.batches import IGNORED, batches, prompt
from benchmarks.pocket.problems import problems
from benchmarks.pocket.traces import trace
from benchmarks.pocket.vocabularies import END, PAD, ROLES, vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


PROBLEMS = 500
"""Enough text for the byte pairs of common words."""


@pytest.fixture(scope="module", params=["characters", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return vocabulary(request.param, problems=PROBLEMS)


def rendered(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))


def test_any_text_survives(tokenizer: PreTrainedTokenizerFast) -> None:
    problem = next(problems(0, "held_out"))
    text = problem.text + "".join(piece.text for piece in trace(problem, random.Random(0)))  # noqa: S311
    for sample in (text, "naïve café ☕ 你好\n\n\n  x", "  leading"):
        assert tokenizer.decode(tokenizer(sample)["input_ids"]) == sample


def test_think_tags_are_one_token_each_and_not_special(tokenizer: PreTrainedTokenizerFast) -> None:
    for tag in ("<think>", "</think>"):
        ids = tokenizer(tag)["input_ids"]
        assert len(ids) == 1
        assert tokenizer.decode(ids, skip_special_tokens=True) == tag


def test_roles_and_end_are_special(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("".join((PAD, END, *ROLES)))["input_ids"]
    assert len(ids) == 5
    assert tokenizer.decode(ids, skip_special_tokens=True) == ""
    assert tokenizer.eos_token == END


def test_generation_prompt_opens_the_thinking(tokenizer: PreTrainedTokenizerFast) -> None:
    assert rendered(tokenizer, prompt(next(problems(0, "train")))).endswith("<|end|><|assistant|><think>\n")


def test_history_keeps_answers_and_drops_thinking(tokenizer: PreTrainedTokenizerFast) -> None:
    text = rendered(
        tokenizer,
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "<think>\nhm\n</think>\n\n1"},
            {"role": "user", "content": "Two?"},
        ],
    )
    assert text == (
        "<|system|>Be brief.<|end|><|user|>One?<|end|><|assistant|>1<|end|><|user|>Two?<|end|><|assistant|><think>\n"
    )


def test_only_the_last_turn_carries_loss(tokenizer: PreTrainedTokenizerFast) -> None:
    batch = next(batches(tokenizer, 0, 2048))
    for ids, labels in zip(batch.ids.tolist(), batch.labels.tolist(), strict=True):
        first = next(index for index, label in enumerate(labels) if label != IGNORED)
        assert str(tokenizer.decode(ids[:first])).endswith("<|assistant|><think>\n")
        assert all(label in {IGNORED, token} for token, label in zip(ids, labels, strict=True))
        assert tokenizer.eos_token_id in labels


def test_the_two_vocabularies_differ() -> None:
    small, large = vocabulary("characters"), vocabulary("bpe", problems=PROBLEMS)
    assert len(small("hold on")["input_ids"]) == len("hold on")
    assert len(large("hold on")["input_ids"]) < len("hold on")
