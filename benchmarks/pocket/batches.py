"""Endless training batches: fresh problems with their loss mask, grouped by length so that little is padded."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from benchmarks.pocket.drills import ASKED, drill
from benchmarks.pocket.problems import problems
from benchmarks.pocket.traces import Piece, trace
from benchmarks.pocket.vocabularies import END

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedTokenizerFast

    from benchmarks.pocket.problems import Problem

IGNORED = -100
"""Label of a token that carries no loss."""
POOL = 1024
"""Examples drawn at a time and sorted by length."""
ASKING = "Please reason step by step, and put your final answer within \\boxed{}."
SYSTEMS = ("You are a helpful assistant.", "You solve word problems.", "Answer briefly.", ASKING)
SYSTEM_SHARE, ASKING_SHARE, HISTORY_SHARE = 0.08, 0.08, 0.03


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


def batches(tokenizer: PreTrainedTokenizerFast, seed: int, tokens: int, drills: float = 0.0) -> Iterator[Batch]:
    """Batches of about `tokens` tokens each, without end; every problem is on the training side.

    Args:
        tokenizer: The model's own.
        seed: Of the problems and everything else that is drawn.
        tokens: Of a batch, padding included.
        drills: Share of the examples that are bare sums.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    stream = problems(seed, "train")
    while True:
        pool = []
        for _ in range(POOL):
            if rng.random() < drills:
                pool.append(_encoded(tokenizer, [{"role": "user", "content": ASKED}], drill(rng)))
            else:
                problem = next(stream)
                pool.append(_encoded(tokenizer, prompt(problem, rng, next(stream)), trace(problem, rng)))
        pool.sort(key=lambda example: len(example[0]))
        groups, start = [], 0
        while start < len(pool):
            end = start + 1
            while end < len(pool) and len(pool[end][0]) * (end + 1 - start) <= tokens:
                end += 1
            groups.append(pool[start:end])
            start = end
        rng.shuffle(groups)
        for group in groups:
            yield _pad(group, tokenizer.pad_token_id)


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
