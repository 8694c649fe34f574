"""A random trigger, as the control for the others."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from langchain_spec_thinking.policy.triggers.base import NO_CUES, TAKE_OVER, Trigger, TunableParameter
from langchain_spec_thinking.policy.triggers.registry import register_trigger

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.cues import Cue, Lexicon
    from langchain_spec_thinking.policy.triggers.base import Draft


@register_trigger
@dataclass(frozen=True)
class RandomTrigger(Trigger):
    """Takes over at random boundaries. It is the control for all other triggers.

    Another trigger is useful only if it does better at the same share of tokens from the target model.

    Attributes:
        probability: The probability of a takeover at a boundary, from 0 to 1.
        seed: The seed of the random decisions. With the same seed, the decision at the same draft of a turn is the
            same.
        lexicon: The cues that classify sentences. By default there are none, so that only chance decides.
    """

    probability: float
    seed: int = 0
    lexicon: Lexicon = NO_CUES
    tunable = TunableParameter("probability", at_lowest_share=0, at_highest_share=1)

    def __post_init__(self) -> None:
        """Refuse a probability that is not between 0 and 1."""
        if not 0 <= self.probability <= 1:
            msg = f"probability: expected a number from 0 to 1, got {self.probability!r}"
            raise ValueError(msg)

    def examine(self, draft: Draft) -> Cue | Literal["keep"]:
        """Decide at random, without regard to the text."""
        rng = random.Random(f"{self.seed}-{draft.index}")  # noqa: S311 - repeatable, not secret
        return TAKE_OVER if rng.random() < self.probability else "keep"
