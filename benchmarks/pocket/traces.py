"""What a reasoner writes about a problem: steps, checks, now and then a slip that a check mends, a recap, the answer.

A slip is a wrong result, a number read wrongly, a wrong operation or a sentence passed over. Whatever slips is mended
before the thinking closes: by the check right after it, or by the recap at the end. No model is ever trained to *write*
a slip: slipped steps carry no loss, the mending does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.pocket.problems import LARGEST, Problem, Result, Sign, Step, compute

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

SLIP_SHARE = 0.18
"""Chance of a step to slip."""
FORGET_SHARE = 0.4
"""How often a sentence of the story is passed over, per slip."""
EARLY_CHECK_SHARE = 0.5
"""Chance of a slip in an easy step to be noticed at once rather than in the recap."""
BORROWING: dict[Sign, tuple[str, ...]] = {
    "+": ("Wait, ", "Wait, ", "Wait, ", "Hold on, "),
    "-": ("Hold on, ", "Hold on, ", "Hold on, ", "Wait, "),
    "*": ("Hmm, wait, ", "Hmm, wait, ", "Hmm, wait, ", "Wait, "),
    "/": ("Wait, ", "Wait, ", "Hold on, "),
}
"""Cues that open a check, by operation: greedy decoding always takes the likeliest, so the likeliest should differ."""
OPENINGS = (
    "Okay, let me think step by step.",
    "Okay, let me see.",
    "Let me work this out.",
    "Okay, one thing at a time.",
)
VERDICTS = ("That is right.", "Good.", "That fits.")
RECAPS = ("Let me verify: ", "Let me verify: ", "Let me verify: ", "Let me check again: ", "To recap: ")


@dataclass(frozen=True)
class Piece:
    """A stretch of a trace; `taught` says whether it carries loss."""

    text: str
    taught: bool = True


@dataclass(frozen=True)
class _Sum:
    """A computation with its numbers, as it stands on paper."""

    left: int
    sign: Sign
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right} = {self.result}"


def trace(problem: Problem, rng: random.Random, slip_share: float = SLIP_SHARE) -> tuple[Piece, ...]:
    """The assistant's whole turn after `<think>` and a line break, in pieces; joined they are the text."""
    right = truth(problem)
    style = rng.randrange(3)
    pieces = [Piece(_opening(problem, rng))]
    believed: list[int] = []
    hasty = False
    for index, step in enumerate(problem.steps):
        if index < len(believed):
            continue
        if not hasty and rng.random() < slip_share * FORGET_SHARE:
            forgotten = _forget(problem, believed)
            hasty = bool(forgotten)
            believed += forgotten
            if hasty:
                continue
        last = index == len(problem.steps) - 1
        honest = _sum(step, believed)
        written = _slip(honest, problem, rng) if rng.random() < slip_share else honest
        wrong_now = written != honest
        noticed = not last and (hard(right[index]) or (wrong_now and rng.random() < EARLY_CHECK_SHARE))
        noticed = noticed or (wrong_now and not _survives(problem, [*believed, written.result]))
        pieces.append(Piece(_step(step, written, style) + "\n\n", taught=not wrong_now and not hasty))
        hasty = False
        if noticed:
            pieces.append(Piece(_check(step, written, honest, rng) + "\n\n"))
        believed.append(honest.result if noticed else written.result)
    pieces.append(Piece(_recap(right, believed[-1], rng) + "\n</think>\n\n"))
    pieces.append(Piece(f"So {problem.conclusion.format(c=problem.answer)}: \\boxed{{{problem.answer}}}"))
    return tuple(pieces)


def truth(problem: Problem) -> list[_Sum]:
    """The computations of a problem without any slip."""
    results: list[int] = []
    sums = []
    for step in problem.steps:
        sums.append(_sum(step, results))
        results.append(sums[-1].result)
    return sums


def hard(done: _Sum) -> bool:
    """Whether a computation deserves a check: it carries, borrows, multiplies or divides."""
    if done.sign == "+":
        return done.left % 10 + done.right % 10 >= 10  # noqa: PLR2004 - a carry in base ten
    if done.sign == "-":
        return done.left % 10 < done.right % 10
    return True


def _sum(step: Step, results: Sequence[int]) -> _Sum:
    left, right = (results[x.step] if isinstance(x, Result) else x for x in (step.left, step.right))
    result = compute(left, step.sign, right)
    if result is None:
        msg = f"{left} {step.sign} {right} leaves the numbers of the domain"
        raise ValueError(msg)
    return _Sum(left, step.sign, right, result)


