"""Results of an evaluation: figures of each variant, and comparisons between variants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.coins import PREFIX, Coin
from langchain_spec_thinking.evaluation.outcomes import SIDES, Outcome
from langchain_spec_thinking.evaluation.statistics import Interval, PairedTest, mcnemar, mean, ratio, wilson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_spec_thinking.price import Price
    from langchain_spec_thinking.turn import Author


@dataclass(frozen=True)
class Figures:
    """The figures of one variant. All variants answer the same questions.

    Attributes:
        outcomes: In the order of the questions.
        prices: Price of each model. Empty if the prices are not known.
    """

    outcomes: tuple[Outcome, ...]
    prices: Mapping[Author, Price] = field(default_factory=dict)

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
        """Kept tokens of all turns per second in which any turn ran. None if no time was measured."""
        busy, end = 0.0, 0.0
        for began, seconds in sorted((outcome.began, outcome.seconds) for outcome in self.outcomes):
            busy += max(0.0, began + seconds - max(began, end))
            end = max(end, began + seconds)
        return sum(outcome.length for outcome in self.outcomes) / busy if busy else None

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
        alone: By variant, the side that answers alone. None for pairs. A further model that answers alone counts as a
            target; the target of the pairs is the first one.
        prices: Prices of both models, or empty.
        further_prices: By variant, the prices of the further models.
    """

    outcomes: Mapping[str, tuple[Outcome, ...]]
    alone: Mapping[str, Author | None]
    prices: Mapping[Author, Price] = field(default_factory=dict)
    further_prices: Mapping[str, Price] = field(default_factory=dict)

    @cached_property
    def figures(self) -> dict[str, Figures]:
        """Figures of the variants that ran."""
        return {name: Figures(outcomes, self._prices_of(name)) for name, outcomes in self.outcomes.items()}

    @cached_property
    def coins(self) -> dict[str, Coin]:
        """The coin over whole questions of each pair, by pair.

        If prices are known, the coin costs as much as the pair. There is none if the pair costs less than the small
        model alone, or more than the large one. Without prices, the large model writes the same share as in the pair.
        Without the runs of both models alone, there is no coin.
        """
        small, large = (self.side(side) for side in SIDES)
        if small is None or large is None:
            return {}
        shares = {
            name: self.cost_share(name) if self.prices else self.figures[name].target_share.value for name in self.pairs
        }
        return {
            name: Coin(self.figures[small], self.figures[large], share)
            for name, share in shares.items()
            if share is not None
        }

    @property
    def rows(self) -> dict[str, Figures | Coin]:
        """Figures of the variants and of the coins, for tables and plots. A coin comes after its pair."""
        found: dict[str, Figures | Coin] = {}
        for name, figures in self.figures.items():
            found[name] = figures
            if name in self.coins:
                found[f"{PREFIX}{name}"] = self.coins[name]
        return found

    @property
    def count(self) -> int:
        """Number of questions."""
        return len(next(iter(self.outcomes.values())))

    @property
    def pairs(self) -> list[str]:
        """Names of the variants that are pairs of two models."""
        return [name for name in self.outcomes if self.alone[name] is None]

    @property
    def further(self) -> list[str]:
        """Names of the variants in which a further model answers alone, which is in no pair."""
        sides = {self.side(side) for side in SIDES}
        return [name for name in self.outcomes if self.alone[name] is not None and name not in sides]

    def side(self, side: Author) -> str | None:
        """Return the name of the variant in which one model of the pairs answers alone, or None."""
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

    def compare_with_coin(self, name: str, share: float) -> tuple[Interval, Interval]:
        """Compare a pair with the expected result of a coin over whole questions.

        Args:
            name: Name of the pair.
            share: Share of the questions that the coin sends to the target.

        Returns:
            The coin's accuracy, averaged over all possible draws, and the paired difference of the pair to it.
        """
        small, large = (self.figures[self.side(side) or ""] for side in SIDES)
        coin = Coin(small, large, share)
        differences = [mine - its for mine, its in zip(self.figures[name].is_right, coin.is_right, strict=True)]
        return coin.accuracy, mean(differences)

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

    def _prices_of(self, name: str) -> Mapping[Author, Price]:
        if name in self.further_prices:
            return {"target": self.further_prices[name]}
        return self.prices


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names of the points (cost, gain) that no other point beats. The cheapest comes first."""
    front: list[str] = []
    best = float("-inf")
    for name, (_, gives) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if gives > best:
            front.append(name)
            best = gives
    return front
