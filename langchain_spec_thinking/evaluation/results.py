"""What an evaluation found: figures for each variant, and what they say of each other."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.outcomes import SIDES, Outcome
from langchain_spec_thinking.evaluation.statistics import Interval, PairedTest, mcnemar, mean, ratio, wilson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_spec_thinking.policy import Price
    from langchain_spec_thinking.turn import Author


@dataclass(frozen=True)
class Figures:
    """The figures of one variant; all of its outcomes are those of the same questions.

    Attributes:
        outcomes: In the order of the questions.
        prices: Of the models; empty where they are not known.
        measured: Whether it ran at all: a coin over whole questions is put together from other runs.
    """

    outcomes: tuple[Outcome, ...]
    prices: Mapping[Author, Price] = field(default_factory=dict)
    measured: bool = True

    @property
    def count(self) -> int:
        """How many questions there are."""
        return len(self.outcomes)

    @cached_property
    def rights(self) -> tuple[bool, ...]:
        """Which answers are right."""
        return tuple(outcome.right for outcome in self.outcomes)

    @cached_property
    def accuracy(self) -> Interval:
        """Share of right answers, errors among the wrong ones."""
        return wilson(sum(self.rights), self.count)

    @property
    def errors(self) -> int:
        """How many questions ended in an error."""
        return sum(outcome.error is not None for outcome in self.outcomes)

    def tokens(self, author: Author) -> float:
        """Tokens kept for a question, of one author, in its vocabulary."""
        return sum(outcome.tokens[author] for outcome in self.outcomes) / self.count

    @property
    def length(self) -> float:
        """Tokens kept for a question, whoever wrote them."""
        return sum(outcome.length for outcome in self.outcomes) / self.count

    @property
    def target_share(self) -> Interval:
        """Share of the kept tokens that the target wrote."""
        parts = [outcome.tokens["target"] for outcome in self.outcomes]
        return ratio(parts, [outcome.length for outcome in self.outcomes])

    @property
    def takeovers(self) -> float:
        """How many of them a turn has."""
        return sum(len(outcome.takeovers) for outcome in self.outcomes) / self.count

    @cached_property
    def seconds(self) -> tuple[float, ...]:
        """How long each turn took, with as many others beside it as ran at a time."""
        return tuple(outcome.seconds for outcome in self.outcomes)

    @cached_property
    def costs(self) -> tuple[float, ...]:
        """What each turn cost, dropped tokens and prompts read again included; empty where prices are not known."""
        if not self.prices:
            return ()
        return tuple(sum(p.of(o.usage[side]) for side, p in self.prices.items()) for o in self.outcomes)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens kept in the time in which anything ran, all turns together."""
        busy, end = 0.0, 0.0
        for began, seconds in sorted((outcome.began, outcome.seconds) for outcome in self.outcomes):
            busy += max(0.0, began + seconds - max(began, end))
            end = max(end, began + seconds)
        return sum(outcome.length for outcome in self.outcomes) / busy if busy and self.measured else None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, for JSON."""
        return {
            "n": self.count,
            "right": sum(self.rights),
            "errors": self.errors,
            "accuracy": self.accuracy.as_dict(),
            "tokens": {side: self.tokens(side) for side in SIDES},
            "target_share": self.target_share.as_dict(),
            "tokens_per_second": self.tokens_per_second,
            "seconds": mean(self.seconds).as_dict(),
            "cost": mean(self.costs).as_dict() if self.costs else None,
            "takeovers": self.takeovers,
        }


@dataclass(frozen=True)
class Evaluation:
    """What came of every variant.

    Attributes:
        outcomes: By variant, in the order of the questions.
        alone: By variant, the side that is the whole of it; None for pairs, and for coins over whole questions.
        prices: Of the models; both, or none.
        coins: Names of variants that are put together from the runs of the models alone.
    """

    outcomes: Mapping[str, tuple[Outcome, ...]]
    alone: Mapping[str, Author | None]
    prices: Mapping[Author, Price] = field(default_factory=dict)
    coins: tuple[str, ...] = ()

    @cached_property
    def figures(self) -> dict[str, Figures]:
        """By variant."""
        return {
            name: Figures(outcomes, self.prices, measured=name not in self.coins)
            for name, outcomes in self.outcomes.items()
        }

    @property
    def count(self) -> int:
        """How many questions there are."""
        return len(next(iter(self.outcomes.values())))

    @property
    def pairs(self) -> list[str]:
        """The variants that are pairs of two models."""
        return [name for name in self.outcomes if self.alone[name] is None and name not in self.coins]

    def side(self, side: Author) -> str | None:
        """Return the name of the model alone, if it took part."""
        return next((name for name in self.outcomes if self.alone[name] == side), None)

    @cached_property
    def tests(self) -> dict[tuple[str, str], PairedTest]:
        """Each variant against each one before it."""
        names = list(self.figures)
        return {
            (later, name): mcnemar(self.figures[later].rights, self.figures[name].rights)
            for index, name in enumerate(names)
            for later in names[index + 1 :]
        }

    def with_coin(self, name: str, share: float, seed: int = 0) -> Evaluation:
        """Add a coin over whole questions: a share of them goes to the target, the others to the small model.

        Nothing is run for it. It is the control for every policy: as much of the target, no switching within an answer.

        Raises:
            ValueError: Both models alone did not take part, or the share is none.
        """
        small, target = self.side("speculative"), self.side("target")
        if small is None or target is None:
            msg = f"{name}: a coin over whole questions needs the runs of both models alone"
            raise ValueError(msg)
        if not 0 <= share <= 1 or name in self.outcomes:
            msg = f"{name}: expected a name of its own and a share from 0 to 1, got {share!r}"
            raise ValueError(msg)
        count = len(self.outcomes[small])
        drawn = set(random.Random(seed).sample(range(count), round(share * count)))  # noqa: S311 - repeatable, not secret
        pairs = zip(self.outcomes[small], self.outcomes[target], strict=True)
        mixed = tuple(large if number in drawn else little for number, (little, large) in enumerate(pairs))
        outcomes = {**self.outcomes, name: mixed}
        return replace(self, outcomes=outcomes, alone={**self.alone, name: None}, coins=(*self.coins, name))

    def against_coin(self, name: str, share: float) -> tuple[Interval, Interval]:
        """Compare a pair with what a coin over whole questions is expected to reach.

        Args:
            name: The pair.
            share: Of the questions for the target.

        Returns:
            The coin's accuracy, over all ways it may fall, and the paired difference to it.
        """
        little, large = (self.figures[self.side(side) or ""].rights for side in SIDES)
        expected = [share * b + (1 - share) * a for a, b in zip(little, large, strict=True)]
        differences = [mine - coin for mine, coin in zip(self.figures[name].rights, expected, strict=True)]
        return mean(expected), mean(differences)

    def cost_share(self, name: str) -> float | None:
        """Return the share of whole questions for the target at which a coin costs as much as a pair.

        None where prices are not known, or no coin costs as much.
        """
        if not self.prices:
            return None
        sides = [self.side(side) or "" for side in SIDES]
        small, target, pair = (sum(self.figures[one].costs) for one in (*sides, name))
        return (pair - small) / (target - small) if small <= pair <= target and small < target else None

    def among(self, *names: str) -> Evaluation:
        """Return the same of some variants, and of the questions that ended in no error with any of them."""
        lines = zip(*(self.outcomes[name] for name in names), strict=True)
        answered = [line for line in lines if all(outcome.error is None for outcome in line)]
        columns = zip(*answered, strict=True) if answered else ([] for _ in names)
        return replace(self, outcomes=dict(zip(names, map(tuple, columns), strict=True)))


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names of points (what it takes, what it gives) that no other point beats, cheapest first."""
    front: list[str] = []
    best = float("-inf")
    for name, (_, gives) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if gives > best:
            front.append(name)
            best = gives
    return front
