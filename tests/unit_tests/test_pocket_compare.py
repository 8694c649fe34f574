"""How the comparison computes its figures from the outcomes of the runs."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from benchmarks.pocket import data_set
from benchmarks.pocket.compare import draw, report, show
from benchmarks.pocket.problems import HARDER, POCKET, Level, Problem, problems
from benchmarks.pocket.runs import Outcome, Pair, Result, Workers
from langchain_spec_thinking.evaluation import load_questions

if TYPE_CHECKING:
    from pathlib import Path


def result(right: str, *, target: int = 0) -> Result:
    """Return a run that solved the problems marked with a star."""
    return Result(tuple(Outcome(mark == "*", 10, target) for mark in right), seconds=2.0)


RESULTS = {
    "small": result("**......"),
    "large": result("********", target=10),
    "pair": result("****.*..", target=2),
    "pair_non_reasoning": result("*****...", target=4),
    "random": result("***.....", target=2),
}


def test_figures_are_computed_from_the_outcomes() -> None:
    found = report(RESULTS)
    assert found["n"] == 8
    assert set(found["runs"]) == set(RESULTS)
    small, both = found["runs"]["small"], found["runs"]["pair"]
    assert (small["accuracy"], small["tokens"], small["tokens_per_second"], small["target_share"]) == (0.25, 10, 40, 0)
    assert both["target_share"] == 0.2
    assert found["runs"]["large"]["target_share"] == 1
    assert small["ci95"] == pytest.approx([0.0715, 0.5907], abs=1e-3)
    assert found["gap_recovered"] == pytest.approx(0.5)
    json.dumps(found)


def test_the_figures_are_shown_and_drawn(tmp_path: Path) -> None:
    found = report(RESULTS)
    console = Console(file=StringIO(), width=120)
    show(found, console)
    draw(found, tmp_path / "pocket.png")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "recovers 50% of the gap" in shown
    assert "25.0%" in shown
    assert (tmp_path / "pocket.png").read_bytes().startswith(b"\x89PNG")


class Instant(Pair):
    """Solves no problem, and returns an outcome at once."""

    def solve(self, number: int, problem: Problem) -> Outcome:
        return Outcome(problem.answer % 2 == 0, 10 + number, number)


def test_workers_keep_the_order_and_report_progress() -> None:
    chosen = list(islice(problems(3, "held_out"), 5))
    progress: list[int] = []
    with closing(Workers(2, lambda begin: ThreadPoolExecutor(2, initializer=begin))) as workers:
        both = workers.run(Instant(), chosen, progress.append)
    assert both.outcomes == tuple(Instant().solve(number, problem) for number, problem in enumerate(chosen))
    assert progress == sorted(progress)
    assert progress[-1] == len(chosen)


def test_pairs_can_be_pickled() -> None:
    for pair in (Pair(), Pair.alone("small")):
        assert pickle.loads(pickle.dumps(pair)) == pair  # noqa: S301 - data of this test


def test_a_pair_shares_its_tokens_and_a_model_alone_does_not() -> None:
    (problem,) = islice(problems(3, "held_out"), 1)
    both, small = (pair.solve(0, problem) for pair in (Pair(), Pair.alone("small")))
    assert 0 < both.target_tokens < both.tokens
    assert small.target_tokens == 0


@pytest.mark.parametrize(
    ("options", "level", "instruction"),
    [([], POCKET, ""), (["--harder"], HARDER, data_set.INSTRUCTION)],
    ids=["pocket", "harder"],
)
def test_problems_are_written_as_a_data_set(tmp_path: Path, options: list[str], level: Level, instruction: str) -> None:
    data_set.main([str(tmp_path / "deep" / "p.jsonl"), "--count", "3", "--seed", "3", *options])
    expected = [
        (problem.text + instruction, str(problem.answer)) for problem in islice(problems(3, "held_out", level), 3)
    ]
    assert [(q.question, q.answer) for q in load_questions(str(tmp_path / "deep" / "p.jsonl"))] == expected
