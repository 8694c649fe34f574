"""A trigger for the reverse roles: the target model leads, and the speculative model writes the easy steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from langchain_spec_thinking.policy.cues import Cue, leading_cue, require_cues
from langchain_spec_thinking.policy.triggers.base import Trigger, TunableParameter
from langchain_spec_thinking.policy.triggers.registry import register_trigger

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.triggers.base import Draft

EASY_STEP_CUES = ("so", "therefore", "thus", "hence", "then", "now", "that means", "in other words")
"""Words after which text often follows from the text before. They are a guess. Calibrate them for your pair."""


@register_trigger
@dataclass(frozen=True)
class TargetLeads(Trigger):
    """The rule of RelayGen (arXiv:2602.06454), applied to steps: the speculative model writes the easy steps.

    The target model writes. If one of its steps begins with a cue, the cue is kept, and the speculative model writes
    from there to the next boundary. Then the target model continues. RelayGen hands over one sentence, at cues that
    were measured to be safe for its pair of models. The default cues here were not measured: calibrate them.
    `answer_by` sets which model writes the answer.

    Attributes:
        cues: Words at the beginning of a step, in upper or lower case.
    """

    cues: tuple[str, ...] = EASY_STEP_CUES
    takeover_tokens = None
    lead = "target"
    # Words have no threshold. The longer the speculative model writes, the less the target writes.
    tunable = TunableParameter(
        "takeover_tokens", at_lowest_share=256, at_highest_share=1, integer=True, zero_at_lowest=False
    )

    def __post_init__(self) -> None:
        """Refuse an empty cue, because it would match everywhere."""
        require_cues("cues", self.cues)

    def examine(self, draft: Draft) -> Cue | Literal["keep"] | None:
        """Search for a cue at the beginning of the step."""
        cue = leading_cue(self.cues, draft.text, draft.limit, final=draft.final)
        longest = max((len(cue.split()) for cue in self.cues), default=0)
        return cue or ("keep" if len(draft.sentence.split()) > longest else None)
