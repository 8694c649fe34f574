"""The figures about the doubt of the pocket pair: which written steps are wrong, and the figures made of them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks.pocket.doubt import (
    Prediction,
    Row,
    Written,
    area,
    difficulty_rows,
    first_digit,
    sample_rows,
    score_rows,
    scored,
    step_rows,
    table,
    to_score,
)
from benchmarks.pocket.problems import Problem, Result, Step
from benchmarks.pocket.written_steps import WrittenStep, written_steps
from langchain_spec_thinking.evaluation.statistics import Interval

PROBLEM = Problem("27, 15 more, 2 fewer?", "", (Step(27, "+", 15, ""), Step(Result(0), "-", 2, "")), "", 40)
RIGHT = WrittenStep(wrong=False, follows="paragraph", end=0)
WRONG = WrittenStep(wrong=True, follows="paragraph", end=0)
DOUBTED = WrittenStep(wrong=True, follows="check", end=0)
LAST = WrittenStep(wrong=False, follows="end", end=0)


def output(*paragraphs: str) -> str:
    return "\n\n".join(paragraphs) + "\n</think>\n\nSo 40: \\boxed{40}"


@pytest.mark.parametrize(
    ("paragraphs", "expected"),
    [
        (["Okay.", "A: 27 + 15 = 42.", "B: 42 - 2 = 40."], [(False, "paragraph"), (False, "end")]),
        (["A: 27 + 15 = 42.", "Wait, 27 + 15 = 42. Good.", "B: 42 - 2 = 40."], [(False, "check"), (False, "end")]),
        (["A: 27 + 15 = 32.", "B: 32 - 2 = 30."], [(True, "paragraph")]),
        (["A: 27 + 15 = 32.", "Wait, 27 + 15 = 42, not 32.", "B: 42 - 2 = 40."], [(True, "check"), (False, "end")]),
        (["A: 27 + 15 = 32.", "Yes, 27 + 15 = 32. Good.", "B: 32 - 2 = 30."], [(True, "check")]),
        (["A: 27 + 15 = 42.", "B: 42 - 3 = 39."], [(False, "paragraph"), (True, "end")]),
        (["A: 27 - 15 = 12.", "B: 12 - 2 = 10."], [(True, "paragraph")]),
        (["A: 27 + 15 = 42.", "B: 42 - 2 = 40.", "C: 40 - 2 = 38."], [*[(False, "paragraph")] * 2, (True, "end")]),
        (["A: 27 + 15 = 42.", "B: 42 - 2 = 40.", "Let me verify: 27 + 15 = 42."], [(False, "paragraph")] * 2),
        (["Okay."], []),
        (["A: 27 + 15 = 42.", ""], [(False, "end")]),
    ],
    ids=[
        "right steps",
        "a check of a right step is no step",
        "the steps after a wrong result do not count",
        "a corrected step is wrong, and the steps after it count",
        "a check that agrees corrects nothing",
        "a misread number is wrong",
        "another operation is wrong",
        "a step too many is wrong",
        "a recap is no step and no check",
        "no steps",
        "an output that was cut after a step",
    ],
)
def test_steps_are_compared_with_the_problem(paragraphs: list[str], expected: list[tuple[bool, str]]) -> None:
    found = written_steps(PROBLEM, output(*paragraphs))
    assert [(step.wrong, step.follows) for step in found] == expected


def test_a_step_ends_where_its_paragraph_ends() -> None:
    text = output("Okay.", "A: 27 + 15 = 42.", "B: 42 - 2 = 40.")
    assert [text[: step.end].rpartition("\n\n")[2] for step in written_steps(PROBLEM, text)] == [
        "A: 27 + 15 = 42.",
        "B: 42 - 2 = 40.",
    ]


@pytest.mark.parametrize(
    ("wrong", "right", "expected"),
    [([3, 4], [1, 2], 1.0), ([1], [2, 3], 0.0), ([1, 1], [1], 0.5), ([2], [1, 3, 2, 0], 0.625)],
    ids=["higher values are wrong steps", "lower values are wrong steps", "equal values are chance", "mixed"],
)
def test_the_area_is_the_share_of_ordered_pairs(wrong: list[float], right: list[float], expected: float) -> None:
    predictions = [Prediction(x, wrong=True) for x in wrong] + [Prediction(x, wrong=False) for x in right]
    assert area([predictions, []]).value == expected


def test_the_interval_of_an_area_contains_the_area() -> None:
    questions = [[Prediction(x % 5, wrong=False), Prediction(x % 7, wrong=True)] for x in range(20)]
    found = area(questions)
    assert 0 < found.low < found.value < found.high < 1


def test_shares_of_wrong_steps_are_grouped_by_what_follows() -> None:
    written = [
        Written(PROBLEM, "", (RIGHT, WRONG)),
        Written(PROBLEM, "", (RIGHT, RIGHT, DOUBTED)),
        Written(PROBLEM, "", (LAST,)),
    ]
    assert [row.cases for row in step_rows(written)] == ["1/1", "1/4", "0/1"]


def test_the_thirds_are_ordered_by_difficulty() -> None:
    problems = [Problem("", "", PROBLEM.steps, "", 40, distractors) for distractors in (5, 0, 3, 1, 4, 2)]
    written = [Written(one, f"\\boxed{{{40 if one.distractors < 2 else 41}}}", ()) for one in problems]
    easiest, hardest = difficulty_rows(written)
    assert (easiest.name, easiest.cases) == ("right in the easiest third, difficulty 3 to 4", "2/2")
    assert (hardest.name, hardest.cases) == ("right in the hardest third, difficulty 7 to 8", "0/2")


def test_samples_are_compared_by_their_answers() -> None:
    right, wrong = "a \\boxed{40}", "b \\boxed{41}"
    different, share = sample_rows([PROBLEM, PROBLEM], [[right, "c \\boxed{40}"], [wrong, "none"]])
    assert (different.found.value, share.cases) == (1.5, "2/4")


def test_all_wrong_steps_and_as_many_right_steps_are_scored() -> None:
    drawn = to_score([Written(PROBLEM, "", (RIGHT,) * 9), Written(PROBLEM, "", (RIGHT, WRONG, DOUBTED))])
    chosen = [step for steps in drawn for step in steps]
    assert len(chosen) == 4
    assert [step for step in chosen if step.wrong] == [WRONG, DOUBTED]
    assert DOUBTED in drawn[1]


@pytest.mark.parametrize(("reply", "expected"), [(" 0", 0), (" 7/10", 7), ("good", 9)])
def test_the_first_digit_is_the_score(reply: str, expected: int) -> None:
    assert first_digit(reply) == expected


def test_each_step_gets_its_own_answer() -> None:
    found = scored([[RIGHT, WRONG], [], [DOUBTED]], iter([" 9", " 0", " 3"]))
    assert found == [[Prediction(-9, wrong=False), Prediction(0, wrong=True)], [], [Prediction(-3, wrong=True)]]


def test_low_digits_predict_wrong_steps() -> None:
    predictions = [[Prediction(0, wrong=True), Prediction(-9, wrong=False)], [Prediction(-7, wrong=True)]]
    low, wrong, right = score_rows(predictions)
    assert low.found.value == 1
    assert (wrong.cases, right.cases) == ("1/2", "0/1")  # the default threshold accepts a 7


def test_the_table_shows_value_and_interval() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(table([Row("right samples", Interval(0.5, 0.25, 0.75), ".1%", "4/8")]))
    assert isinstance(console.file, io.StringIO)
    line = console.file.getvalue().splitlines()[-2]
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["right samples", "50.0%", "25.0% to 75.0%", "4/8"]
