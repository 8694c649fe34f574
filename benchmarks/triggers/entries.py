"""Which triggers are compared, and what of each is turned until the target has its share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from langchain_spec_thinking import AllOf, AnyOf, CueTrigger, DelegationPolicy, FirstTokenEntropy, RandomTrigger
from langchain_spec_thinking.evaluation.knobs import KNOBS, Knob, turned, untuned

if TYPE_CHECKING:
    from collections.abc import Callable

SHARES = (0.1, 0.2, 0.4)
"""Of the tokens, for the target."""


@dataclass(frozen=True)
class Entry:
    """A trigger that is to be set.

    Attributes:
        at: The policy at a setting of the knob.
        knob: What is turned.
        shares: Which shares of the target it takes part with.
    """

    at: Callable[[float], DelegationPolicy]
    knob: Knob
    shares: tuple[float, ...] = SHARES

    @classmethod
    def of_line(cls, line: str) -> Entry:
        """A trigger as `spec-thinking calibrate --trigger` takes it."""
        policy, knob = untuned(line)
        return cls(partial(turned, policy, knob), knob)


def _rarer(value: float) -> DelegationPolicy:
    return DelegationPolicy(trigger=AllOf(CueTrigger(), RandomTrigger(value)))


def _either(value: float) -> DelegationPolicy:
    return DelegationPolicy(trigger=AnyOf(CueTrigger(), FirstTokenEntropy(value)))


CUE, AS_LONG, WHOLE = "cue", "coin, as long", "coin, whole steps"
ENTRIES = {
    CUE: Entry.of_line("cue"),
    WHOLE: Entry.of_line("random,takeover_tokens=None"),
    "entropy": Entry.of_line("first_token_entropy"),
    "score": Entry.of_line("score_and_accept"),
    "target leads": Entry.of_line("target_leads,cues=let|hmm|wait|hold on"),  # how checks begin here
    # Cues alone give the target about 15%: less by heeding some of them, more by another rule beside them.
    "all of cue, coin": Entry(_rarer, KNOBS["RandomTrigger"], SHARES[:1]),
    "any of cue, entropy": Entry(_either, KNOBS["FirstTokenEntropy"], SHARES[1:]),
}
CONTROLS = {CUE: AS_LONG} | dict.fromkeys(ENTRIES.keys() - {CUE, WHOLE}, WHOLE)
"""The coin that each has to beat: one whose takeovers are as long as its own."""