def _survives(problem: Problem, believed: list[int]) -> bool:
    """Whether the remaining steps can be computed from what is believed so far."""
    results = list(believed)
    for step in problem.steps[len(believed) :]:
        try:
            results.append(_sum(step, results).result)
        except ValueError:
            return False
    return True


def _slip(honest: _Sum, problem: Problem, rng: random.Random) -> _Sum:
    """A wrong version of a computation, of the kinds that small models write; the honest one where none is found."""
    kind = rng.choice(("result", "result", "result", "left", "right", "sign"))
    if kind in {"left", "right"}:
        left, right = _misread(honest.left, problem, rng), honest.right
        if kind == "right":
            left, right = honest.left, _misread(honest.right, problem, rng)
        result = compute(left, honest.sign, right)
        return honest if result in {None, honest.result} else _Sum(left, honest.sign, right, result or 0)
    if kind == "sign" and honest.sign in {"+", "-"}:
        sign: Sign = "-" if honest.sign == "+" else "+"
        result = compute(honest.left, sign, honest.right)
        return honest if result is None else _Sum(honest.left, sign, honest.right, result)
    result = honest.result + rng.choice((-10, -2, -1, 1, 2, 10, 10, -10, honest.right, -honest.right))
    return _Sum(honest.left, honest.sign, honest.right, result) if 0 < result <= LARGEST else honest


def _forget(problem: Problem, believed: list[int]) -> list[int]:
    """What is believed of the next sentence's steps by a reader who passed over it; nothing where that cannot go on.

    The running number stays as it was, so the sentence has to have had one before it and one after.
    """
    first = end = len(believed)
    if first == 0 and not problem.opening:
        return []
    end += 1
    while end < len(problem.steps) and not problem.steps[end].clause:
        end += 1
    if end == len(problem.steps):
        return []
    results = list(believed)
    for step in problem.steps[first:end]:
        results.append(_sum(step, results).result)
    before = problem.steps[end - 1].left
    results[-1] = results[before.step] if isinstance(before, Result) else before
    return results[first:] if _survives(problem, results) else []


def _misread(number: int, problem: Problem, rng: random.Random) -> int:
    """What a hasty reader takes a number for: a different number of the problem, or one digit off."""
    others = [x for step in problem.steps for x in (step.left, step.right) if not isinstance(x, Result)]
    return max(1, rng.choice([*others, number + rng.choice((-10, -1, 1, 10))]))


def _opening(problem: Problem, rng: random.Random) -> str:
    start = f" {problem.opening}." if problem.opening else ""
    return rng.choice(OPENINGS) + start + "\n\n"


def _step(step: Step, written: _Sum, style: int) -> str:
    """A step in one of three styles; a trace keeps to its style."""
    now = step.now.format(c=written.result)
    if not step.clause:
        lead = ("Together with what I had", "With the number from before", "Put together")[style]
        return f"{lead}, {written}. Now {now}." if style < 2 else f"{lead}: {written}. So {now}."  # noqa: PLR2004
    clause = step.clause.format(a=written.left, b=written.right)
    clause = clause[0].upper() + clause[1:]
    if style == 0:
        return f"{clause}, so {written}. Now {now}."
    if style == 1:
        return f"{clause}. That means {written}, and {now}."
    return f"{clause}. I get {written}. So {now}."


def _check(step: Step, written: _Sum, honest: _Sum, rng: random.Random) -> str:
    """The computation done again from the problem and from what is known; it names the slip where there was one."""
    if written.result != honest.result:
        return (
            f"{rng.choice(BORROWING[step.sign])}{honest}, not {written.result}. So {step.now.format(c=honest.result)}."
        )
    cue = "Yes, " if rng.random() < 0.25 else rng.choice(BORROWING[step.sign])  # noqa: PLR2004
    return f"{cue}{honest}. {rng.choice(VERDICTS)}"


def _recap(right: Sequence[_Sum], believed: int, rng: random.Random) -> str:
    sums = ", ".join(str(done) for done in right)
    answer = right[-1].result
    verdict = f"Yes, it is {answer}." if believed == answer else f"So it is {answer}, not {believed}."
    return f"{rng.choice(RECAPS)}{sums}. {verdict}"
