"""The trigger of the paper: it searches for words that reflect or affirm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_spec_thinking.policy.cues import Cue, Lexicon
from langchain_spec_thinking.policy.triggers.base import Trigger, TunableParameter
from langchain_spec_thinking.policy.triggers.registry import register_trigger

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.triggers.base import Draft


@register_trigger
@dataclass(frozen=True)
class CueTrigger(Trigger):
    """The rule of the paper: take over if the first sentence after a boundary has a cue (section 3, appendix A.2).

    Every cue leads to a takeover. Therefore the first cue decides, and the trigger does not wait for the rest of the
    sentence.

    Attributes:
        lexicon: The cues.
    """

    lexicon: Lexicon = field(default_factory=Lexicon)
    # Words have no threshold. A longer takeover also searches more of a step. The lowest share is not known in advance.
    tunable = TunableParameter(
        "takeover_tokens", at_lowest_share=1, at_highest_share=256, integer=True, zero_at_lowest=False
    )

    def examine(self, draft: Draft) -> Cue | None:
        """Return the first cue of a draft."""
        return self.lexicon.first(draft.text, draft.limit, final=draft.final)
