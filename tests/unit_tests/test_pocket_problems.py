"""The pocket pair's problems and traces: repeatable, right, well formed, and fenced off from training."""

from __future__ import annotations

import random
import re
from itertools import islice

import pytest

from benchmarks.pocket.drills import drill
from benchmarks.pocket.problems import HARDER, HELD_OUT_SHARE, POCKET, Level, Problem, Result, problems, split
from benchmarks.pocket.traces import hard, trace, truth
from langchain_spec_thinking import pocket

SUM = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
CUES = re.compile(
    r"\b(yeah|yes|final answer|confident|wait|alternatively|hold on|another|verify|think again|recap|check)\b",
    re.IGNORECASE,
)
CHECK = re.compile(r"(Wait|Hold on|Hmm, wait|Yes), ")
RECAP = re.compile(r"Let me verify: |Let me check again: |To recap: ")


def texts(seed: int, count: int, slip_share: float = 0.18) -> list[tuple[Problem, str]]:
    """Problems with a trace each."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    chosen = islice(problems(seed, "train"), count)
    return [(problem, "".join(piece.text for piece in trace(problem, rng, slip_share))) for problem in chosen]


def test_a_seed_always_gives_the_same_problems_and_traces() -> None:
    assert texts(3, 300) == texts(3, 300)


def test_seeds_and_sides_give_different_problems() -> None:
    first = {problem.text for problem in islice(problems(0, "train"), 300)}
    assert len(first & {problem.text for problem in islice(problems(1, "train"), 300)}) < 3


def test_training_and_held_out_share_no_text_and_no_number_sequence() -> None:
    train = [problem.text for problem in islice(problems(0, "train"), 20_000)]
    held_out = [problem.text for problem in islice(problems(0, "held_out"), 2_000)]
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


@pytest.mark.parametrize("level", [POCKET, HARDER], ids=["pocket", "harder"])
def test_answers_are_right_by_independent_computation(level: Level) -> None:
    counts = set()
    for problem in islice(problems(1, "held_out", level), 2_000):
        results: list[int] = []
        for step in problem.steps:
            left, right = (results[x.step] if isinstance(x, Result) else x for x in (step.left, step.right))
            exact = {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else None}[
                step.sign
            ]
            assert exact == int(exact or 0)
            results.append(int(exact or 0))
        assert problem.answer == results[-1]
        assert all(0 <= result <= level.largest for result in results)
        counts.add(len(results))
    assert counts == set(level.steps)


def test_every_number_used_stands_in_the_text_or_is_said_in_words() -> None:
    for problem in islice(problems(2, "train"), 2_000):
        said = {int(number) for number in re.findall(r"\d+", problem.text)}
        in_words = {2} if re.search(r"doubl|[Hh]alf|as many|as there", problem.text) else set()
        used = {x for step in problem.steps for x in (step.left, step.right) if not isinstance(x, Result)}
        assert used <= said | in_words


def test_traces_end_in_the_right_answer_and_close_their_thinking_once() -> None:
    for problem, text in texts(4, 2_000, slip_share=0.5):
        assert text.endswith(f"\\boxed{{{problem.answer}}}")
        assert pocket.boxed(text) == problem.answer
        thinking, answer = text.split("\n</think>\n\n")
        assert "\n" not in answer
        assert "<think>" not in thinking


def test_steps_are_parted_by_single_blank_lines() -> None:
    for _, text in texts(5, 500):
        thinking = text.split("\n</think>")[0]
        assert "\n\n\n" not in thinking
        for part in thinking.split("\n\n"):
            assert part
            assert "\n" not in part
            assert part == part.strip()


def test_cues_stand_only_in_checks() -> None:
    for problem, text in texts(6, 2_000):
        assert not CUES.search(problem.text)
        for part in text.split("\n</think>")[0].split("\n\n"):
            assert bool(CUES.search(part)) == bool(CHECK.match(part) or RECAP.match(part))


def test_without_slips_every_sum_of_a_trace_is_right() -> None:
    for problem, text in texts(7, 1_000, slip_share=0):
        done = {f"{step.left} {step.sign} {step.right} = {step.result}" for step in truth(problem)}
        assert {match.group() for match in SUM.finditer(text)} == done
        assert ", not " not in text


def test_checks_and_recaps_hold_right_sums_whatever_slipped_before() -> None:
    for problem, text in texts(8, 2_000, slip_share=0.5):
        for part in text.split("\n</think>")[0].split("\n\n"):
            if CHECK.match(part) or RECAP.match(part):
                for left, sign, right, result in SUM.findall(part):
                    exact = {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}
                    assert int(result) == exact.get(sign, int(left) // max(1, int(right)))
            if RECAP.match(part):
                assert [match.group(4) for match in SUM.finditer(part)] == [str(done.result) for done in truth(problem)]


def test_slips_carry_no_loss_and_are_mended() -> None:
    rng = random.Random(9)  # noqa: S311 - repeatable, not secret
    slipped = 0
    for problem in islice(problems(9, "train"), 1_000):
        pieces = trace(problem, rng)
        for piece in pieces:
            slipped += not piece.taught
        if any(not piece.taught for piece in pieces):
            assert any(", not " in piece.text for piece in pieces if piece.taught) or "Yes, it is" in "".join(
                p.text for p in pieces
            )
    assert slipped > 200


def test_hard_computations_are_checked_unless_last() -> None:
    for problem, text in texts(10, 500, slip_share=0):
        checks = [part for part in text.split("\n\n") if CHECK.match(part)]
        assert len(checks) == sum(hard(done) for done in truth(problem)[:-1])


def test_checks_are_at_most_about_a_third_of_the_text() -> None:
    joined = [text.split("\n</think>")[0] for _, text in texts(11, 2_000)]
    checks = sum(len(part) for text in joined for part in text.split("\n\n") if CHECK.match(part) or RECAP.match(part))
    assert 0.2 < checks / sum(map(len, joined)) < 0.36


def test_drills_teach_right_results_alone() -> None:
    pieces = drill(random.Random(0))  # noqa: S311
    taught = [piece.text for piece in pieces if piece.taught]
    sums = SUM.findall("".join(piece.text for piece in pieces))
    assert [f" {result}" for *_, result in sums] == taught
    for left, sign, right, result in sums:
        exact = {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}
        assert int(result) == exact.get(sign, int(left) / int(right))
