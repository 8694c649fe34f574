"""Which triggers are compared, and which parameter of each is tuned until the target has its share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from langchain_spec_thinking import (
    AllOf,
    AnyOf,
    CueTrigger,
    DelegationPolicy,
    FirstTokenEntropy,
    RandomTrigger,
    TargetLeads,
)
from langchain_spec_thinking.evaluation.calibration import (
    TUNABLE_PARAMETERS,
    TunableParameter,
    parse_trigger,
    with_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SHARES = (0.1, 0.2, 0.4)
"""Of the tokens, for the target."""


@dataclass(frozen=True)
class Entry:
    """A trigger that is to be set.

    Attributes:
        at: The policy at a setting of the parameter.
        parameter: The parameter that is tuned.
        shares: Which shares of the target it takes part with.
    """

    at: Callable[[float], DelegationPolicy]
    parameter: TunableParameter
    shares: tuple[float, ...] = SHARES

    @classmethod
    def of_line(cls, line: str) -> Entry:
        """A trigger as `spec-thinking calibrate --trigger` takes it."""
        policy, parameter = parse_trigger(line)
        return cls(partial(with_value, policy, parameter), parameter)


def _rarer(value: float) -> DelegationPolicy:
    return DelegationPolicy(trigger=AllOf(CueTrigger(), RandomTrigger(value)))


def _either(value: float) -> DelegationPolicy:
    return DelegationPolicy(trigger=AnyOf(CueTrigger(), FirstTokenEntropy(value)))


def _relayed(openings: float) -> DelegationPolicy:
    return DelegationPolicy(trigger=TargetLeads(OPENINGS[: int(openings)]))


OPENINGS = ("let", "hmm", "he", "wait", "a", "with", "hold on", "each", "she", "there", "half", "the", "4", "max", "at")
"""How steps of the large pocket model begin, the most frequent ones first."""
CUE, AS_LONG, COIN = "cue", "coin, as long", "coin, whole steps"
ENTRIES = {
    CUE: Entry.of_line("cue"),
    COIN: Entry.of_line("random,takeover_tokens=None"),
    "entropy": Entry.of_line("first_token_entropy"),
    "score": Entry.of_line("score_and_accept"),
    # As in RelayGen whole steps go to the small model; by which cues, decides how much is left to the target.
    "target leads": Entry(_relayed, TunableParameter("cues", never=len(OPENINGS), always=1, whole=True)),
    # Cues alone give the target about 15%: less by heeding some of them, more by another rule beside them.
    "all of cue, coin": Entry(_rarer, TUNABLE_PARAMETERS["RandomTrigger"], SHARES[:1]),
    "any of cue, entropy": Entry(_either, TUNABLE_PARAMETERS["FirstTokenEntropy"], SHARES[1:]),
}
