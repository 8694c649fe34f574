"""Bare sums to practise on: a story holds about three of them, a drill two dozen, for twice the number of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.pocket.problems import LARGEST, TEN, Sum, compute, hard
from benchmarks.pocket.traces import Piece

if TYPE_CHECKING:
    import random

    from benchmarks.pocket.problems import Sign

SUMS = 24
"""Sums in a drill."""
ASKED = "Practice."
"""What the user says before a drill."""
USUAL = 70
"""Nothing larger is added or taken away."""


def drill(rng: random.Random) -> tuple[Piece, ...]:
    """An assistant's turn of bare sums; the operands are drawn at random, so only the results carry loss."""
    pieces = []
    for _ in range(SUMS):
        done = _sum(rng)
        pieces += [
            Piece(f"{done.left} {done.sign} {done.right} =", taught=False),
            Piece(f" {done.result}"),
            Piece(", ", taught=False),
        ]
    return (*pieces[:-1], Piece("\n</think>\n\nDone", taught=False))


def _sum(rng: random.Random) -> Sum:
    """A sum within the numbers of the domain; half of those that are not hard are drawn anew."""
    sign: Sign = rng.choice(("+", "+", "-", "-", "*", "/"))
    if sign in {"*", "/"}:
        right = rng.randint(2, TEN - 1)
        left = rng.randint(2, LARGEST // right)
        done = Sum(left, "*", right, left * right)
        if sign == "*" and rng.random() < 0.5:  # noqa: PLR2004 - either way round
            done = Sum(right, "*", left, left * right)
        if sign == "/":
            done = Sum(left * right, "/", right, left)
    else:
        left, right = rng.randint(2, LARGEST - 2), rng.randint(2, USUAL)
        if sign == "-":
            left, right = max(left, right), min(left, right)
        result = compute(left, sign, right)
        if result is None:
            return _sum(rng)
        done = Sum(left, sign, right, result)
    return done if hard(done) or rng.random() < 0.5 else _sum(rng)  # noqa: PLR2004 - half of them
