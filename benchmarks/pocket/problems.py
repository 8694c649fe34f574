"""Grade-school word problems of several steps, made without end from a seed.

A problem is a short story about one running number: it starts somewhere, two to four computations change it (more at
another `Level`), and a question asks for the last result. The same seed always gives the same problems. `split` says,
from the text alone, whether a problem may be trained on.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from benchmarks.pocket.lexicon import (
    ASIDES,
    BOXES,
    BOYS,
    GIRLS,
    GOODS,
    JOBS,
    KIN,
    LINKS,
    SETTINGS,
    STOPS,
    Final,
    Setting,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Split = Literal["train", "held_out"]
Sign = Literal["+", "-", "*", "/"]

LARGEST = 60
"""No number of a problem and no result is larger: two digits are enough for carrying, few enough for a tiny model."""
HELD_OUT_SHARE = 0.1
ASIDE_SHARE = 0.12
GIRL_SHARE = 0.5
SIGNS: dict[str, Sign] = {"gain": "+", "lose": "-", "double": "*", "halve": "/"}


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
        now: What its result means, with `{c}` for the result.
    """

    left: int | Result
    sign: Sign
    right: int | Result
    clause: str
    now: str


@dataclass(frozen=True)
class Problem:
    """A story, the computations it asks for, and the number it ends in."""

    text: str
    opening: str
    steps: tuple[Step, ...]
    conclusion: str
    answer: int


@dataclass(frozen=True)
class Level:
    """How hard problems are.

    Attributes:
        steps: Weights of the numbers of computations.
        largest: No number and no result is larger.
    """

    steps: Mapping[int, int]
    largest: int


POCKET = Level({2: 9, 3: 8, 4: 3}, LARGEST)
"""What the pocket pair learned."""
HARDER = Level({5: 1, 6: 1, 7: 1, 8: 1}, 999)
"""What a general model of a billion parameters gets wrong about as often as right."""


def compute(left: int, sign: Sign, right: int, largest: int = LARGEST) -> int | None:
    """Result of one computation, or `None` where it leaves the natural numbers up to the largest."""
    if sign == "/":
        return left // right if right and left % right == 0 else None
    result = {"+": left + right, "-": left - right, "*": left * right}[sign]
    return result if 0 <= result <= largest else None


def split(text: str) -> Split:
    """Side of the fence a problem falls on, from the sequence of numbers in its text alone.

    Two problems with the same numbers in the same order are on the same side, whatever their words, so a held-out
    problem shares neither its text nor its number skeleton with anything trained on.
    """
    numbers = " ".join(re.findall(r"\d+", text))
    first = hashlib.sha256(numbers.encode()).digest()[0]
    return "held_out" if first < 256 * HELD_OUT_SHARE else "train"


def problems(seed: int, side: Split, level: Level = POCKET) -> Iterator[Problem]:
    """Problems of one side of the split, without end, the same for the same seed."""
    rng = random.Random(f"{side}-{seed}")  # noqa: S311 - repeatable, not secret
    while True:
        problem = _Story(rng, level).tell()
        if problem is not None and split(problem.text) == side:
            yield problem


