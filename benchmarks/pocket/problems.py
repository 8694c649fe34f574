"""Grade-school word problems of one to eight steps, made without end from a seed.

A problem is a short story about one running number: it starts somewhere, computations change it, and a question asks
for the last result. The same seed always gives the same problems. `split` says, from the text alone, whether a problem
may be trained on.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Split = Literal["train", "held_out"]
Sign = Literal["+", "-", "*", "/"]

LARGEST = 100
"""Largest number of a level, and of every problem of the pocket pair."""
LEAST = 2
"""No number of a problem and no result is smaller: nothing is counted in the singular."""
TEN = 10
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class Result:
    """An operand that is the result of an earlier step."""

    step: int


@dataclass(frozen=True)
class Step:
    """One computation of a problem.

    Attributes:
        clause: Sentence of the story that asks for it, with `{a}` and `{b}` for its numbers; empty where an earlier
            step has said it.
    """

    left: int | Result
    sign: Sign
    right: int | Result
    clause: str


@dataclass(frozen=True)
class Sum:
    """A computation with its numbers, as it stands on paper."""

    left: int
    sign: Sign
    right: int
    result: int

    def __str__(self) -> str:
        """Write it down."""
        return f"{self.left} {self.sign} {self.right} = {self.result}"


@dataclass(frozen=True)
class Problem:
    """A story, the computations it asks for, and the number it ends in.

    Attributes:
        opening: The sentence that states the first number; empty where the first number is a computation.
        conclusion: The answer as a sentence, with `{c}` for the number.
        distractors: How many sentences have nothing to do with the question.
    """

    text: str
    opening: str
    steps: tuple[Step, ...]
    conclusion: str
    answer: int
    distractors: int = 0

    @property
    def difficulty(self) -> int:
        """How hard it is: a point for each step, for each hard computation and for each distractor."""
        return len(self.steps) + sum(hard(done) for done in self.sums()) + self.distractors

    def sums(self) -> list[Sum]:
        """The computations, in order and without any slip."""
        sums: list[Sum] = []
        for step in self.steps:
            sums.append(worked(step, [done.result for done in sums]))
        return sums


@dataclass(frozen=True)
class Level:
    """How hard problems are.

    Attributes:
        steps: Weights of the numbers of computations.
        largest: No number and no result is larger.
        distractors: Chance of a sentence that has nothing to do with the question.
        carries: Chance of a hard computation to be kept. If it is not kept, another event is drawn.
    """

    steps: Mapping[int, float]
    largest: int = LARGEST
    distractors: float = 0.2
    carries: float = 1.0


TRAINING = Level({1: 2, 2: 8, 3: 8, 4: 4, 5: 2, 6: 1, 7: 0.6, 8: 0.4})
"""What the large model of the pocket pair learned."""
FEW_CARRIES = replace(TRAINING, carries=0.03)
"""What its small model learned: stories of the same lengths, in which sums seldom carry or borrow."""
QUESTIONS = Level({1: 2, 2: 4, 3: 5, 4: 5, 5: 5, 6: 4, 7: 2.5, 8: 2.5})
"""What the pair is asked. Many problems are long, so that some are easy for the small model and some are beyond it."""
HARDER = Level({5: 1, 6: 1, 7: 1, 8: 1}, 999)
"""What a general model of a billion parameters gets wrong about as often as right."""


def compute(left: int, sign: Sign, right: int, largest: int = LARGEST) -> int | None:
    """Result of one computation, or `None` where it is no whole number from 2 to the largest."""
    if sign == "/":
        result = left // right if right and left % right == 0 else 0
    else:
        result = {"+": left + right, "-": left - right, "*": left * right}[sign]
    return result if LEAST <= result <= largest else None


def worked(step: Step, results: list[int], largest: int = 999) -> Sum:
    """A step with its numbers, given the results of the steps before it.

    Raises:
        ValueError: It leaves the numbers of the domain.
    """
    left, right = (results[x.step] if isinstance(x, Result) else x for x in (step.left, step.right))
    result = compute(left, step.sign, right, largest)
    if result is None:
        msg = f"{left} {step.sign} {right} leaves the numbers of the domain"
        raise ValueError(msg)
    return Sum(left, step.sign, right, result)


def hard(done: Sum) -> bool:
    """Whether a computation is hard: a sum or difference of two numbers of two digits that carries or borrows.

    The rest are tables that even a very small model learns by heart.
    """
    if min(done.left, done.right) < TEN:
        return False
    if done.sign == "+":
        return done.left % TEN + done.right % TEN >= TEN
    return done.sign == "-" and done.left % TEN < done.right % TEN


def split(text: str) -> Split:
    """Return whether a problem is for the training or held out. Only the sequence of numbers in its text decides.

    Two problems with the same numbers in the same order are on the same side, whatever their words, so a held-out
    problem shares neither its text nor its number skeleton with anything trained on.
    """
    numbers = " ".join(re.findall(r"\d+", text))
    first = hashlib.sha256(numbers.encode()).digest()[0]
    return "held_out" if first < 256 * HELD_OUT_SHARE else "train"


def problems(seed: int | str, side: Split, level: Level | None = None) -> Iterator[Problem]:
    """Problems of one side of the split, without end, the same for the same seed.

    Args:
        seed: Of everything that is drawn.
        side: Whether the training may use the problems.
        level: How hard they are. The default is `TRAINING` for the training, and `QUESTIONS` for held-out problems.
    """
    from benchmarks.pocket.stories import Story  # noqa: PLC0415 - which is made of what is defined here

    level = level or {"train": TRAINING, "held_out": QUESTIONS}[side]
    rng = random.Random(f"{side}-{seed}")  # noqa: S311 - repeatable, not secret
    while True:
        wanted = rng.choices(list(level.steps), list(level.steps.values()))[0]
        problem = None
        while problem is None or split(problem.text) != side:
            problem = Story(rng, level, wanted).tell()
        yield problem
