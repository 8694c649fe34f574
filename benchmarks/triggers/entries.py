"""The triggers that are compared, and the parameter of each that is tuned to a share of the target."""

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
from langchain_spec_thinking.evaluation.calibration import parse_trigger, with_value
from langchain_spec_thinking.policy.triggers import TunableParameter

if TYPE_CHECKING:
    from collections.abc import Callable

SHARES = (0.1, 0.2, 0.4)
"""Wanted shares of the tokens for the target."""


@dataclass(frozen=True)
class Entry:
    """A trigger to calibrate.

    Attributes:
        at: Returns the policy for a value of the parameter.
        parameter: The parameter that is tuned.
        shares: Shares of the target at which the trigger is compared.
    """

    at: Callable[[float], DelegationPolicy]
    parameter: TunableParameter
    shares: tuple[float, ...] = SHARES

    @classmethod
    def of_line(cls, line: str) -> Entry:
        """Return the entry of a trigger, given as in `spec-thinking calibrate --trigger`."""
        policy, parameter = parse_trigger(line)
        return cls(partial(with_value, policy, parameter), parameter)


def _cue_and_coin(value: float) -> DelegationPolicy:
    return DelegationPolicy(trigger=AllOf(CueTrigger(), RandomTrigger(value)))


def _cue_or_entropy(value: float) -> DelegationPolicy:
    return DelegationPolicy(trigger=AnyOf(CueTrigger(), FirstTokenEntropy(value)))


def _target_leads(openings: float) -> DelegationPolicy:
    return DelegationPolicy(trigger=TargetLeads(OPENINGS[: int(openings)]))


OPENINGS = (
    *("a", "wait", "let", "he", "she", "both", "the", "hold on", "there", "that", "together", "his", "put"),
    *("take", "they"),
)
"""First words of the large pocket model's steps, the most frequent ones first."""
CUE, COIN_SAME_LENGTH, COIN = "cue", "coin, as long", "coin, whole steps"
ENTRIES = {
    CUE: Entry.of_line("cue"),
    COIN: Entry.of_line("random,takeover_tokens=None"),
    "entropy": Entry.of_line("first_token_entropy"),
    "score": Entry.of_line("score_and_accept"),
    # As in RelayGen, the small model writes whole steps. The choice of cues decides how much is left to the target.
    "target leads": Entry(
        _target_leads, TunableParameter("cues", at_lowest_share=len(OPENINGS), at_highest_share=1, integer=True)
    ),
    # With the default takeovers, cues give the target one share. `all of` makes it smaller, `any of` makes it larger.
    "all of cue, coin": Entry(_cue_and_coin, parse_trigger("random")[1], SHARES[:1]),
    "any of cue, entropy": Entry(_cue_or_entropy, parse_trigger("first_token_entropy")[1], SHARES[1:]),
}
