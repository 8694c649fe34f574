"""A trigger at a share of the target: set on some problems, tried on others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from benchmarks.pocket.problems import problems
from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.evaluation import Contestant, Question, alone, evaluate
from langchain_spec_thinking.evaluation.knobs import calibrated, share_of, turned, untuned
from langchain_spec_thinking.evaluation.outcomes import SIDES
from langchain_spec_thinking.evaluation.policy_lines import format_policy, parse_policy, save_policy

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_spec_thinking.evaluation.outcomes import Outcome
    from langchain_spec_thinking.policy import DelegationPolicy

SHARES = (0.1, 0.2, 0.4)
"""Of the tokens, for the target."""
CUE, AS_LONG, WHOLE = "cue", "coin, as long", "coin, whole steps"
TRIGGERS = {
    CUE: "cue",
    WHOLE: "random,takeover_tokens=None",
    "entropy": "first_token_entropy",
    "score": "score_and_accept",
    "target leads": "target_leads,cues=let|hmm|wait|hold on",
}
"""As `spec-thinking calibrate --trigger` takes them. The cues of the leading target are how checks begin here."""
CONTROLS = {CUE: AS_LONG} | dict.fromkeys(TRIGGERS.keys() - {CUE, WHOLE}, WHOLE)
"""The coin that each has to beat: one whose takeovers are as long as its own."""
AT_ONCE = 48
"""Turns that run at the same time in a process."""
MAX_TOKENS = 1400
"""Most tokens of a turn, about twice what the longest good one takes."""
_SEED, _SAMPLE_SEED = 1, 2


@dataclass(frozen=True)
class Answered:
    """What came of a contestant.

    Attributes:
        name: A trigger's, a coin's or, of a model alone, its side.
        share: Of the tokens, what the target was to write.
        setting: Its policy, as `spec-thinking evaluate --policy` takes it; empty for a model alone.
        outcomes: In the order of the problems.
    """

    name: str
    share: float
    setting: str
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Contest:
    """What a process does in one go; what lies in its folder is not run again.

    Attributes:
        folder: Where runs and policies are kept.
        count: How many problems are answered.
        sample: On how many others the triggers are set.
        trigger: A key of `TRIGGERS`; None for both models alone.
        share: Of the tokens, for the target.
    """

    folder: Path
    count: int
    sample: int
    trigger: str | None = None
    share: float = 0.0

    def run(self) -> list[Answered]:
        """Set the trigger and have the problems answered; the cues bring the coin along that is as long as they are."""
        model = _pair()
        if self.trigger is None:
            both = [alone(model, side, side) for side in SIDES]
            return [Answered(c.name, float(c.name == "target"), "", self._answers(c)) for c in both]
        policies = {self.trigger: self._set(self.trigger, TRIGGERS[self.trigger])}
        if self.trigger == CUE:
            policies[AS_LONG] = self._set(AS_LONG, f"random,takeover_tokens={policies[CUE].takeover_tokens}")
        return [
            Answered(name, self.share, format_policy("x", policy).removeprefix("x:"), self._answers(contestant))
            for name, policy in policies.items()
            for contestant in [Contestant(name, model.model_copy(update={"policy": policy}))]
        ]

    @property
    def place(self) -> Path:
        """Where its runs lie."""
        return self.folder / (f"{self.trigger} {self.share:.0%}" if self.trigger else "alone").replace(" ", "_")

    def _answers(self, contestant: Contestant) -> tuple[Outcome, ...]:
        found = evaluate(_questions(_SEED, self.count), [contestant], self.place, concurrency=AT_ONCE)
        return found.outcomes[contestant.name]

    def _set(self, name: str, line: str) -> DelegationPolicy:
        """Turn the knob of a trigger, unless that was done before."""
        file = self.place / f"{name}.json".replace(" ", "_")
        if not file.exists():
            policy, knob = untuned(line)
            questions = _questions(_SAMPLE_SEED, self.sample)
            best = calibrated(
                lambda value: share_of(_pair(), turned(policy, knob, value), questions, AT_ONCE), self.share, knob
            )[0]
            save_policy(turned(policy, knob, best.value), file)
        return parse_policy(f"{name}:{file}")[1]


def _pair() -> ChatSpeculativeThinking:
    return ChatSpeculativeThinking.pocket(max_tokens=MAX_TOKENS)


def _questions(seed: int, count: int) -> list[Question]:
    chosen = islice(problems(seed, "held_out"), count)
    return [Question(f"{seed}-{number}", problem.text, str(problem.answer)) for number, problem in enumerate(chosen)]
