"""The choice among policies, and the judgement whether the chosen one pays. All of it is pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from langchain_spec_thinking.evaluation.statistics import Interval, mean
from langchain_spec_thinking.evaluation.verdicts import MIN_QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.evaluation.results import Evaluation, Figures

SMALL, LARGE = "small", "target"
"""The names of the models alone, as in `spec-thinking evaluate`."""
Measure = Literal["cost", "time"]
_TINY = 1e-9


@dataclass(frozen=True)
class Goal:
    """What is wanted. Only one of `accuracy`, `cost` and `seconds` may be set.

    Attributes:
        accuracy: The cheapest policy that reaches this share of right answers, from 0 to 1.
        cost: The most accurate policy that costs at most this share of the large model's cost.
        seconds: The most accurate policy whose turns take at most this long on average, in seconds.
        margin: If none of them is set: the cheapest policy whose share of right answers is at most this much below that
            of the large model.
    """

    accuracy: float | None = None
    cost: float | None = None
    seconds: float | None = None
    margin: float = 0.03

    def __post_init__(self) -> None:
        """Refuse several goals and invalid values, with the name of the field in the error."""
        given = [name for name in ("accuracy", "cost", "seconds") if getattr(self, name) is not None]
        if len(given) > 1:
            msg = f"expected one of accuracy, cost and seconds, got {' and '.join(given)}"
            raise ValueError(msg)
        if self.accuracy is not None and not 0 < self.accuracy <= 1:
            msg = f"accuracy: expected a share of right answers above 0 and at most 1, got {self.accuracy!r}"
            raise ValueError(msg)
        for name in ("cost", "seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                msg = f"{name}: expected a number above 0, got {value!r}"
                raise ValueError(msg)
        if not 0 <= self.margin < 1:
            msg = f"margin: expected a share from 0 to 1, got {self.margin!r}"
            raise ValueError(msg)

    @property
    def measure(self) -> Measure:
        """What is to be saved: cost, or time if the goal is a number of seconds."""
        return "cost" if self.seconds is None else "time"

    @property
    def words(self) -> str:
        """The goal in words."""
        if self.accuracy is not None:
            return f"the cheapest that has {self.accuracy:.1%} right"
        if self.cost is not None:
            return f"the most accurate that costs at most {self.cost:.0%} of the large model alone"
        if self.seconds is not None:
            return f"the most accurate that takes at most {self.seconds:g} s per turn"
        return f"the cheapest that has at most {100 * self.margin:g} points fewer right than the large model alone"

    def met_by(self, figures: Figures, large: Figures) -> bool:
        """Return whether a variant reaches the goal, as far as the questions show."""
        if self.cost is not None:
            return mean_of(figures.costs) <= self.cost * mean_of(large.costs) + _TINY
        if self.seconds is not None:
            return mean_of(figures.seconds) <= self.seconds
        wanted = large.accuracy.value - self.margin if self.accuracy is None else self.accuracy
        return figures.accuracy.value >= wanted - _TINY

    def expenses(self, figures: Figures) -> Sequence[float]:
        """Return what each turn took of what is to be saved."""
        return figures.costs if self.measure == "cost" else figures.seconds


def choose(evaluation: Evaluation, goal: Goal) -> str | None:
    """Return the name of the variant that reaches the goal best. None if none reaches it.

    The models alone are among the variants. If two are equal, the cheaper or more accurate one is chosen, then a model
    alone, and then the one whose name comes first in the alphabet.
    """
    large = evaluation.figures[LARGE]
    reaching = {name: figures for name, figures in evaluation.figures.items() if goal.met_by(figures, large)}
    cheapest_first = goal.cost is None and goal.seconds is None

    def key(name: str) -> tuple[float, float, bool, str]:
        expense, wrong = mean_of(goal.expenses(reaching[name])), -reaching[name].accuracy.value
        first, second = (expense, wrong) if cheapest_first else (wrong, expense)
        return first, second, name not in {SMALL, LARGE}, name

    return min(reaching, key=key, default=None)


@dataclass(frozen=True)
class Judgement:
    """Whether a policy pays.

    Attributes:
        share: Share of the questions that a coin of the same expense sends to the large model.
        coin: Share of right answers of this coin, averaged over all draws.
        difference: Share of right answers of the policy minus that of the coin.
        enough: Whether there are enough questions for a verdict.
    """

    share: float
    coin: Interval
    difference: Interval
    enough: bool

    @property
    def pays(self) -> bool:
        """Whether the policy is better than a coin of the same expense, and chance does not explain it."""
        return self.enough and self.difference.low > 0


def judge(evaluation: Evaluation, name: str, goal: Goal) -> Judgement:
    """Compare a policy with a coin of the same expense over whole questions."""
    figures = evaluation.figures
    small, large, mine = (mean_of(goal.expenses(figures[one])) for one in (SMALL, LARGE, name))
    # If the pair takes more than the large model alone, the coin is the large model. If it takes less than the small
    # one, or if the large one takes no more than the small one, the cheaper of the two stands for the coin.
    share = min(1.0, max(0.0, (mine - small) / (large - small))) if large > small else 1.0
    coin, difference = evaluation.compare_with_coin(name, share)
    return Judgement(share, coin, difference, evaluation.count >= MIN_QUESTIONS)


def compare(one: Figures, other: Figures) -> Interval:
    """Return the share of right answers minus that of another variant on the same questions."""
    return mean([float(a) - float(b) for a, b in zip(one.is_right, other.is_right, strict=True)])


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of some values, 0 if there are none."""
    return sum(values) / len(values) if values else 0.0
