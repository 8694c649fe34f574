"""The policy of Speculative Thinking. It is pure: it uses no model, no network and no clock."""

from langchain_spec_thinking.policy.budget import Budget
from langchain_spec_thinking.policy.cues import Cue, Lexicon
from langchain_spec_thinking.policy.delegation import Delegation
from langchain_spec_thinking.policy.escalation import (
    Agreement,
    Confidence,
    EscalateIfAll,
    EscalateIfAny,
    Escalation,
    Stall,
    register_escalation,
)
from langchain_spec_thinking.policy.reference_rules import ReferenceRules
from langchain_spec_thinking.policy.settings import DelegationPolicy
from langchain_spec_thinking.policy.triggers import (
    TAKE_OVER,
    AllOf,
    AnyOf,
    CueTrigger,
    Draft,
    FirstTokenEntropy,
    NoTakeovers,
    RandomTrigger,
    ScoreAndAccept,
    ScoreRequest,
    TargetLeads,
    Trigger,
    TunableParameter,
    register_trigger,
)

__all__ = [
    "TAKE_OVER",
    "Agreement",
    "AllOf",
    "AnyOf",
    "Budget",
    "Confidence",
    "Cue",
    "CueTrigger",
    "Delegation",
    "DelegationPolicy",
    "Draft",
    "EscalateIfAll",
    "EscalateIfAny",
    "Escalation",
    "FirstTokenEntropy",
    "Lexicon",
    "NoTakeovers",
    "RandomTrigger",
    "ReferenceRules",
    "ScoreAndAccept",
    "ScoreRequest",
    "Stall",
    "TargetLeads",
    "Trigger",
    "TunableParameter",
    "register_escalation",
    "register_trigger",
]
