"""`batch_of_16` and `memory_per_local_turn`: many turns at the same time in one process."""

from __future__ import annotations

import gc
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import torch

from benchmarks.pocket.problems import problems
from benchmarks.speed.figures import Figure
from benchmarks.speed.pairs import ALWAYS, TAKEOVER, Pair
from benchmarks.speed.timing import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage, AIMessageChunk
    from tqdm import tqdm  # type: ignore[import-untyped]

TURNS = 16
REAL = ("smollm2-135m + qwen2.5-coder-0.5b", "smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct")
_SEED = 5
_POLICY = replace(ALWAYS, opening_tokens=TAKEOVER)
"""A policy under which both models take part in every turn, however short the turn is."""
_MEBIBYTE = 1 << 20
_MEMORY_TOKENS = 256


def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Measure the pocket pair and a pair of real models.

    The value of the figure is the value of the real pair if it is available.
    """
    turns = 2 if quick else TURNS
    plan = [(Pair.pocket(), 40 if quick else 400, 1 if quick else 3)]
    if not quick and (real := Pair.real(*REAL)):
        plan.append((real, 40, 2))
    figures = {}
    for pair, tokens, rounds in plan:
        bar.set_postfix_str(pair.name)
        figures[pair.name] = batch_gain(pair, turns, tokens, rounds, bar)
    name, figure = list(figures.items())[-1]
    details = {"pair": name, "pairs": {name: figure.as_dict() for name, figure in figures.items()}}
    return {
        "batch_of_16": replace(figure, details={**figure.details, **details}),
        "memory_per_local_turn": memory(Pair.shaped(quick=quick), turns, 24 if quick else _MEMORY_TOKENS),
    }


def batch_gain(pair: Pair, turns: int, tokens: int, rounds: int, bar: tqdm[None]) -> Figure:
    """Measure a pair with `turns` questions of `tokens` tokens each."""
    questions = [problem.text for problem in islice(problems(_SEED, "held_out"), turns)]
    gains = [_gain(pair, questions, tokens, bar) for _ in range(rounds)]
    return Figure.of(gains, target=">= 3", turns=turns, tokens=tokens)


def _gain(pair: Pair, questions: list[str], tokens: int, bar: tqdm[None]) -> float:
    """Return the tokens per second of all turns together, divided by those of one turn at a time."""
    chat = pair.chat(max_tokens=tokens, policy=_POLICY)
    chat.invoke(questions[-1])  # loads whatever is loaded at first use
    alone = _speed(chat.invoke(question) for question in questions[: max(1, len(questions) // 4)])
    bar.update()
    chat = pair.chat(max_tokens=tokens, policy=_POLICY)  # starts without cached turns
    at_once = _speed(chat.batch([*questions], {"max_concurrency": len(questions)}) for _ in range(1))
    bar.update()
    return at_once / alone


def _speed(work: Iterator[AIMessage] | Iterator[list[AIMessage]]) -> float:
    """Return tokens per second, without dropped tokens."""
    began, tokens = clock(), 0
    for done in work:
        for message in done if isinstance(done, list) else [done]:
            usage = message.usage_metadata
            tokens += usage["output_tokens"] if usage else 0
    return tokens / (clock() - began)


def memory(pair: Pair, turns: int, tokens: int) -> Figure:
    """Measure the memory of half-written turns. Each turn stops after `tokens` tokens."""
    chat = pair.chat(max_tokens=2 * tokens)
    half_written = [_read_first(chat.stream("Warm up."), 5)]
    samples = []
    for number in range(turns):
        before = _tensor_bytes()
        half_written.append(_read_first(chat.stream(f"Go on {number}."), tokens))
        samples.append((_tensor_bytes() - before) / _MEBIBYTE)
    return Figure.of(samples, unit="MiB", pair=pair.name, tokens=tokens)


def _read_first(chunks: Iterator[AIMessageChunk], tokens: int) -> Iterator[AIMessageChunk]:
    for _ in islice(chunks, tokens):
        pass
    return chunks


def _tensor_bytes() -> int:
    """Return the memory of all tensors, in bytes.

    The memory of the process says less: an allocation may reuse memory that the process has freed before.
    """
    gc.collect()
    storages = {}
    for item in gc.get_objects():
        if issubclass(type(item), torch.Tensor):
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
