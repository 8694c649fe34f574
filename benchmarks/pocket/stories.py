"""The story of a problem: a start, events that change the number, an end, and sometimes a distractor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.pocket.lexicon import (
    BOYS,
    CHORES,
    CONTAINERS,
    DISTRACTORS,
    GIRLS,
    GOODS,
    KIN,
    LINKS,
    STOPS,
    TASKS,
    Final,
    Setting,
    plural,
)
from benchmarks.pocket.problems import LEAST, Level, Problem, Result, Sign, Step, Sum, compute, hard
from benchmarks.pocket.worlds import SETTINGS

if TYPE_CHECKING:
    import random

SIGNS: dict[str, Sign] = {"gain": "+", "lose": "-", "double": "*", "halve": "/"}
PARTS = {3: "a third", 4: "a quarter"}
OF_FINAL = {"total": 0, "more": 2, "fewer": 2}
"""Computations that an end takes; the others take one."""
TRIES = 12
GIRL_SHARE = 0.5
SHORT_SHARE = 0.5
"""How often a number that is added or taken away has a single digit."""


class Story:
    """A problem while it is being made up.

    Args:
        rng: Of everything that is drawn.
        level: How hard it is to be.
        wanted: Number of computations.
    """

    def __init__(self, rng: random.Random, level: Level, wanted: int) -> None:
        self._rng = rng
        self._level = level
        self._wanted = wanted
        self._setting: Setting = rng.choice(SETTINGS)
        self._slots = _slots(rng, self._setting)
        self._sentences: list[str] = []
        self._steps: list[Step] = []
        self._results: list[int] = []
        self._value = 0
        self._operand: int | Result = 0

    def tell(self) -> Problem | None:
        """Return the problem of a new story, or None if the drawn numbers do not fit."""
        finals = self._setting.finals
        kind = self._rng.choice([kind for kind in finals if OF_FINAL.get(kind, 1) <= self._wanted])
        before = self._wanted - OF_FINAL.get(kind, 1)
        opening = self._start(before)
        while len(self._steps) < before:
            if not any(self._event(before - len(self._steps)) for _ in range(TRIES)):
                return None
        if not any(self._end(kind, finals[kind]) for _ in range(TRIES)):
            return None
        return self._problem(finals[kind], opening)

    def _problem(self, final: Final, opening: str) -> Problem:
        distracted = self._rng.random() < self._level.distractors
        if distracted:
            distractor = self._words(self._rng.choice(DISTRACTORS)).format(n=self._rng.randint(3, 30))
            self._sentences.insert(self._rng.randint(1, len(self._sentences)), distractor)
        self._sentences.append(self._words(self._rng.choice(final.questions)))
        text = ". ".join(sentence[0].upper() + sentence[1:] for sentence in self._sentences)
        return Problem(text, opening, tuple(self._steps), self._words(final.now), self._value, int(distracted))

    def _words(self, template: str) -> str:
        """Fill every slot of a template, except its numbers."""
        return template.format_map({**self._slots, "a": "{a}", "b": "{b}", "c": "{c}", "n": "{n}"})

    def _add(self, clause: str, steps: list[Step], numbers: tuple[int, int], *, link: bool = False) -> bool:
        """Add a sentence and its computations. Return False and add nothing if a number is not allowed."""
        results = [*self._results]
        for step in steps:
            left, right = (results[x.step] if isinstance(x, Result) else x for x in (step.left, step.right))
            result = compute(left, step.sign, right, self._level.largest)
            if result is None:
                return False
            results.append(result)
            if hard(Sum(left, step.sign, right, result)) and not self._allowed():
                return False
        lead = self._rng.choice(LINKS) if link else ""
        self._sentences.append(lead + clause.format(a=numbers[0], b=numbers[1]))
        self._steps += steps
        self._results = results
        self._value, self._operand = results[-1], Result(len(results) - 1)
        return True

    def _allowed(self) -> bool:
        """Return whether a hard computation is allowed."""
        return self._level.carries >= 1 or self._rng.random() < self._level.carries

    def _start(self, room: int) -> str:
        """Add the first sentence. Return it if it states a number, and an empty string if it needs a computation."""
        rng = self._rng
        kind = rng.choice(("one", "one", "two", "groups")) if room > 0 else "one"
        if kind == "one":
            self._value = self._operand = rng.randint(6, 60)
            clause = self._words(rng.choice(self._setting.start))
            self._sentences.append(clause.format(b=self._value))
            return self._sentences[0]
        if kind == "two":
            clause, added = self._words(rng.choice(self._setting.start_two)), False
            while not added:
                left, right = rng.randint(4, 40), rng.randint(4, 40)
                added = self._add(clause, [Step(left, "+", right, clause)], (left, right))
        else:
            left, right = rng.randint(2, 9), rng.randint(2, 9)
            clause = self._words(rng.choice(self._setting.start_groups))
            self._add(clause, [Step(left, "*", right, clause)], (left, right))
        return ""

    def _event(self, room: int) -> bool:
        """Try to add an event of at most `room` computations that changes the number."""
        rng = self._rng
        kinds = ["gain", "lose", "gain", "lose", "gain", "lose", "double", "halve"]
        if room > 1:
            kinds += ["gain_groups", "lose_groups", "gain_groups", "lose_groups", "part"]
        kind = rng.choice(kinds)
        clause = self._words(rng.choice(getattr(self._setting, kind)))
        if kind == "part":
            return self._part(clause)
        sign = SIGNS[kind.removesuffix("_groups")]
        if kind.endswith("_groups"):
            left, right = rng.randint(2, 9), rng.randint(2, 9)
            product = Result(len(self._steps))
            steps = [Step(left, "*", right, clause), Step(self._operand, sign, product, "")]
            return self._add(clause, steps, (left, right), link=True)
        if kind in {"double", "halve"}:
            return self._add(clause, [Step(self._operand, sign, 2, clause)], (0, 2), link=True)
        number = rng.randint(2, 9) if rng.random() < SHORT_SHARE else rng.randint(10, 40)
        return self._add(clause, [Step(self._operand, sign, number, clause)], (0, number), link=True)

    def _part(self, clause: str) -> bool:
        number = self._rng.choice(list(PARTS))
        clause = clause.replace("<part>", PARTS[number])
        gone = Result(len(self._steps))
        steps = [Step(self._operand, "/", number, clause), Step(self._operand, "-", gone, "")]
        return self._add(clause, steps, (0, number), link=True)

    def _end(self, kind: str, final: Final) -> bool:
        """Try to add the last sentence and its computations."""
        if kind == "total":
            return True
        rng = self._rng
        clause = self._words(rng.choice(final.clauses))
        if kind in {"need", "ahead"}:
            goal = self._value + rng.randint(LEAST, 40)
            return goal <= self._level.largest and self._add(
                clause, [Step(goal, "-", self._operand, clause)], (goal, 0)
            )
        if kind in {"more", "fewer"}:
            number, theirs = rng.randint(2, 20), Result(len(self._steps))
            sign: Sign = "+" if kind == "more" else "-"
            steps = [Step(self._operand, sign, number, clause), Step(self._operand, "+", theirs, "")]
            return self._add(clause, steps, (0, number))
        number = rng.randint(3, 5) if kind == "times" else rng.randint(2, 9)
        sign = "/" if kind in {"share", "pack"} else "*"
        return self._add(clause, [Step(self._operand, sign, number, clause)], (0, number))


def _slots(rng: random.Random, setting: Setting) -> dict[str, str]:
    """Words for every slot of a setting's sentences."""
    girl = rng.random() < GIRL_SHARE
    name = rng.choice(GIRLS if girl else BOYS)
    item, good = rng.choice(setting.items), rng.choice(GOODS)
    return {
        "name": name,
        "other": rng.choice([other for other in GIRLS + BOYS if other != name]),
        "sub": "she" if girl else "he",
        "obj": "her" if girl else "him",
        "poss": "her" if girl else "his",
        "item": item,
        "items": plural(item),
        "boxes": rng.choice(CONTAINERS),
        "kin": rng.choice(KIN),
        "stop": rng.choice(STOPS),
        "good": good,
        "goods": plural(good),
        "chore": rng.choice(CHORES),
        "task": rng.choice(TASKS),
        "part": "<part>",
    }
