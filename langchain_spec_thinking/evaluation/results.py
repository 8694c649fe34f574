"""Results of an evaluation: figures of each variant, and comparisons between variants."""

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
    """The figures of one variant. All variants answer the same questions.

    Attributes:
        outcomes: In the order of the questions.
        prices: Price of each model. Empty if the prices are not known.
        measured: Whether the variant was run. A coin over whole questions is composed of other runs.
    """

    outcomes: tuple[Outcome, ...]
    prices: Mapping[Author, Price] = field(default_factory=dict)
    measured: bool = True

    @property
    def count(self) -> int:
        """Number of questions."""
        return len(self.outcomes)

    @cached_property
    def is_right(self) -> tuple[bool, ...]:
        """Whether each answer is right."""
        return tuple(outcome.right for outcome in self.outcomes)

    @cached_property
    def accuracy(self) -> Interval:
        """Share of right answers. A question that ended in an error counts as wrong."""
        return wilson(sum(self.is_right), self.count)

    @property
    def errors(self) -> int:
        """Number of questions that ended in an error."""
        return sum(outcome.error is not None for outcome in self.outcomes)

    def tokens(self, author: Author) -> float:
        """Return the mean number of kept tokens of an author per question, in the author's own vocabulary."""
        return sum(outcome.tokens[author] for outcome in self.outcomes) / self.count

    @property
    def length(self) -> float:
        """Mean number of kept tokens of both models per question."""
        return sum(outcome.length for outcome in self.outcomes) / self.count

    @property
    def target_share(self) -> Interval:
        """Share of the kept tokens that the target wrote."""
        parts = [outcome.tokens["target"] for outcome in self.outcomes]
        return ratio(parts, [outcome.length for outcome in self.outcomes])

    @property
    def takeovers(self) -> float:
        """Mean number of takeovers per turn."""
        return sum(len(outcome.takeovers) for outcome in self.outcomes) / self.count

    @cached_property
    def seconds(self) -> tuple[float, ...]:
        """Duration of each turn in seconds, while other turns ran at the same time."""
        return tuple(outcome.seconds for outcome in self.outcomes)

    @cached_property
    def costs(self) -> tuple[float, ...]:
        """Cost of each turn with discarded tokens and prompts that were read again. Empty if prices are not known."""
        if not self.prices:
            return ()
        return tuple(sum(p.of(o.usage[side]) for side, p in self.prices.items()) for o in self.outcomes)

    @property
    def tokens_per_second(self) -> float | None:
        """Kept tokens of all turns per second in which any turn ran. None if the variant was not run."""
        busy, end = 0.0, 0.0
        for began, seconds in sorted((outcome.began, outcome.seconds) for outcome in self.outcomes):
            busy += max(0.0, began + seconds - max(began, end))
            end = max(end, began + seconds)
        return sum(outcome.length for outcome in self.outcomes) / busy if busy and self.measured else None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "n": self.count,
            "right": sum(self.is_right),
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
    """The outcomes of all variants.

    Attributes:
        outcomes: By variant, in the order of the questions.
        alone: By variant, the side that answers alone. None for pairs and for coins over whole questions.
        prices: Prices of both models, or empty.
        coins: Names of the variants that are composed of the runs of both models alone.
    """

    outcomes: Mapping[str, tuple[Outcome, ...]]
    alone: Mapping[str, Author | None]
    prices: Mapping[Author, Price] = field(default_factory=dict)
    coins: tuple[str, ...] = ()

    @cached_property
    def figures(self) -> dict[str, Figures]:
        """Figures by variant."""
        return {
            name: Figures(outcomes, self.prices, measured=name not in self.coins)
            for name, outcomes in self.outcomes.items()
        }

    @property
    def count(self) -> int:
        """Number of questions."""
        return len(next(iter(self.outcomes.values())))

    @property
    def pairs(self) -> list[str]:
        """Names of the variants that are pairs of two models."""
        return [name for name in self.outcomes if self.alone[name] is None and name not in self.coins]

    def side(self, side: Author) -> str | None:
        """Return the name of the variant in which one model answers alone, or None."""
        return next((name for name in self.outcomes if self.alone[name] == side), None)

    @cached_property
    def tests(self) -> dict[tuple[str, str], PairedTest]:
        """Paired test of each variant against every variant before it."""
        names = list(self.figures)
        return {
            (later, name): mcnemar(self.figures[later].is_right, self.figures[name].is_right)
            for index, name in enumerate(names)
            for later in names[index + 1 :]
        }

    def with_coin(self, name: str, share: float, seed: int = 0) -> Evaluation:
        """Add a coin over whole questions: the target gets a random share of them, the small model the others.

        No model runs, because the outcomes come from the runs of both models alone. The coin is the control for every
        policy: it uses the same share of the target, but does not switch within an answer.

        Raises:
            ValueError: The runs of a model alone are missing, the name is taken, or the share is not from 0 to 1.
        """
        small, large = self.side("speculative"), self.side("target")
        if small is None or large is None:
            msg = f"{name}: a coin over whole questions needs the runs of both models alone"
            raise ValueError(msg)
        if not 0 <= share <= 1 or name in self.outcomes:
            msg = f"{name}: expected a name of its own and a share from 0 to 1, got {share!r}"
            raise ValueError(msg)
        count = len(self.outcomes[small])
        drawn = set(random.Random(seed).sample(range(count), round(share * count)))  # noqa: S311 - repeatable, not secret
        pairs = zip(self.outcomes[small], self.outcomes[large], strict=True)
        mixed = tuple(by_large if number in drawn else by_small for number, (by_small, by_large) in enumerate(pairs))
        outcomes = {**self.outcomes, name: mixed}
        return replace(self, outcomes=outcomes, alone={**self.alone, name: None}, coins=(*self.coins, name))

    def compare_with_coin(self, name: str, share: float) -> tuple[Interval, Interval]:
        """Compare a pair with the expected result of a coin over whole questions.

        Args:
            name: Name of the pair.
            share: Share of the questions that the coin sends to the target.

        Returns:
            The coin's accuracy, averaged over all possible draws, and the paired difference of the pair to it.
        """
        small, large = (self.figures[self.side(side) or ""].is_right for side in SIDES)
        expected = [share * b + (1 - share) * a for a, b in zip(small, large, strict=True)]
        differences = [mine - coin for mine, coin in zip(self.figures[name].is_right, expected, strict=True)]
        return mean(expected), mean(differences)

    def cost_share(self, name: str) -> float | None:
        """Return the share of whole questions for the target at which a coin costs as much as a pair.

        Returns None if prices are not known or if no coin costs as much.
        """
        if not self.prices:
            return None
        sides = [self.side(side) or "" for side in SIDES]
        small, target, pair = (sum(self.figures[one].costs) for one in (*sides, name))
        return (pair - small) / (target - small) if small <= pair <= target and small < target else None

    def restricted_to(self, *names: str) -> Evaluation:
        """Return an evaluation of some variants, without the questions that ended in an error with any of them."""
        lines = zip(*(self.outcomes[name] for name in names), strict=True)
        answered = [line for line in lines if all(outcome.error is None for outcome in line)]
        columns = zip(*answered, strict=True) if answered else ([] for _ in names)
        return replace(self, outcomes=dict(zip(names, map(tuple, columns), strict=True)))


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names of the points (cost, gain) that no other point beats. The cheapest comes first."""
    front: list[str] = []
    best = float("-inf")
    for name, (_, gives) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if gives > best:
            front.append(name)
            best = gives
    return front
