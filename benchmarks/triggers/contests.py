"""A trigger at a share of the target: set on some problems, tried on others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from benchmarks.pocket.problems import problems
from benchmarks.pocket.runs import AT_ONCE, MAX_TOKENS
from benchmarks.triggers.entries import AS_LONG, CUE, ENTRIES, Entry
from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.evaluation import Question, Variant, alone, evaluate
from langchain_spec_thinking.evaluation.calibration import calibrated, share_of
from langchain_spec_thinking.evaluation.outcomes import SIDES
from langchain_spec_thinking.evaluation.policy_lines import parse_policy, save_policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from langchain_spec_thinking.evaluation.calibration import TunableParameter
    from langchain_spec_thinking.evaluation.outcomes import Outcome
    from langchain_spec_thinking.policy import DelegationPolicy

_SEED, _SAMPLE_SEED = 1, 2


@dataclass(frozen=True)
class Answered:
    """What came of a variant.

    Attributes:
        name: A trigger's, a coin's or, of a model alone, its side.
        share: Of the tokens, what the target was to write.
        setting: The value of its tunable parameter; empty for a model alone.
        outcomes: In the order of the problems.
    """

    name: str
    share: float
    setting: str
    outcomes: tuple[Outcome, ...]


def pocket_pair() -> ChatSpeculativeThinking:
    """Return the pair that comes with the package."""
    return ChatSpeculativeThinking.pocket(max_tokens=MAX_TOKENS)


@dataclass(frozen=True)
class Contest:
    """What a process does in one go; what lies in its folder is not run again.

    Attributes:
        folder: Where runs and policies are kept.
        count: How many problems are answered.
        sample: On how many others the triggers are set.
        trigger: A key of `ENTRIES`; None for both models alone.
        share: Of the tokens, for the target.
        pair: Makes who answers.
    """

    folder: Path
    count: int
    sample: int
    trigger: str | None = None
    share: float = 0.0
    pair: Callable[[], ChatSpeculativeThinking] = pocket_pair

    def run(self) -> list[Answered]:
        """Set the trigger and have the problems answered; the cues bring the coin along that is as long as they are."""
        model = self.pair()
        if self.trigger is None:
            both = [alone(model, side, side) for side in SIDES]
            return [Answered(c.name, float(c.name == "target"), "", self._answers(c)) for c in both]
        entries = {self.trigger: ENTRIES[self.trigger]}
        if self.trigger == CUE:
            length = self._set(CUE, entries[CUE]).takeover_tokens
            entries[AS_LONG] = Entry.of_line(f"random,takeover_tokens={length}")
        found = []
        for name, entry in entries.items():
            policy = self._set(name, entry)
            outcomes = self._answers(Variant(name, model.model_copy(update={"policy": policy})))
            found.append(Answered(name, self.share, _told(policy, entry.parameter), outcomes))
        return found

    @property
    def place(self) -> Path:
        """Where its runs lie."""
        return self.folder / (f"{self.trigger} {self.share:.0%}" if self.trigger else "alone").replace(" ", "_")

    def _answers(self, variant: Variant) -> tuple[Outcome, ...]:
        found = evaluate(_questions(_SEED, self.count), [variant], self.place, concurrency=AT_ONCE)
        return found.outcomes[variant.name]

    def _set(self, name: str, entry: Entry) -> DelegationPolicy:
        """Turn the parameter of a trigger, unless that was done before."""
        file = self.place / f"{name} {self.sample}.json".replace(" ", "_")
        if not file.exists():
            questions = _questions(_SAMPLE_SEED, self.sample)
            best = calibrated(
                lambda value: share_of(self.pair(), entry.at(value), questions, AT_ONCE), self.share, entry.parameter
            )[0]
            save_policy(entry.at(best.value), file)
        return parse_policy(f"{name}:{file}")[1]


def _told(policy: DelegationPolicy, parameter: TunableParameter) -> str:
    """Say how a parameter stands, whether it is the policy's, its trigger's, or that of the last of its triggers."""
    last = getattr(policy.trigger, "triggers", (policy.trigger,))[-1]
    value = getattr(policy if hasattr(policy, parameter.field) else last, parameter.field)
    return f"{len(value)} {parameter.field}" if isinstance(value, tuple) else f"{parameter.field} {value}"


def _questions(seed: int, count: int) -> list[Question]:
    chosen = islice(problems(seed, "held_out"), count)
    return [Question(f"{seed}-{number}", problem.text, str(problem.answer)) for number, problem in enumerate(chosen)]
