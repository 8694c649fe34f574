"""The pocket pair's problems: repeatable, right, in plain English, and fenced off from training."""

from __future__ import annotations

import random
import re
from itertools import islice
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.pocket.lexicon import BOYS, GIRLS, IRREGULAR, PERSON, plural
from benchmarks.pocket.problems import (
    FEW_CARRIES,
    HARDER,
    HELD_OUT_SHARE,
    LEAST,
    QUESTIONS,
    TRAINING,
    Level,
    Problem,
    Result,
    Sign,
    Sum,
    compute,
    hard,
    problems,
    split,
)
from benchmarks.pocket.stories import Story

LEVELS = pytest.mark.parametrize(
    "level",
    [TRAINING, FEW_CARRIES, QUESTIONS, HARDER],
    ids=["training", "few carries", "questions", "harder"],
)


def some(seed: int, count: int, level: Level = TRAINING) -> list[Problem]:
    return list(islice(problems(seed, "train", level), count))


def test_a_seed_always_gives_the_same_problems() -> None:
    assert some(3, 300) == some(3, 300)


def test_seeds_and_sides_give_different_problems() -> None:
    first = {problem.text for problem in some(0, 300)}
    assert len(first & {problem.text for problem in some(1, 300)}) < 3
    assert not first & {problem.text for problem in islice(problems(0, "held_out"), 300)}


def test_training_and_held_out_share_no_text_and_no_number_sequence() -> None:
    train = [problem.text for problem in some(0, 10_000)]
    held_out = [problem.text for problem in islice(problems(0, "held_out"), 1_000)]
    assert {split(text) for text in train} == {"train"}
    assert {split(text) for text in held_out} == {"held_out"}
    assert not set(train) & set(held_out)
    assert not {tuple(re.findall(r"\d+", text)) for text in train} & {
        tuple(re.findall(r"\d+", text)) for text in held_out
    }


def test_split_looks_at_numbers_alone() -> None:
    assert split("Mia has 12 pens and 7 cups.") == split("12 hens, 7 goats")


def test_about_the_stated_share_is_held_out() -> None:
    sides = [split(f"{left} and {right}") for left in range(100) for right in range(100)]
    assert sides.count("held_out") / len(sides) == pytest.approx(HELD_OUT_SHARE, abs=0.02)


@LEVELS
def test_answers_are_right_by_independent_computation(level: Level) -> None:
    counts = set()
    for problem in islice(problems(1, "held_out", level), 1_500):
        results: list[float] = []
        for step in problem.steps:
            left, right = (results[x.step] if isinstance(x, Result) else x for x in (step.left, step.right))
            results.append(
                {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else -1}[step.sign]
            )
        assert problem.answer == results[-1]
        assert all(LEAST <= result <= level.largest and result == int(result) for result in results)
        counts.add(len(results))
    assert counts == set(level.steps)


@LEVELS
def test_every_number_used_stands_in_the_text_or_is_said_in_words(level: Level) -> None:
    words = {2: r"[Dd]oubles|[Hh]alf|as many|twice", 3: r"third", 4: r"quarter"}
    for problem in some(2, 1_500, level):
        said = {int(number) for number in re.findall(r"\d+", problem.text)}
        said |= {number for number, pattern in words.items() if re.search(pattern, problem.text)}
        used = {x for step in problem.steps for x in (step.left, step.right) if not isinstance(x, Result)}
        assert used <= said


def test_difficulty_counts_steps_hard_sums_and_distractors() -> None:
    by_steps: dict[int, list[int]] = {}
    for problem in some(4, 2_000):
        assert problem.difficulty == (
            len(problem.steps) + len([done for done in problem.sums() if hard(done)]) + problem.distractors
        )
        by_steps.setdefault(len(problem.steps), []).append(problem.difficulty)
    means = [mean(by_steps[steps]) for steps in sorted(by_steps)]
    assert sorted(by_steps) == list(range(1, 9))
    assert means == sorted(means)


@pytest.mark.parametrize("level", [TRAINING, QUESTIONS], ids=["training", "questions"])
def test_easy_and_hard_problems_are_in_every_set(level: Level) -> None:
    found = [problem.difficulty for problem in some(5, 500, level)]
    assert sum(difficulty <= 2 for difficulty in found) > 50
    assert sum(difficulty >= 6 for difficulty in found) > 50


def test_questions_are_longer_on_average_than_the_problems_of_the_training() -> None:
    questions = [len(problem.steps) for problem in islice(problems(0, "held_out"), 1_000)]
    training = [len(problem.steps) for problem in islice(problems(0, "train"), 1_000)]
    assert mean(questions) > mean(training) + 1
    assert set(questions) == set(training) == set(range(1, 9))


