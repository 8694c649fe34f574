"""Rules that combine other rules."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_spec_thinking.policy.escalation.base import AskIfSame, Escalate, Escalation
from langchain_spec_thinking.policy.escalation.registry import register_escalation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.policy.escalation.base import Evidence, Verdict


@dataclass(frozen=True, init=False)
class _Combined(Escalation):
    rules: tuple[Escalation, ...]

    def __init__(self, *rules: Escalation) -> None:
        if not rules or not all(isinstance(rule, Escalation) for rule in rules):
            msg = f"rules: expected one rule of escalation or more, got {rules!r}"
            raise ValueError(msg)
        temperatures = {rule.temperature for rule in rules if rule.further_samples}
        if len(temperatures) > 1:
            msg = f"rules: expected rules whose samples have the same temperature, got {rules!r}"
            raise ValueError(msg)
        combined = {
            "rules": rules,
            "further_samples": max(rule.further_samples for rule in rules),
            "temperature": next(iter(temperatures), None),
            "needs_logprobs": any(rule.needs_logprobs for rule in rules),
            "stops_attempts": any(rule.stops_attempts for rule in rules),
        }
        for name, value in combined.items():
            object.__setattr__(self, name, value)

    def examine(self, evidence: Evidence) -> Verdict | None:
        own = [(rule, evidence.with_first_samples(rule.further_samples)) for rule in self.rules]
        own.sort(key=lambda rule_and_part: not rule_and_part[0].further_samples)
        return self._combine([rule.examine(part) for rule, part in own])

    @abstractmethod
    def _combine(self, verdicts: Sequence[Verdict | None]) -> Verdict | None: ...


@register_escalation
@dataclass(frozen=True, init=False)
class EscalateIfAny(_Combined):
    """Escalates if one of its rules does. The report shows the reason of the first such rule.

    The reason of a rule with samples is shown first. Its samples may end before the attempt, and the order must not
    change the reason.

    For example, `EscalateIfAny(Stall(), Agreement())` stops a small model that goes round in circles, and compares
    answers otherwise.

    Attributes:
        rules: One rule or more. Rules that need samples must have the same temperature.
    """

    def _combine(self, verdicts: Sequence[Verdict | None]) -> Verdict | None:
        reason = next((verdict for verdict in verdicts if isinstance(verdict, Escalate)), None)
        if reason:
            return reason
        question = next((verdict for verdict in verdicts if isinstance(verdict, AskIfSame)), None)
        return question or (None if None in verdicts else "accept")


@register_escalation
@dataclass(frozen=True, init=False)
class EscalateIfAll(_Combined):
    """Escalates if all of its rules do. The report shows all reasons.

    For example, `EscalateIfAll(Confidence(), Agreement())` accepts an answer of which the small model is sure, and any
    answer on which it agrees with itself.

    Attributes:
        rules: One rule or more. Rules that need samples must have the same temperature.
    """

    def _combine(self, verdicts: Sequence[Verdict | None]) -> Verdict | None:
        if "accept" in verdicts:
            return "accept"
        question = next((verdict for verdict in verdicts if isinstance(verdict, AskIfSame)), None)
        if question or None in verdicts:
            return question
        return Escalate(", and ".join(verdict.reason for verdict in verdicts if isinstance(verdict, Escalate)))
