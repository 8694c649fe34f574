"""A rule that accepts the answers of which the small model is sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from langchain_spec_thinking.policy.escalation.base import Escalate, Escalation
from langchain_spec_thinking.policy.escalation.registry import register_escalation

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.escalation.base import Evidence, Verdict


MEASURES: Final = ("mean", "lowest")


@register_escalation
@dataclass(frozen=True)
class Confidence(Escalation):
    """Escalates if the small model is not sure of the tokens of its answer.

    The measure is made of the log-probabilities of the most likely token at each place of the answer. With greedy
    decoding this is the token that was written. The backend of the small model must return log-probabilities.

    Attributes:
        threshold: The minimum of the measure at which the answer is accepted, in nats. It is negative: -0.1 is a
            probability of about 0.9. A threshold for one small model or one measure is not valid for another one.
        measure: `"mean"` of all tokens (arXiv:2504.15895), or the `"lowest"` one. In long answers most tokens are
            sure, so the mean hides the one place at which the model guesses (arXiv:2404.10136).
    """

    threshold: float = -0.1
    measure: Literal["mean", "lowest"] = "mean"
    needs_logprobs = True
    stops_attempts = False

    def __post_init__(self) -> None:
        """Refuse a threshold that no log-probability can be below, and an unknown measure."""
        if not self.threshold <= 0:
            msg = f"threshold: expected a log-probability in nats, at most 0, got {self.threshold!r}"
            raise ValueError(msg)
        if self.measure not in MEASURES:
            msg = f"measure: expected one of {', '.join(MEASURES)}, got {self.measure!r}"
            raise ValueError(msg)

    def examine(self, evidence: Evidence) -> Verdict | None:
        """Compare the measure of the finished answer with the threshold."""
        if evidence.answer is None:
            return None
        answer = evidence.answer
        logprob = answer.logprob if self.measure == "mean" else answer.lowest_logprob
        if logprob is None:
            return Escalate("no log-probabilities of the small model's answer are known")
        return "accept" if logprob >= self.threshold else Escalate("the small model is not sure of its answer")