def test_a_level_sets_steps_and_distractors() -> None:
    always = Level({2: 1}, distractors=1.0)
    for problem in some(6, 200, always):
        assert (len(problem.steps), problem.distractors) == (2, 1)
    assert not any(problem.distractors for problem in some(6, 200, Level({2: 1}, distractors=0.0)))


def test_problems_with_few_carries_are_as_long() -> None:
    usual, few = some(8, 1_000), some(8, 1_000, FEW_CARRIES)
    carries = [mean(sum(map(hard, problem.sums())) for problem in found) for found in (usual, few)]
    steps = [mean(len(problem.steps) for problem in found) for found in (usual, few)]
    assert carries[0] > 0.35
    assert carries[1] < carries[0] / 10
    assert steps[1] == pytest.approx(steps[0], rel=0.1)


def test_a_distractor_changes_no_computation() -> None:
    for problem in some(7, 500, Level({3: 1}, distractors=1.0)):
        clauses = [problem.opening, *(step.clause for step in problem.steps)]
        said = sum(len(re.findall(r"\{[ab]\}|\d+", clause)) for clause in clauses)
        assert len(re.findall(r"\d+", problem.text)) == said + 1


@pytest.mark.parametrize(
    ("done", "is_hard"),
    [
        (Sum(27, "+", 15, 42), True),
        (Sum(27, "+", 12, 39), False),
        (Sum(27, "+", 5, 32), False),
        (Sum(42, "-", 15, 27), True),
        (Sum(42, "-", 12, 30), False),
        (Sum(42, "-", 5, 37), False),
        (Sum(8, "*", 9, 72), False),
        (Sum(72, "/", 9, 8), False),
    ],
    ids=str,
)
def test_what_is_hard(done: Sum, is_hard: bool) -> None:
    assert hard(done) == is_hard


@given(st.integers(0, 120), st.sampled_from(["+", "-", "*", "/"]), st.integers(0, 120), st.integers(2, 120))
def test_results_stay_in_the_domain_or_are_none(left: int, sign: Sign, right: int, largest: int) -> None:
    result = compute(left, sign, right, largest)
    if result is not None:
        assert LEAST <= result <= largest
        assert {"+": left + right, "-": left - right, "*": left * right, "/": right * result}[sign] == (
            left if sign == "/" else result
        )


@given(st.integers(0, 2**32), st.integers(1, 8), st.floats(0, 1))
def test_a_story_has_the_wanted_steps_and_plain_english(seed: int, wanted: int, distractors: float) -> None:
    problem = Story(random.Random(seed), Level({wanted: 1}, distractors=distractors), wanted).tell()  # noqa: S311
    if problem is None:
        return
    assert len(problem.steps) == wanted
    assert not re.search(r"[{}<>]|  |\.\.", problem.text)
    assert problem.text.endswith("?")
    for sentence in re.split(r"(?<=[.?]) ", problem.text):
        assert sentence[0].isupper() or sentence[0].isdigit()
    # A counted noun is a plural, because nothing is counted in ones.
    assert not re.search(r"\b[01]\b", problem.text)
    people = f"{problem.text} {problem.conclusion}"
    assert not (re.search(r"\b(she|her)\b", people, re.IGNORECASE) and re.search(r"\b(he|him|his)\b", people))


@given(st.integers(0, 2**32))
def test_a_question_asks_for_what_the_conclusion_states(seed: int) -> None:
    problem = Story(random.Random(seed), QUESTIONS, 3).tell()  # noqa: S311
    if problem is None:
        return
    question = problem.text.rsplit(". ", 1)[-1]
    counted = re.match(r"How (?:many|much) (?:more )?(\w+)", question)
    assert counted
    noun = counted[1]
    same = {"money": "dollars", "do": "dollars", "people": "p", "passengers": "p", "seats": "seats"}
    conclusion = problem.conclusion.replace("people", "p").replace("passengers", "p")
    assert same.get(noun, noun) in conclusion


@pytest.mark.parametrize(("noun", "expected"), [("apple", "apples"), *IRREGULAR.items()])
def test_plurals(noun: str, expected: str) -> None:
    assert plural(noun) == expected


def test_names_are_of_one_kind_and_things_are_singular() -> None:
    assert not set(GIRLS) & set(BOYS)
    assert not any(thing.endswith("s") for thing in PERSON.items)
