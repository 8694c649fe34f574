"""What a reasoner writes about a problem: steps, checks, now and then a slip that a check mends, the answer.

A slip is a wrong result, a number read wrongly, a wrong operation or a sentence passed over. Whatever slips is mended
before the thinking closes: by the check in the next paragraph or, in problems of four steps and more, by the recap at
the end. No model is ever trained to *write* a slip: slipped steps carry no loss, the mending does. A check follows
every hard computation and nearly every slip, so a model that learns from traces learns to doubt where sums are hard or
have gone wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.pocket.problems import LARGEST, Problem, Result, Sign, Step, Sum, compute, hard, worked

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

SLIP_SHARE = 0.15
"""Chance of a step to slip."""
LATE_SHARE = 0.3
"""Chance of a slip in an easy step to be noticed in the recap rather than at once, where there is a recap."""
FORGET_SHARE = 0.25
"""How often a sentence is passed over, for a slip, where there is a recap; a trace passes over one at most."""
RECAP_FROM = 4
"""Problems of at least so many steps end in a recap: the longer a problem, the likelier a sentence is passed over."""
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
RECAPS = ("Let me verify: ", "Let me verify: ", "Let me check again: ", "To recap: ")
LEADS: dict[Sign, tuple[str, ...]] = {
    "+": ("Put together, that is {sum}.", "Together that makes {sum}.", "Both together: {sum}."),
    "-": ("That leaves {sum}.", "Take that away: {sum}.", "What is left is {sum}."),
}
"""Steps that no sentence of the story asks for, by operation and style."""
STEPS = ("{clause}, so {sum}.", "{clause}. That makes {sum}.", "{clause}: {sum}.")
"""Steps, by style; a trace keeps to its style."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a trace; `taught` says whether it carries loss."""

    text: str
    taught: bool = True


def trace(problem: Problem, rng: random.Random, slip_share: float = SLIP_SHARE) -> tuple[Piece, ...]:
    """The assistant's whole turn after `<think>` and a line break, in pieces; joined they are the text."""
    return (
        *thought(problem, rng, slip_share),
        Piece("</think>\n\n"),
        Piece(f"So {problem.conclusion.format(c=problem.answer)}: \\boxed{{{problem.answer}}}"),
    )


def thought(problem: Problem, rng: random.Random, slip_share: float = SLIP_SHARE) -> list[Piece]:
    """The paragraphs of the thinking, a piece each, all ending in a blank line but the last."""
    right = problem.sums()
    recapped = len(right) >= RECAP_FROM
    style = rng.randrange(len(STEPS))
    start = f" {problem.opening}." if problem.opening else ""
    pieces = [Piece(rng.choice(OPENINGS) + start)]
    believed: list[int] = []
    forgot = hasty = False
    for index, step in enumerate(problem.steps):
        if index < len(believed):
            continue
        if recapped and not forgot and rng.random() < slip_share * FORGET_SHARE:
            forgotten = _forget(problem, believed)
            believed += forgotten
            forgot = hasty = bool(forgotten)
            if hasty:
                continue
        honest = worked(step, believed)
        written = _slip(honest, problem, rng) if rng.random() < slip_share else honest
        wrong = written != honest
        late = recapped and rng.random() < LATE_SHARE and _survives(problem, [*believed, written.result])
        noticed = hard(honest) or hard(written) or (wrong and not late)
        pieces.append(Piece(_step(step, written, style), taught=not wrong and not hasty))
        hasty = False
        if noticed:
            pieces.append(Piece(_check(written, honest, rng)))
        believed.append(honest.result if noticed else written.result)
    if recapped:
        pieces.append(Piece(_recap(right, believed[-1], rng)))
    return [*(Piece(piece.text + "\n\n", piece.taught) for piece in pieces[:-1]), _last(pieces[-1])]


def _last(piece: Piece) -> Piece:
    return Piece(piece.text + "\n", piece.taught)


def _survives(problem: Problem, believed: list[int]) -> bool:
    """Whether the remaining steps can be computed from what is believed so far."""
    results = list(believed)
    for step in problem.steps[len(believed) :]:
        try:
            results.append(worked(step, results, LARGEST).result)
        except ValueError:
            return False
    return True


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
        try:
            results.append(worked(step, results, LARGEST).result)
        except ValueError:
            return []
    before = problem.steps[end - 1].left
    results[-1] = results[before.step] if isinstance(before, Result) else before
    return results[first:] if _survives(problem, results) else []


def _slip(honest: Sum, problem: Problem, rng: random.Random) -> Sum:
    """A wrong version of a computation, of the kinds that small models write; the honest one where none is found."""
    kind = rng.choice(("result", "result", "result", "result", "left", "right", "sign"))
    if kind in {"left", "right"}:
        left, right = _misread(honest.left, problem, rng), honest.right
        if kind == "right":
            left, right = honest.left, _misread(honest.right, problem, rng)
        result = compute(left, honest.sign, right)
        return honest if result in {None, honest.result} else Sum(left, honest.sign, right, result or 0)
    if kind == "sign" and honest.sign in {"+", "-"}:
        sign: Sign = "-" if honest.sign == "+" else "+"
        result = compute(honest.left, sign, honest.right)
        return honest if result is None else Sum(honest.left, sign, honest.right, result)
    result = honest.result + rng.choice((-10, -10, -2, -1, 1, 2, 10, 10, rng.randint(-9, 9)))
    if result == honest.result or not 0 < result <= LARGEST:
        return honest
    return Sum(honest.left, honest.sign, honest.right, result)


def _misread(number: int, problem: Problem, rng: random.Random) -> int:
    """What a hasty reader takes a number for: a different number of the problem, or one digit off."""
    others = [x for step in problem.steps for x in (step.left, step.right) if not isinstance(x, Result)]
    others += [done.result for done in problem.sums()]
    return max(2, rng.choice([*others, number + rng.choice((-10, -1, 1, 10))]))


def _step(step: Step, written: Sum, style: int) -> str:
    if not step.clause:
        return LEADS[step.sign][style].format(sum=written)
    clause = step.clause.format(a=written.left, b=written.right)
    return STEPS[style].format(clause=clause[0].upper() + clause[1:], sum=written)


def _check(written: Sum, honest: Sum, rng: random.Random) -> str:
    """The computation done again from the problem and from what is known; it names the slip where there was one."""
    if written.result != honest.result:
        return f"{rng.choice(BORROWING[honest.sign])}{honest}, not {written.result}."
    cue = "Yes, " if rng.random() < 0.2 else rng.choice(BORROWING[honest.sign])  # noqa: PLR2004
    return f"{cue}{honest}. {rng.choice(VERDICTS)}"


def _recap(right: Sequence[Sum], believed: int, rng: random.Random) -> str:
    sums = ", ".join(str(done) for done in right)
    answer = right[-1].result
    verdict = f"Yes, it is {answer}." if believed == answer else f"So it is {answer}, not {believed}."
    return f"{rng.choice(RECAPS)}{sums}. {verdict}"
