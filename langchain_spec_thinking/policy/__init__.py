"""The policy of Speculative Thinking. It is pure: it uses no model, no network and no clock."""

from langchain_spec_thinking.policy.budget import Budget, Price
from langchain_spec_thinking.policy.cues import Cue, Lexicon
from langchain_spec_thinking.policy.delegation import Delegation
from langchain_spec_thinking.policy.settings import DelegationPolicy
from langchain_spec_thinking.policy.triggers import (
    TAKE_OVER,
    AllOf,
    AnyOf,
    CueTrigger,
    Draft,
    FirstTokenEntropy,
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
    "AllOf",
    "AnyOf",
    "Budget",
    "Cue",
    "CueTrigger",
    "Delegation",
    "DelegationPolicy",
    "Draft",
    "FirstTokenEntropy",
    "Lexicon",
    "Price",
    "RandomTrigger",
    "ScoreAndAccept",
    "ScoreRequest",
    "TargetLeads",
    "Trigger",
    "TunableParameter",
    "register_trigger",
]
