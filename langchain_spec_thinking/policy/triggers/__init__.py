"""Triggers: the rules that decide at a boundary whether the other model takes over."""

from langchain_spec_thinking.policy.endings import sentence_end
from langchain_spec_thinking.policy.triggers.base import (
    NO_CUES,
    NO_LOGPROBS,
    TAKE_OVER,
    Decision,
    Draft,
    FirstToken,
    ScoreRequest,
    Trigger,
    TunableParameter,
)
from langchain_spec_thinking.policy.triggers.combined import AllOf, AnyOf
from langchain_spec_thinking.policy.triggers.cue import CueTrigger
from langchain_spec_thinking.policy.triggers.entropy import FirstTokenEntropy
from langchain_spec_thinking.policy.triggers.no_takeovers import NoTakeovers
from langchain_spec_thinking.policy.triggers.random_trigger import RandomTrigger
from langchain_spec_thinking.policy.triggers.registry import TRIGGERS, register_trigger
from langchain_spec_thinking.policy.triggers.score import ScoreAndAccept
from langchain_spec_thinking.policy.triggers.target_leads import TargetLeads

__all__ = [
    "NO_CUES",
    "NO_LOGPROBS",
    "TAKE_OVER",
    "TRIGGERS",
    "AllOf",
    "AnyOf",
    "CueTrigger",
    "Decision",
    "Draft",
    "FirstToken",
    "FirstTokenEntropy",
    "NoTakeovers",
    "RandomTrigger",
    "ScoreAndAccept",
    "ScoreRequest",
    "TargetLeads",
    "Trigger",
    "TunableParameter",
    "register_trigger",
    "sentence_end",
]
