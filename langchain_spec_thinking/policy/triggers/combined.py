"""Triggers that combine other triggers."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from langchain_spec_thinking.policy.cues import Cue, Lexicon
from langchain_spec_thinking.policy.triggers.base import ScoreRequest, Trigger, decision_of

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.triggers.base import Decision, Draft, TakeoverTokens


@dataclass(frozen=True, init=False)
class _Combined(Trigger):
    triggers: tuple[Trigger, ...]

    def __init__(self, *triggers: Trigger) -> None:
        if not triggers or not all(isinstance(trigger, Trigger) for trigger in triggers):
            msg = (
                f"triggers: expected one trigger or more, got {triggers!r}. To combine rules of escalation, use "
                "EscalateIfAny or EscalateIfAll"
            )
            raise ValueError(msg)
        leads = {trigger.lead for trigger in triggers}
        if len(leads) > 1:
            msg = f"triggers: expected triggers that all have the same `lead`, got {triggers!r}"
            raise ValueError(msg)
        lengths = [trigger.takeover_tokens for trigger in triggers]
        combined = {
            "triggers": triggers,
            "lexicon": _union([trigger.lexicon for trigger in triggers]),
            "top_logprobs": max(trigger.top_logprobs for trigger in triggers),
            "takeover_tokens": max(lengths, key=_length),
            "lead": leads.pop(),
        }
        for name, value in combined.items():
            object.__setattr__(self, name, value)

    def examine(self, draft: Draft) -> Decision | None:
        return self._combine([decision_of(trigger, draft) for trigger in self.triggers])

    @abstractmethod
    def _combine(self, decisions: list[Decision | None]) -> Decision | None: ...


@dataclass(frozen=True, init=False)
class AnyOf(_Combined):
    """Lets the other model take over if one of its triggers does.

    A cue decides at once. The target model is asked for a score only if no trigger has found a cue.

    Attributes:
        triggers: One trigger or more. All of them must have the same `lead`.
    """

    def _combine(self, decisions: list[Decision | None]) -> Decision | None:
        cues = [decision for decision in decisions if isinstance(decision, Cue)]
        if cues:  # one piece of text may complete several: take the one that smaller pieces would have shown first
            return min(cues, key=lambda cue: (cue.end, cue.lookahead))
        score_request = next((decision for decision in decisions if isinstance(decision, ScoreRequest)), None)
        return score_request or (None if None in decisions else "keep")


@dataclass(frozen=True, init=False)
class AllOf(_Combined):
    """Lets the other model take over if all of its triggers do.

    The target model is asked for a score only if all other triggers have found a reason for a takeover. For example,
    `AllOf(FirstTokenEntropy(), ScoreAndAccept())` requests scores for the uncertain steps only.

    Attributes:
        triggers: One trigger or more. All of them must have the same `lead`.
    """

    def _combine(self, decisions: list[Decision | None]) -> Decision | None:
        if "keep" in decisions:
            return "keep"
        if None in decisions:
            return None
        score_request = next((decision for decision in decisions if isinstance(decision, ScoreRequest)), None)
        cues = [decision for decision in decisions if isinstance(decision, Cue)]
        return score_request or next((cue for cue in cues if cue.text), cues[0])


def _length(takeover_tokens: TakeoverTokens) -> tuple[int, int]:
    """Return a key that orders takeovers by length: a number of tokens, the whole step, the rest."""
    if isinstance(takeover_tokens, int):
        return 0, takeover_tokens
    return (1, 0) if takeover_tokens is None else (2, 0)


def _union(lexicons: list[Lexicon]) -> Lexicon:
    def cues(name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(chain.from_iterable(getattr(lexicon, name) for lexicon in lexicons)))

    substrings = any(lexicon.substrings for lexicon in lexicons)
    return Lexicon(cues("affirmation"), cues("reflection"), cues("verification"), substrings)
