"""Endless training batches: fresh problems with their loss mask, grouped by length so that little is padded."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from benchmarks.pocket.drills import ASKED, drill
from benchmarks.pocket.problems import TRAINING, Level, problems
from benchmarks.pocket.traces import Piece, thought, trace
from benchmarks.pocket.vocabularies import ASKING, END, SYSTEMS
from langchain_spec_thinking.policy.triggers.score import QUESTION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedTokenizerFast

    from benchmarks.pocket.problems import Problem
    from benchmarks.pocket.recipes import Recipe

IGNORED = -100
"""Label of a token that carries no loss."""
SYSTEM_SHARE, ASKING_SHARE, HISTORY_SHARE = 0.05, 0.05, 0.03
SCORE_SHARE = 0.04
"""How many examples ask for the score of a step."""
SCORED_SLIPS = 0.4
"""Chance of a step to slip where a step is scored."""
GOOD, BAD = " 9", " 0"


@dataclass(frozen=True)
class Batch:
    """Right-padded token ids and labels, both `[sequences, tokens]`."""

    ids: torch.Tensor
    labels: torch.Tensor


def prompt(problem: Problem, rng: random.Random | None = None, past: Problem | None = None) -> list[dict[str, str]]:
    """Messages that pose a problem; with `rng`, sometimes with a system message, an instruction or an earlier turn."""
    messages = [{"role": "user", "content": problem.text}]
    if rng is None:
        return messages
    if rng.random() < ASKING_SHARE:
        messages[0]["content"] += rng.choice(("\n", " ")) + ASKING
    if past is not None and rng.random() < HISTORY_SHARE:
        said = f"So {past.conclusion.format(c=past.answer)}: \\boxed{{{past.answer}}}"
        messages = [{"role": "user", "content": past.text}, {"role": "assistant", "content": said}, *messages]
    if rng.random() < SYSTEM_SHARE:
        messages = [{"role": "system", "content": rng.choice(SYSTEMS)}, *messages]
    return messages


def scored(problem: Problem, rng: random.Random) -> tuple[Piece, ...]:
    """The beginning of a turn, the question how good its last step is, and a digit, which alone carries loss."""
    pieces = thought(problem, rng, SCORED_SLIPS)[:-1]
    slips = [index for index, piece in enumerate(pieces) if not piece.taught]
    # What comes after a slip stands on it, so the first slip is the last that may be scored.
    last = slips[0] if slips and rng.random() < 0.7 else rng.randrange(slips[0] if slips else len(pieces))  # noqa: PLR2004
    digit = BAD if last in slips else GOOD
    begun = "".join(piece.text for piece in pieces[: last + 1]).rstrip()
    return (Piece(begun + QUESTION, taught=False), Piece(digit))


class Batches(IterableDataset[Batch]):
    """Batches without end for a `DataLoader`; each of its workers draws problems of its own."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: str, recipe: Recipe) -> None:
        self._tokenizer, self._seed, self._recipe = tokenizer, seed, recipe

    def __iter__(self) -> Iterator[Batch]:
        """Return the batches of this worker."""
        worker = get_worker_info()
        seed = f"{self._seed}-{worker.id if worker else 0}"
        recipe = self._recipe
        return batches(self._tokenizer, seed, recipe.tokens, recipe.pool, recipe.drills, recipe.level)


def loader(tokenizer: PreTrainedTokenizerFast, seed: str, recipe: Recipe, workers: int) -> DataLoader[Batch]:
    """Return the batches of a recipe, made by a number of processes beside the training."""
    return DataLoader(Batches(tokenizer, seed, recipe), batch_size=None, num_workers=workers)


def batches(
    tokenizer: PreTrainedTokenizerFast, seed: str, tokens: int, pool: int, drills: float = 0.0, level: Level = TRAINING
) -> Iterator[Batch]:
    """Batches of about `tokens` tokens each, without end; every problem is on the training side.

    Args:
        tokenizer: The model's own.
        seed: Of the problems and everything else that is drawn.
        tokens: Of a batch, padding included.
        pool: Examples that are drawn at a time and sorted by length.
        drills: Share of the examples that are bare sums.
        level: Of the problems.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    stream = problems(seed, "train", level)
    while True:
        examples = [_example(tokenizer, rng, stream, drills) for _ in range(pool)]
        examples.sort(key=lambda example: len(example[0]))
        groups, start = [], 0
        while start < len(examples):
            end = start + 1
            while end < len(examples) and len(examples[end][0]) * (end + 1 - start) <= tokens:
                end += 1
            groups.append(examples[start:end])
            start = end
        rng.shuffle(groups)
        for group in groups:
            yield _pad(group, tokenizer.pad_token_id)


def _example(
    tokenizer: PreTrainedTokenizerFast, rng: random.Random, stream: Iterator[Problem], drills: float
) -> tuple[list[int], list[int]]:
    if rng.random() < drills:
        return _encoded(tokenizer, [{"role": "user", "content": ASKED}], drill(rng))
    problem = next(stream)
    turn = scored(problem, rng) if rng.random() < SCORE_SHARE else trace(problem, rng)
    return _encoded(tokenizer, prompt(problem, rng, next(stream)), turn)


def _encoded(
    tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]], turn: tuple[Piece, ...]
) -> tuple[list[int], list[int]]:
    """Ids and labels of one conversation; only the taught pieces of the last turn carry loss."""
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    pieces = [Piece(str(asked), taught=False), *turn, Piece(END)]
    encoded = tokenizer("".join(piece.text for piece in pieces), return_offsets_mapping=True)
    ends, position = [], 0
    for piece in pieces:
        position += len(piece.text)
        ends.append(position)
    labels, current = [], 0
    for token, (start, _) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        while start >= ends[current]:
            current += 1
        labels.append(token if pieces[current].taught else IGNORED)
    return encoded["input_ids"], labels


def _pad(group: list[tuple[list[int], list[int]]], pad: int) -> Batch:
    width = max(len(ids) for ids, _ in group)
    ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in group])
    labels = torch.tensor([labels + [IGNORED] * (width - len(labels)) for _, labels in group])
    return Batch(ids, labels)
