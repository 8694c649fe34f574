"""The target reads every step and says how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_spec_thinking.policy.triggers.base import NO_CUES, ScoreRequest, Trigger

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.cues import Lexicon
    from langchain_spec_thinking.policy.triggers.base import Draft

QUESTION = (
    "\n\nBefore I go on, I rate the step above with one digit, from 0 (wrong, or of no use) to 9 (right, and a step "
    "towards the answer). Rating:"
)
_DIGITS = 10


@dataclass(frozen=True)
class ScoreAndAccept(Trigger):
    """The rule of SpecReason (arXiv:2504.07891): small writes a step, the target scores it, a bad one is written anew.

    A step is shown only once it is accepted. The question stands in the place of the target's own next words, so that
    it reads each step once and its caches hold, whether the step is kept or not. The score costs one short request
    for each step; where the target answers without a digit the step is kept and `degraded` says so.

    Attributes:
        threshold: The least score, from 0 to 9, with which a step is accepted.
        question: What the target is given after the step. It must lead to one digit.
        lexicon: Without cues, so that nothing but the score decides.
    """

    threshold: int = 7
    question: str = QUESTION
    lexicon: Lexicon = NO_CUES
    takeover_tokens = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the field."""
        if not isinstance(self.threshold, int) or not 0 <= self.threshold <= _DIGITS:
            msg = f"threshold: expected a whole number from 0 (accept all) to 10 (none), got {self.threshold!r}"
            raise ValueError(msg)
        if not isinstance(self.question, str) or not self.question.strip():
            msg = f"question: expected words that lead to a digit, got {self.question!r}"
            raise ValueError(msg)

    def examine(self, draft: Draft) -> ScoreRequest:  # noqa: ARG002 - of the protocol
        """Have every step scored."""
        return ScoreRequest(self.question, self.threshold)
