"""The benchmark of the pocket pair: its problems as a data set, and the command of `make bench-pocket`."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from benchmarks.pocket import data_set
from benchmarks.pocket.problems import HARDER, QUESTIONS, Level, problems
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.evaluation import load_questions
from langchain_spec_thinking.evaluation.policy_lines import parse_policy

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("options", "level", "instruction"),
    [([], QUESTIONS, ""), (["--harder"], HARDER, data_set.INSTRUCTION)],
    ids=["pocket", "harder"],
)
def test_problems_are_written_as_a_data_set(tmp_path: Path, options: list[str], level: Level, instruction: str) -> None:
    data_set.main([str(tmp_path / "deep" / "p.jsonl"), "--count", "3", "--seed", "3", *options])
    expected = [
        (problem.text + instruction, str(problem.answer)) for problem in islice(problems(3, "held_out", level), 3)
    ]
    assert [(q.question, q.answer) for q in load_questions(str(tmp_path / "deep" / "p.jsonl"))] == expected


def options_of_evaluate(file: str, after: str) -> list[str]:
    """Return the options of the first `spec-thinking evaluate` after some text, without the paths."""
    text = (ROOT / file).read_text(encoding="utf-8").partition(after)[2].replace("\\\n", " ")
    line = re.search(r"spec-thinking evaluate (.*)", text)
    assert line
    return re.sub(r"--(data|out) \S+", "", line[1]).split()


def test_the_results_page_shows_the_command_of_make_bench_pocket() -> None:
    made = options_of_evaluate("Makefile", "\nbench-pocket:")
    assert made == options_of_evaluate("docs/results.md", "`make bench-pocket`")


def test_the_command_of_make_bench_pocket_is_valid() -> None:
    command: Any = get_command(app)
    made = options_of_evaluate("Makefile", "\nbench-pocket:")
    options = command.commands["evaluate"].make_context("evaluate", made).params
    policies = dict(parse_policy(line) for line in options["policy"])
    assert list(policies) == ["pair", "nonreasoning", "entropy", "random"]
