"""Bare sums to practise on: a story holds two to four of them, a drill two dozen, for the same number of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.pocket.problems import LARGEST
from benchmarks.pocket.traces import Piece

if TYPE_CHECKING:
    import random

SUMS = 24
"""Sums in a drill."""
ASKED = "Practice."
"""What the user says before a drill."""
USUAL = 20
"""Most sums of the stories add or take away at most this much; so do half of the drills' sums."""


def drill(rng: random.Random) -> tuple[Piece, ...]:
    """An assistant's turn of bare sums; the operands are drawn at random, so only the results carry loss."""
    pieces = []
    for _ in range(SUMS):
        left, sign, right, result = _sum(rng)
        pieces += [Piece(f"{left} {sign} {right} =", taught=False), Piece(f" {result}"), Piece(", ", taught=False)]
    return (*pieces[:-1], Piece("\n</think>\n\nDone", taught=False))


def _sum(rng: random.Random) -> tuple[int, str, int, int]:
    """Operands, sign and result of a sum within the numbers of the domain."""
    sign = rng.choice("++--*/")
    if sign in "*/":
        left, right = rng.choice(((rng.randint(2, 9), rng.randint(2, 9)), (rng.randint(2, 30), rng.randint(2, 6))))
        product = left * right
        if product > LARGEST:
            return _sum(rng)
        return (left, "*", right, product) if sign == "*" else (product, "/", right, left)
    most = USUAL if rng.random() < 0.5 else LARGEST - 1  # noqa: PLR2004 - half of them
    right = rng.randint(1, most)
    left = rng.randint(1, LARGEST - right)
    return (left, "+", right, left + right) if sign == "+" else (left + right, "-", right, left)
