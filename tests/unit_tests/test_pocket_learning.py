"""The training of the pocket pair: it ends, it continues after an interruption, and it uses the recipe."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks.pocket import learning
from benchmarks.pocket.batches import loader
from benchmarks.pocket.learning import Learner
from benchmarks.pocket.recipes import RECIPES, Recipe, blank
from benchmarks.pocket.vocabularies import vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

TINY = Recipe("pocket-small", "small", 16, 1, 2, 32, steps=6, tokens=600, drills=0.1, warmup=1, pool=64)


def ignore(_model: object, _progress: object) -> None:
    """Take a checkpoint and do nothing."""


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return vocabulary("small", texts=500)


def test_training_ends_and_leaves_a_checkpoint(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    learner = Learner(TINY, tokenizer, tmp_path)
    progress = learner.learn(ignore)
    learner.save()
    assert (progress.steps, progress.done) == (6, 1)
    assert progress.tokens > 6 * 300
    assert (tmp_path / learning.STATE).exists()


def test_an_interrupted_training_continues_where_it_stopped(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "SAVE_EVERY", -1.0)

    class StopEarlyError(Exception):
        pass

    def interrupt(_model: object, progress: learning.Progress) -> None:
        if progress.steps == 4:
            raise StopEarlyError

    first = Learner(TINY, tokenizer, tmp_path)
    with pytest.raises(StopEarlyError):
        first.learn(interrupt)
    second = Learner(TINY, tokenizer, tmp_path)
    assert second.progress == first.progress
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert second.learn(ignore).steps == 6


def test_a_longer_recipe_continues_a_training_that_had_ended(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    first = Learner(TINY, tokenizer, tmp_path)
    first.learn(ignore)
    first.save()
    second = Learner(replace(TINY, steps=8), tokenizer, tmp_path)
    assert second.learn(ignore).steps == 8


def test_the_time_limit_shortens_the_schedule(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    learner = Learner(replace(TINY, minutes=0.0001, steps=1000), tokenizer, tmp_path)
    assert learner.learn(ignore).steps < 10


def test_each_worker_draws_other_problems(tokenizer: PreTrainedTokenizerFast) -> None:
    first, second = islice(loader(tokenizer, "0", TINY, 2), 2)
    assert first.ids.tolist() != second.ids.tolist()


def test_the_large_model_costs_at_least_five_times_as_much(tokenizer: PreTrainedTokenizerFast) -> None:
    small, large = (blank(RECIPES[name], tokenizer) for name in ("pocket-small", "pocket-large"))
    assert large.num_parameters() > 5 * small.num_parameters()
    assert large.config.num_hidden_layers >= 8 * small.config.num_hidden_layers
