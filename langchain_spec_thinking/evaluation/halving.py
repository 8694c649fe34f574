"""Successive halving: all candidates answer a few questions, and the better ones answer more. All of it is pure."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

from langchain_spec_thinking.evaluation.results import pareto

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from langchain_spec_thinking.evaluation.questions import Question

FIRST_SLICE = 16
"""Minimum number of questions after which candidates are compared."""
Measured = tuple[int, float]
"""What a candidate did on the questions so far: the number of right answers, and the mean expense of a question."""


def split(questions: Sequence[Question], seed: int) -> tuple[list[Question], list[Question]]:
    """Split questions into a part for choosing and a part for reporting.

    The parts are equally large, or the second has one more. A hash of the seed and the id of a question draws its part
    and its place there. So the order of the questions in a file changes nothing.
    """

    def drawn(question: Question) -> bytes:
        return hashlib.sha256(f"{seed}:{question.id}".encode()).digest()

    shuffled = sorted(questions, key=drawn)
    half = len(shuffled) // 2
    return shuffled[:half], shuffled[half:]


def slices(count: int) -> list[int]:
    """Return the numbers of questions after which candidates are compared. Each is twice the one before."""
    sizes = [count]
    while sizes[0] // 2 >= FIRST_SLICE:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def planned_turns(candidates: int, count: int) -> int:
    """Return the number of turns if half of the candidates stay after each round.

    Args:
        candidates: Number of candidates in the first round.
        count: Number of questions of the choosing part.
    """
    turns, before = 0, 0
    for size in slices(count):
        turns += candidates * (size - before)
        candidates, before = math.ceil(candidates / 2), size
    return turns


def survivors(measured: Mapping[str, Measured], count: int, others: Collection[str] = ()) -> list[str]:
    """Return the candidates that go on to the next round, in the order of the mapping.

    A candidate is dropped if another one costs no more and has more right answers than chance explains. The allowance
    for chance is half the root of the number of questions: the largest standard deviation that a number of right
    answers can have. If more than half of the candidates are left then, the Pareto front stays, then the front of the
    rest, and so on until at least half of the candidates stay.

    So a candidate that costs no more than one that stays, and has no fewer right answers, stays too.

    Args:
        measured: By name. All of them answered the same questions.
        count: Number of questions.
        others: Names in `measured` that are no candidates. Candidates are compared with them too.
    """
    candidates = [name for name in measured if name not in others]
    allowance = math.sqrt(count) / 2
    left = [
        name
        for name in candidates
        if not any(_dominates(rival, measured[name], allowance) for rival in measured.values())
    ]
    wanted = min(math.ceil(len(candidates) / 2), len(left))
    staying: set[str] = set()
    while len(staying) < wanted:
        staying |= _front({name: measured[name] for name in left if name not in staying})
    return [name for name in candidates if name in staying]


def _dominates(rival: Measured, candidate: Measured, allowance: float) -> bool:
    return rival[1] <= candidate[1] and rival[0] - candidate[0] > allowance


def _front(measured: Mapping[str, Measured]) -> set[str]:
    """Return the Pareto front. Candidates that are equal are all in it."""
    points = {name: (expense, float(right)) for name, (right, expense) in measured.items()}
    best = {points[name] for name in pareto(points)}
    return {name for name, point in points.items() if point in best}
