"""A trigger that lets the target model score every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_spec_thinking.policy.triggers.base import NO_CUES, ScoreRequest, Trigger, TunableParameter
from langchain_spec_thinking.policy.triggers.registry import register_trigger

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.cues import Lexicon
    from langchain_spec_thinking.policy.triggers.base import Draft

QUESTION = (
    "\n\nBefore I go on, I rate the step above with one digit, from 0 (wrong, or of no use) to 9 (right, and a step "
    "towards the answer). Rating:"
)
_THRESHOLD_MAX = 10


@register_trigger
@dataclass(frozen=True)
class ScoreAndAccept(Trigger):
    """The rule of SpecReason (arXiv:2504.07891): the target model scores each step and rewrites a bad one.

    The speculative model writes a step. The step is shown only after it is accepted. The target model reads the
    question as part of its own turn, right after the step. So it reads each step only once, and its prefix cache stays
    valid, whether the step is kept or not. The score costs one short request for each step. If the target model answers
    without a digit, the step is kept and `degraded` reports it.

    Attributes:
        threshold: The minimum score at which a step is accepted. Scores are digits from 0 to 9. A threshold of 0
            accepts all steps, 10 accepts none.
        question: The text that the target model continues after the step. It must lead to one digit.
        lexicon: The cues that classify sentences. By default there are none, so that only the score decides.
    """

    threshold: int = 7
    question: str = QUESTION
    lexicon: Lexicon = NO_CUES
    takeover_tokens = None
    tunable = TunableParameter("threshold", at_lowest_share=0, at_highest_share=10, integer=True)  # 10 accepts none

    def __post_init__(self) -> None:
        """Refuse invalid values, with the name of the field in the error."""
        if not isinstance(self.threshold, int) or not 0 <= self.threshold <= _THRESHOLD_MAX:
            msg = (
                f"threshold: expected a whole number from 0 (accepts all) to 10 (accepts none), got {self.threshold!r}"
            )
            raise ValueError(msg)
        if not isinstance(self.question, str) or not self.question.strip():
            msg = f"question: expected a question that leads to one digit, got {self.question!r}"
            raise ValueError(msg)

    def examine(self, draft: Draft) -> ScoreRequest:  # noqa: ARG002 - the base class defines it
        """Request a score for every step."""
        return ScoreRequest(self.question, self.threshold)
