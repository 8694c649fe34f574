"""The pocket pair's tokenizers and chat template: nothing is lost, tags survive, prompts look as the models expect."""

from __future__ import annotations

import random
import re
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from benchmarks.pocket.batches import IGNORED, batches, prompt
from benchmarks.pocket.problems import problems, split
from benchmarks.pocket.traces import trace
from benchmarks.pocket.vocabularies import END, PAD, ROLES, vocabulary
from langchain_spec_thinking.policy.triggers.score import QUESTION

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


TEXTS = 2_000
"""Enough problems for the byte pairs of common words."""


@pytest.fixture(scope="module")
def both() -> dict[str, PreTrainedTokenizerFast]:
    return {"small": vocabulary("small", TEXTS), "large": vocabulary("large", TEXTS)}


@pytest.fixture(scope="module", params=["small", "large"])
def tokenizer(request: pytest.FixtureRequest, both: dict[str, PreTrainedTokenizerFast]) -> PreTrainedTokenizerFast:
    return both[request.param]


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


def test_a_blank_line_is_one_token_and_digits_stay_single(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer("\n\n")["input_ids"]) == 1
    assert [str(tokenizer.decode([token])).strip() for token in tokenizer("= 407")["input_ids"]] == ["=", "4", "0", "7"]


def test_only_the_last_turn_carries_loss(tokenizer: PreTrainedTokenizerFast) -> None:
    batch = next(batches(tokenizer, "0", 2048, pool=64))
    for ids, labels in zip(batch.ids.tolist(), batch.labels.tolist(), strict=True):
        first = next(index for index, label in enumerate(labels) if label != IGNORED)
        begun = str(tokenizer.decode(ids[:first]))
        assert begun.endswith(("<|assistant|><think>\n", QUESTION))
        assert begun.count("<think>") == 1
        assert all(label in {IGNORED, token} for token, label in zip(ids, labels, strict=True))
        assert tokenizer.eos_token_id in labels


def test_every_problem_of_a_batch_is_on_the_training_side(both: dict[str, PreTrainedTokenizerFast]) -> None:
    """The earlier turns of a conversation are too."""
    asked = []
    for batch in islice(batches(both["large"], "0", 8192, pool=256), 4):
        for ids in batch.ids.tolist():
            asked += re.findall(r"<\|user\|>(.*?)<\|end\|>", str(both["large"].decode(ids)), re.DOTALL)
    assert len(asked) > 50
    assert {split(question) for question in asked} == {"train"}


def test_the_two_vocabularies_number_their_tokens_differently(both: dict[str, PreTrainedTokenizerFast]) -> None:
    small, large = (tokenizer.get_vocab() for tokenizer in both.values())
    common = small.keys() & large.keys()
    assert len(small) != len(large)
    assert sum(small[token] != large[token] for token in common) > len(common) / 2


def test_the_same_text_costs_both_about_as_many_tokens(both: dict[str, PreTrainedTokenizerFast]) -> None:
    """Vocabularies of so few problems lack some names. `test_pocket.py` checks each text with those in the package."""
    rng = random.Random(0)  # noqa: S311 - repeatable, not secret
    chosen = islice(problems(0, "held_out"), 200)
    text = "\n\n".join(problem.text + "".join(piece.text for piece in trace(problem, rng)) for problem in chosen)
    small, large = (len(tokenizer(text)["input_ids"]) for tokenizer in both.values())
    assert 0.9 < small / large < 1.1
