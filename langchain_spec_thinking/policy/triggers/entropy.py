"""A trigger that measures how uncertain the speculative model is about the first token of a step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from langchain_spec_thinking.policy.cues import Cue, Lexicon
from langchain_spec_thinking.policy.triggers.base import NO_CUES, Trigger, TunableParameter
from langchain_spec_thinking.policy.triggers.registry import register_trigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.policy.triggers.base import Draft

_TOP_MIN = 2
"""The minimum of `FirstTokenEntropy.top`. The entropy of a single token is always 0."""


@register_trigger
@dataclass(frozen=True)
class FirstTokenEntropy(Trigger):
    """The rule of GlimpRouter (arXiv:2601.05110): take over if the first token of a step is uncertain.

    The target model writes the whole step if the speculative model's distribution over the first token has a high
    entropy. The log-probabilities arrive in the stream of the draft, so no extra request is necessary. They are those
    of the model itself, before temperature and nucleus sampling. The entropy is in nats, as the threshold of
    GlimpRouter is. A threshold for one speculative model is not valid for another one.

    Tokens other than the `top` most likely ones are ignored. Therefore a flat distribution seems more certain than it
    is: 20 tokens have an entropy of at most ln 20, about 3.0 nats.

    Attributes:
        threshold: The minimum entropy at which the target model takes over, in nats.
        top: How many of the most likely tokens the entropy includes. Their probabilities are normalized to a sum of 1.
            Hosted services return at most 20.
        lexicon: The cues that classify sentences. By default there are none, so that only the entropy decides.
    """

    threshold: float = 1.0
    top: int = 20
    lexicon: Lexicon = NO_CUES
    takeover_tokens = None
    tunable = TunableParameter("threshold", at_lowest_share=3, at_highest_share=0)  # ln 20: entropy of 20 equal tokens

    def __post_init__(self) -> None:
        """Refuse invalid values, with the name of the field in the error."""
        if not isinstance(self.top, int) or isinstance(self.top, bool) or self.top < _TOP_MIN:
            msg = f"top: expected a whole number of at least {_TOP_MIN}, got {self.top!r}"
            raise ValueError(msg)
        if not self.threshold >= 0:
            msg = f"threshold: expected an entropy in nats, at least 0, got {self.threshold!r}"
            raise ValueError(msg)
        object.__setattr__(self, "top_logprobs", self.top)

    def examine(self, draft: Draft) -> Cue | Literal["keep"] | None:
        """Compare the entropy of the first token with the threshold, as soon as the token is known."""
        first = draft.first_token
        if first is None:
            return None
        uncertain = entropy(first.top_logprobs[: self.top]) >= self.threshold
        return Cue("", "trigger", first.at + 1) if uncertain else "keep"


def entropy(logprobs: Sequence[float]) -> float:
    """Return the entropy of the most likely part of a distribution, in nats.

    Args:
        logprobs: Log-probabilities of the most likely tokens. The probabilities are normalized to a sum of 1.
    """
    largest = max(logprobs, default=0.0)
    weights = [math.exp(logprob - largest) for logprob in logprobs]
    total = sum(weights)
    return -sum(p * math.log(p) for weight in weights if (p := weight / total) > 0)
