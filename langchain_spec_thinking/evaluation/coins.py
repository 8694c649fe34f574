"""Coins over whole questions: the control for every pair, composed of the runs of both models alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.outcomes import SIDES
from langchain_spec_thinking.evaluation.statistics import Interval, mean, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.evaluation.results import Figures
    from langchain_spec_thinking.turn import Author

PREFIX = "coin as "
"""Begins the name of a coin. The name of its pair follows."""


@dataclass(frozen=True)
class Coin:
    """The expected figures of a coin: the large model gets a random share of the questions, the small model the others.

    No model runs, because the figures come from the runs of both models alone. They are averages over all possible
    draws, so they do not depend on luck.

    Attributes:
        small: The small model alone.
        large: The large model alone, on the same questions.
        share: Share of the questions for the large model, from 0 to 1.
    """

    small: Figures
    large: Figures
    share: float

    @property
    def count(self) -> int:
        """Number of questions."""
        return self.large.count

    @cached_property
    def is_right(self) -> tuple[float, ...]:
        """Probability of a right answer, for each question."""
        return self._mixed(self.small.is_right, self.large.is_right)

    @cached_property
    def accuracy(self) -> Interval:
        """Expected share of right answers. Its interval treats the questions as the sample, not the draws."""
        return mean(self.is_right)

    def tokens(self, author: Author) -> float:
        """Return the mean number of kept tokens of an author per question, in the author's own vocabulary."""
        return sum(self._tokens(author)) / self.count

    @property
    def target_share(self) -> Interval:
        """Share of the kept tokens that the target writes."""
        target = self._tokens("target")
        return ratio(target, [sum(both) for both in zip(self._tokens("speculative"), target, strict=True)])

    @cached_property
    def seconds(self) -> tuple[float, ...]:
        """Expected duration of each turn in seconds, as in the runs of both models alone."""
        return self._mixed(self.small.seconds, self.large.seconds)

    @cached_property
    def costs(self) -> tuple[float, ...]:
        """Expected cost of each turn. Empty if prices are not known."""
        return self._mixed(self.small.costs, self.large.costs)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON. The figures that only a run can have are None."""
        return {
            "n": self.count,
            "right": sum(self.is_right),
            "errors": None,
            "accuracy": self.accuracy.as_dict(),
            "tokens": {side: self.tokens(side) for side in SIDES},
            "target_share": self.target_share.as_dict(),
            "tokens_per_second": None,
            "seconds": mean(self.seconds).as_dict(),
            "cost": mean(self.costs).as_dict() if self.costs else None,
            "takeovers": None,
            "questions_share": self.share,
        }

    def _tokens(self, author: Author) -> tuple[float, ...]:
        runs = ([outcome.tokens[author] for outcome in one.outcomes] for one in (self.small, self.large))
        return self._mixed(*runs)

    def _mixed(self, small: Sequence[float], large: Sequence[float]) -> tuple[float, ...]:
        return tuple((1 - self.share) * a + self.share * b for a, b in zip(small, large, strict=True))