@dataclass
class _Story:
    """A problem while it is being made up; `tell` gives `None` where the drawn numbers lead nowhere."""

    rng: random.Random
    level: Level
    sentences: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    value: int = 0
    operand: int | Result = 0

    def tell(self) -> Problem | None:
        self.setting: Setting = self.rng.choice(SETTINGS)
        self.slots = _slots(self.rng, self.setting)
        wanted = self.rng.choices(list(self.level.steps), list(self.level.steps.values()))[0]
        kind = self.rng.choice(list(self.setting.finals))
        final = self.setting.finals[kind]
        of_final = {"total": 0, "more": 2, "fewer": 2}.get(kind, 1)
        opening = self._start(wanted - of_final)
        while len(self.steps) < wanted - of_final:
            if not self._event(wanted - of_final - len(self.steps)):
                return None
        if not self._end(kind, final) or len(self.steps) != wanted or self.value == 0:
            return None
        return self._problem(final, opening)

    def _problem(self, final: Final, opening: str) -> Problem:
        if self.rng.random() < ASIDE_SHARE:
            aside = self.rng.choice(ASIDES).format(n=self.rng.randint(3, 30))
            self.sentences.insert(self.rng.randint(1, len(self.sentences)), aside)
        self.sentences.append(self._words(self.rng.choice(final.questions)))
        text = ". ".join(sentence[0].upper() + sentence[1:] for sentence in self.sentences)
        return Problem(text, opening, tuple(self.steps), self._words(final.now), self.value)

    def _words(self, template: str) -> str:
        """The template with every slot filled except its numbers."""
        return template.format_map({**self.slots, "a": "{a}", "b": "{b}", "c": "{c}"})

    def _say(self, clause: str, left: int, right: int, *, link: bool = True) -> None:
        lead = self.rng.choice(LINKS) if link else ""
        self.sentences.append(lead + clause.format(a=left, b=right))

    def _step(self, left: int | Result, sign: Sign, right: int | Result, clause: str, now: str) -> bool:
        values = [self.results[x.step] if isinstance(x, Result) else x for x in (left, right)]
        result = compute(values[0], sign, values[1], self.level.largest)
        if result is None:
            return False
        self.steps.append(Step(left, sign, right, clause, now))
        self.results.append(result)
        self.value, self.operand = result, Result(len(self.steps) - 1)
        return True

    def _start(self, room: int) -> str:
        """Open the story; give the sentence that states a plain start, or nothing where the start is a computation."""
        self.results: list[int] = []
        kind = self.rng.choice(("one", "one", "two", "groups")) if room > 0 else "one"
        now = self._words(self.setting.now)
        if kind == "one":
            self.value = self.operand = self.rng.randint(6, 40)
            clause = self._words(self.rng.choice(self.setting.start))
            self._say(clause, 0, self.value, link=False)
            return self.sentences[-1]
        if kind == "two":
            left, right = self.rng.randint(4, 20), self.rng.randint(4, 20)
            clause = self._words(self.rng.choice(self.setting.start_two))
            self._step(left, "+", right, clause, now)
        else:
            left, right = self.rng.randint(2, 6), self.rng.randint(2, 9)
            clause = self._words(self.rng.choice(self.setting.start_groups))
            self._step(left, "*", right, clause, now)
        self._say(clause, left, right, link=False)
        return ""

    def _event(self, room: int) -> bool:
        """One thing that happens to the running number, of at most `room` computations."""
        kinds = ["gain", "lose", "gain", "lose", "double", "halve"] + ["gain_groups", "lose_groups"] * (
            3 if room > 1 else 0
        )
        kind = self.rng.choice(kinds)
        clause = self._words(self.rng.choice(getattr(self.setting, kind)))
        now = self._words(self.setting.now)
        sign = SIGNS[kind.removesuffix("_groups")]
        if kind.endswith("_groups"):
            return self._groups(clause, now, sign)
        number = 2 if kind in {"double", "halve"} else self.rng.randint(3, max(3, min(20, self.value - 2)))
        self._say(clause, 0, number)
        return self._step(self.operand, sign, number, clause, now)

    def _groups(self, clause: str, now: str, sign: Sign) -> bool:
        total, left, right = self.operand, self.rng.randint(2, 6), self.rng.randint(2, 9)
        self._say(clause, left, right)
        return self._step(left, "*", right, clause, "that is {c} in all") and self._step(
            total, sign, self.operand, "", now
        )

    def _end(self, kind: str, final: Final) -> bool:
        """The last sentence and its computations."""
        if kind == "total":
            return True
        clause, now = self._words(self.rng.choice(final.clauses)), self._words(final.now)
        if kind == "need":
            goal = self.rng.randint(*(min(self.value + more, self.level.largest) for more in (2, 20)))
            self._say(clause, goal, 0)
            return self._step(goal, "-", self.operand, clause, now)
        if kind in {"more", "fewer"}:
            return self._together(kind, clause, now)
        number = self.rng.randint(2, 6 if kind == "share" else 4)
        self._say(clause, 0, number)
        return self._step(self.operand, "/" if kind == "share" else "*", number, clause, now)

    def _together(self, kind: str, clause: str, now: str) -> bool:
        number, mine = self.rng.randint(2, 12), self.operand
        self._say(clause, 0, number)
        theirs = self._words("{other} has {c} {items}")
        return self._step(mine, "+" if kind == "more" else "-", number, clause, theirs) and self._step(
            mine, "+", self.operand, "", now
        )


def _slots(rng: random.Random, setting: Setting) -> dict[str, str]:
    """Words for every slot of a setting's sentences."""
    girl = rng.random() < GIRL_SHARE
    name = rng.choice(GIRLS if girl else BOYS)
    return {
        "name": name,
        "other": rng.choice([other for other in GIRLS + BOYS if other != name]),
        "sub": "she" if girl else "he",
        "obj": "her" if girl else "him",
        "poss": "her" if girl else "his",
        "items": rng.choice(setting.items),
        "boxes": rng.choice(BOXES),
        "kin": rng.choice(KIN),
        "stop": rng.choice(STOPS),
        "goods": rng.choice(GOODS),
        "job": rng.choice(JOBS),
    }
