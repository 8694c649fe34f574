"""Run one trigger at one share of the target: calibrate it on some problems, then evaluate it on others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from benchmarks.pocket.problems import problems
from benchmarks.triggers.entries import COIN_SAME_LENGTH, CUE, ENTRIES, Entry
from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.evaluation import Question, Variant, alone, evaluate
from langchain_spec_thinking.evaluation.calibration import calibrate_to_share, measure_share
from langchain_spec_thinking.evaluation.outcomes import SIDES
from langchain_spec_thinking.evaluation.policy_lines import parse_policy, save_policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from langchain_spec_thinking.evaluation.outcomes import Outcome
    from langchain_spec_thinking.policy import DelegationPolicy
    from langchain_spec_thinking.policy.triggers import TunableParameter

_SEED, _SAMPLE_SEED = 1, 2
_CONCURRENCY = 48
"""Number of turns that run at the same time in a process. They share forward passes."""
_MAX_TOKENS = 600
"""Maximum number of tokens of a turn, about twice the longest good turn."""


@dataclass(frozen=True)
class VariantAnswers:
    """The answers of one variant.

    Attributes:
        name: Name of a trigger or a coin. For a model alone, its side.
        share: Wanted share of the tokens for the target, from 0 to 1.
        setting: Value of the tuned parameter. Empty for a model alone.
        outcomes: In the order of the problems.
    """

    name: str
    share: float
    setting: str
    outcomes: tuple[Outcome, ...]


def pocket_pair() -> ChatSpeculativeThinking:
    """Return the pair that comes with the package."""
    return ChatSpeculativeThinking.pocket(max_tokens=_MAX_TOKENS)


@dataclass(frozen=True)
class Trial:
    """One job of a process. Runs that are already in its folder are not repeated.

    Attributes:
        folder: Folder for runs and policies.
        count: Number of problems to answer.
        sample: Number of other problems, on which the triggers are calibrated.
        trigger: A key of `ENTRIES`. None for both models alone.
        share: Wanted share of the tokens for the target, from 0 to 1.
        pair: Makes the pair that answers.
    """

    folder: Path
    count: int
    sample: int
    trigger: str | None = None
    share: float = 0.0
    pair: Callable[[], ChatSpeculativeThinking] = pocket_pair

    def run(self) -> list[VariantAnswers]:
        """Calibrate the trigger and answer the problems. For the cues, also run a coin with equally long takeovers."""
        model = self.pair()
        if self.trigger is None:
            both = [alone(model, side, side) for side in SIDES]
            return [VariantAnswers(c.name, float(c.name == "target"), "", self._answers(c)) for c in both]
        entries = {self.trigger: ENTRIES[self.trigger]}
        if self.trigger == CUE:
            length = self._calibrated_policy(CUE, entries[CUE]).takeover_tokens
            entries[COIN_SAME_LENGTH] = Entry.of_line(f"random,takeover_tokens={length}")
        found = []
        for name, entry in entries.items():
            policy = self._calibrated_policy(name, entry)
            outcomes = self._answers(Variant(name, model.model_copy(update={"policy": policy})))
            found.append(VariantAnswers(name, self.share, _describe_parameter(policy, entry.parameter), outcomes))
        return found

    @property
    def place(self) -> Path:
        """Folder of the runs."""
        return self.folder / (f"{self.trigger} {self.share:.0%}" if self.trigger else "alone").replace(" ", "_")

    def _answers(self, variant: Variant) -> tuple[Outcome, ...]:
        found = evaluate(_questions(_SEED, self.count), [variant], self.place, concurrency=_CONCURRENCY)
        return found.outcomes[variant.name]

    def _calibrated_policy(self, name: str, entry: Entry) -> DelegationPolicy:
        """Return the policy with the calibrated parameter. Calibrate only if no file holds the result."""
        file = self.place / f"{name} {self.sample}.json".replace(" ", "_")
        if not file.exists():
            questions = _questions(_SAMPLE_SEED, self.sample)
            best = calibrate_to_share(
                lambda value: measure_share(self.pair(), entry.at(value), questions, _CONCURRENCY),
                self.share,
                entry.parameter,
            )[0]
            save_policy(entry.at(best.value), file)
        return parse_policy(f"{name}:{file}")[1]


def _describe_parameter(policy: DelegationPolicy, parameter: TunableParameter) -> str:
    """Describe the value of a parameter. It belongs to the policy, to its trigger or to the last of its triggers."""
    last = getattr(policy.trigger, "triggers", (policy.trigger,))[-1]
    value = getattr(policy if hasattr(policy, parameter.field) else last, parameter.field)
    return f"{len(value)} {parameter.field}" if isinstance(value, tuple) else f"{parameter.field} {value}"


def _questions(seed: int, count: int) -> list[Question]:
    chosen = islice(problems(seed, "held_out"), count)
    return [Question(f"{seed}-{number}", problem.text, str(problem.answer)) for number, problem in enumerate(chosen)]
