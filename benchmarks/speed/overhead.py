"""`overhead_vs_ideal`: a delegated run, compared with the passes that its tokens need at least."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.speed.figures import Figure
from benchmarks.speed.pairs import Pair
from benchmarks.speed.recording import Recording, replay
from benchmarks.speed.timing import clock
from langchain_spec_thinking import pocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tqdm import tqdm  # type: ignore[import-untyped]

    from benchmarks.speed.recording import Pass

TARGET = "<= 1.03"
QWEN = ("qwen2.5-coder 0.5B + 1.5B", "qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct")
_QUESTION = "Explain how a hash table works, what it costs, and when to use a tree instead."


def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Measure every available pair.

    The value of the figure is the value of the largest pair. The details list the others.
    """
    figures = {}
    for pair, questions, tokens, rounds in _plan(quick=quick):
        bar.set_postfix_str(pair.name)
        figures[pair.name] = overhead(pair, questions, tokens, rounds, bar)
    name, figure = list(figures.items())[-1]
    details = {"pair": name, "pairs": {name: figure.as_dict() for name, figure in figures.items()}}
    if not quick and name != QWEN[0]:
        details["absent"] = f"{QWEN[0]}: not in the folder of models"
    return {"overhead_vs_ideal": replace(figure, details={**figure.details, **details})}


def _plan(*, quick: bool) -> Iterator[tuple[Pair, list[str], int, int]]:
    """Yield pairs with their questions, tokens per turn, and rounds. The largest pair is the last."""
    questions = [problem.question for problem in pocket.problems()]
    if quick:
        yield Pair.pocket(), questions[:1], 60, 1
        return
    yield Pair.pocket(), questions[:4], 600, 2
    yield Pair.shaped(quick=False), ["Go on."], 300, 4
    if qwen := Pair.paced(*QWEN):
        yield qwen, [_QUESTION], 80, 3


def overhead(pair: Pair, questions: list[str], tokens: int, rounds: int, bar: tqdm[None]) -> Figure:
    """Time runs, the passes that they made, and the passes that they needed, alternately, `rounds` times per question.

    In the details, `by_code` is a run / all passes that it made, and `by_dropped_text` is all passes / the needed
    passes.
    """
    kept, made, lost, cpu, code, passes_lost = [], [], [], [], [], []
    for question in questions:
        turn = Recording.of(pair.chat(max_tokens=tokens), pair.models, question)
        passes_lost.append(1 - len(turn.needed) / len(turn.passes))
        for number in range(rounds):
            chat = pair.chat(max_tokens=tokens)
            works: dict[str, Callable[[], object]] = {
                "run": partial(chat.invoke, question),
                "made": partial(_replay, pair, turn.passes),
                "needed": partial(_replay, pair, turn.needed),
            }
            order = list(works) if number % 2 else list(works)[::-1]
            seconds = {name: _seconds(works[name]) for name in order}
            kept.append(seconds["run"][0] / seconds["needed"][0])
            made.append(seconds["run"][0] / seconds["made"][0])
            lost.append(seconds["made"][0] / seconds["needed"][0])
            cpu.append(seconds["run"][1] / seconds["needed"][1])
            code.append((seconds["run"][1] - seconds["made"][1]) / len(turn.passes))
            bar.update()
    return Figure.of(
        kept,
        target=TARGET,
        by_code=median(made),
        by_dropped_text=median(lost),
        passes_lost=median(passes_lost),
        cpu_time=Figure.of(cpu).as_dict(),  # more reliable than wall time on a busy machine
        code_us_per_pass=1e6 * median(code),
    )


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall time and the CPU time of all threads, in seconds."""
    began = clock(), time.process_time()
    work()
    return clock() - began[0], time.process_time() - began[1]


def _replay(pair: Pair, passes: Sequence[Pass]) -> None:
    for _ in replay(pair.models, passes):
        pass
