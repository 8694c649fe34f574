"""What the pocket pair learns to write: right in the end, well formed, doubtful in the right places."""

from __future__ import annotations

import random
import re
from itertools import islice, pairwise

from benchmarks.pocket.batches import BAD, GOOD, scored
from benchmarks.pocket.drills import SUMS, drill
from benchmarks.pocket.problems import LARGEST, Problem, hard, problems
from benchmarks.pocket.traces import RECAP_FROM, trace
from langchain_spec_thinking import pocket
from langchain_spec_thinking.policy import CueTrigger
from langchain_spec_thinking.policy.triggers.score import QUESTION

SUM = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
CUES = re.compile(
    r"\b(yeah|yes|final answer|confident|wait|alternatively|hold on|another|verify|think again|recap|check)\b",
    re.IGNORECASE,
)
CHECK = re.compile(r"(Wait|Hold on|Hmm, wait|Yes), ")
RECAP = re.compile(r"Let me verify: |Let me check again: |To recap: ")


def texts(seed: int, count: int, slip_share: float = 0.15) -> list[tuple[Problem, str]]:
    """Problems with a trace each."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    chosen = islice(problems(seed, "train"), count)
    return [(problem, "".join(piece.text for piece in trace(problem, rng, slip_share))) for problem in chosen]


def paragraphs(text: str) -> list[str]:
    return text.split("\n</think>", maxsplit=1)[0].split("\n\n")


def right(left: str, sign: str, number: str) -> float:
    return {"+": int(left) + int(number), "-": int(left) - int(number), "*": int(left) * int(number)}.get(
        sign, int(left) / max(1, int(number))
    )


def test_a_seed_always_gives_the_same_traces() -> None:
    assert texts(3, 300) == texts(3, 300)


def test_traces_end_in_the_right_answer_and_close_their_thinking_once() -> None:
    for problem, text in texts(4, 2_000, slip_share=0.5):
        assert text.endswith(f"\\boxed{{{problem.answer}}}")
        assert pocket.boxed(text) == problem.answer
        thinking, answer = text.split("\n</think>\n\n")
        assert "\n" not in answer
        assert "<think>" not in thinking


def test_steps_are_parted_by_single_blank_lines() -> None:
    for _, text in texts(5, 500):
        for part in paragraphs(text):
            assert part
            assert "\n" not in part
            assert part == part.strip()


def test_cues_stand_only_in_checks_and_recaps() -> None:
    for problem, text in texts(6, 2_000):
        assert not CUES.search(problem.text)
        for part in paragraphs(text):
            assert bool(CUES.search(part)) == bool(CHECK.match(part) or RECAP.match(part))


def test_the_default_trigger_finds_every_check() -> None:
    lexicon = CueTrigger().lexicon
    for _, text in texts(12, 500):
        for part in paragraphs(text):
            assert (lexicon.classify(part) != "statement") == bool(CHECK.match(part) or RECAP.match(part))


def test_without_slips_every_sum_of_a_trace_is_right() -> None:
    for problem, text in texts(7, 1_000, slip_share=0):
        assert {match.group() for match in SUM.finditer(text)} == {str(done) for done in problem.sums()}
        assert ", not " not in text


def test_checks_and_recaps_hold_right_sums_whatever_slipped_before() -> None:
    for problem, text in texts(8, 2_000, slip_share=0.5):
        for part in paragraphs(text):
            if CHECK.match(part) or RECAP.match(part):
                for left, sign, number, result in SUM.findall(part):
                    assert int(result) == right(left, sign, number)
            if RECAP.match(part):
                assert [match.group() for match in SUM.finditer(part)] == [str(done) for done in problem.sums()]


def test_long_problems_end_in_a_recap_and_short_ones_do_not() -> None:
    for problem, text in texts(9, 1_000):
        recapped = [bool(RECAP.match(part)) for part in paragraphs(text)]
        assert sum(recapped) == recapped[-1] == (len(problem.steps) >= RECAP_FROM)


def test_slips_carry_no_loss_and_are_mended() -> None:
    rng = random.Random(9)  # noqa: S311 - repeatable, not secret
    slipped = 0
    for problem in islice(problems(9, "train"), 1_000):
        pieces = trace(problem, rng)
        for piece, after in pairwise(pieces):
            slipped += not piece.taught
            mended = not piece.taught and ", not " in after.text
            assert after.taught or not mended
            assert piece.taught or mended or len(problem.steps) >= RECAP_FROM
        for piece in pieces:
            for left, sign, number, result in SUM.findall(piece.text) if piece.taught else ():
                assert int(result) == right(left, sign, number)
    assert slipped > 200


def test_hard_computations_are_checked() -> None:
    for problem, text in texts(10, 500, slip_share=0):
        checks = [part for part in paragraphs(text) if CHECK.match(part)]
        assert len(checks) == sum(map(hard, problem.sums()))


def test_checks_and_recaps_are_about_a_quarter_of_the_text() -> None:
    joined = [paragraphs(text) for _, text in texts(11, 2_000)]
    checks = sum(len(part) for parts in joined for part in parts if CHECK.match(part) or RECAP.match(part))
    assert 0.15 < checks / sum(len(part) for parts in joined for part in parts) < 0.3


def test_a_scored_step_gets_a_digit_that_says_whether_it_is_right() -> None:
    rng = random.Random(1)  # noqa: S311 - repeatable, not secret
    digits = []
    for problem in islice(problems(1, "train"), 1_000):
        asked, digit = scored(problem, rng)
        assert (asked.taught, digit.taught) == (False, True)
        assert asked.text.endswith(QUESTION)
        step = asked.text.removesuffix(QUESTION).split("\n\n")[-1]
        if digit.text == GOOD:
            assert all(int(result) == right(left, sign, number) for left, sign, number, result in SUM.findall(step))
        digits.append(digit.text)
    assert set(digits) == {GOOD, BAD}
    assert 0.2 < digits.count(BAD) / len(digits) < 0.6


def test_drills_teach_right_results_alone() -> None:
    pieces = drill(random.Random(0))  # noqa: S311
    taught = [piece.text for piece in pieces if piece.taught]
    sums = SUM.findall("".join(piece.text for piece in pieces))
    assert len(sums) == SUMS
    assert [f" {result}" for *_, result in sums] == taught
    for left, sign, number, result in sums:
        assert int(result) == right(left, sign, number)
        assert int(result) <= LARGEST
