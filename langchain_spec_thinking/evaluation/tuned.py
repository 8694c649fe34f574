"""What a tuning found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from langchain_spec_thinking.evaluation.choice import LARGE, SMALL, Goal, Judgement, choose
from langchain_spec_thinking.evaluation.policy_code import policy_code
from langchain_spec_thinking.evaluation.policy_lines import format_policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from langchain_spec_thinking.evaluation.results import Evaluation
    from langchain_spec_thinking.policy import DelegationPolicy
    from langchain_spec_thinking.price import Price
    from langchain_spec_thinking.turn import Author

POLICY = "recommended.json"


@dataclass(frozen=True)
class Round:
    """A round of the halving.

    Attributes:
        evaluation: The models alone and all candidates of the round, on the questions so far.
        dropped: Names of the candidates that do not go on.
    """

    evaluation: Evaluation
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class Tuning:
    """What a tuning found.

    Attributes:
        goal: What was wanted.
        chosen: Name of the variant that was best on the choosing part. None if none reached the goal.
        policies: The policies that were tried, by name.
        rounds: The rounds on the choosing part.
        reporting: The models alone and the chosen policy, on the reporting part.
        judgement: Whether the chosen policy pays. None if no policy was chosen.
        prices: The prices. Empty if the cost is the number of tokens of the large model.
        left_out: Sentences that say which policies were not tried, and why.
        spent: What all turns cost, in the currency of the prices or in tokens of the large model.
        folder: The folder with all files.
    """

    goal: Goal
    chosen: str | None
    policies: Mapping[str, DelegationPolicy]
    rounds: tuple[Round, ...]
    reporting: Evaluation
    judgement: Judgement | None
    prices: Mapping[Author, Price]
    left_out: tuple[str, ...]
    spent: float
    folder: Path

    @property
    def pays(self) -> bool:
        """Whether the chosen policy is better than a coin of the same cost, and chance does not explain it."""
        return self.judgement is not None and self.judgement.pays

    @property
    def recommended(self) -> str:
        """Name of what to run: the chosen policy if it pays, or the model alone that is best (`small` or `target`)."""
        if self.chosen and (self.pays or self.chosen not in self.policies):
            return self.chosen
        models = {name: self.choosing.outcomes[name] for name in (SMALL, LARGE)}
        return choose(replace(self.choosing, outcomes=models), self.goal) or LARGE

    @property
    def choosing(self) -> Evaluation:
        """The results of the last round."""
        return self.rounds[-1].evaluation

    @property
    def unit(self) -> str:
        """What costs are counted in: money, or tokens of the large model."""
        return "cost" if self.prices else "large-model tokens"

    @property
    def policy(self) -> DelegationPolicy | None:
        """The recommended policy. None if one model alone is recommended."""
        return self.policies.get(self.recommended)

    @property
    def python(self) -> str | None:
        """The recommended policy as an expression of Python. None if one model alone is recommended."""
        return policy_code(self.policy) if self.policy else None

    @property
    def policy_line(self) -> str | None:
        """The recommended policy as a value of `--policy`. If no line can express it, the value names a file."""
        if self.policy is None:
            return None
        try:
            return format_policy(self.recommended, self.policy)
        except ValueError:
            return f"{self.recommended}:{self.folder / POLICY}"
