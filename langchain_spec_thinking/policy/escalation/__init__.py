"""Escalation: rules that give the whole question to the target (large) model. All of it is pure."""

from langchain_spec_thinking.policy.escalation.agreement import Agreement
from langchain_spec_thinking.policy.escalation.base import Answer, AskIfSame, Escalate, Escalation, Evidence, Verdict
from langchain_spec_thinking.policy.escalation.combined import EscalateIfAll, EscalateIfAny
from langchain_spec_thinking.policy.escalation.confidence import Confidence
from langchain_spec_thinking.policy.escalation.gate import Gate
from langchain_spec_thinking.policy.escalation.registry import ESCALATIONS, register_escalation
from langchain_spec_thinking.policy.escalation.stall import Stall

__all__ = [
    "ESCALATIONS",
    "Agreement",
    "Answer",
    "AskIfSame",
    "Confidence",
    "Escalate",
    "EscalateIfAll",
    "EscalateIfAny",
    "Escalation",
    "Evidence",
    "Gate",
    "Stall",
    "Verdict",
    "register_escalation",
]
