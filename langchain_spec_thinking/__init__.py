"""A LangChain chat model made of two models: the small one writes, the large one takes over if reasoning gets hard."""

from langchain_spec_thinking._version import __version__
from langchain_spec_thinking.backends.base import Backend
from langchain_spec_thinking.backends.chat_model import ChatModelBackend
from langchain_spec_thinking.backends.local.backend import HuggingFaceBackend
from langchain_spec_thinking.backends.openai.backend import OpenAIBackend
from langchain_spec_thinking.chat_models import ChatSpeculativeThinking
from langchain_spec_thinking.messages import without_reasoning
from langchain_spec_thinking.policy import (
    TAKE_OVER,
    Agreement,
    AllOf,
    AnyOf,
    Budget,
    Confidence,
    Cue,
    CueTrigger,
    DelegationPolicy,
    Draft,
    EscalateIfAll,
    EscalateIfAny,
    Escalation,
    FirstTokenEntropy,
    Lexicon,
    NoTakeovers,
    RandomTrigger,
    ScoreAndAccept,
    Stall,
    TargetLeads,
    Trigger,
    TunableParameter,
    register_escalation,
    register_trigger,
)
from langchain_spec_thinking.price import Price
from langchain_spec_thinking.recording.record import Record
from langchain_spec_thinking.recording.recorder import read_records, recording
from langchain_spec_thinking.recording.replay import Replay, replay
from langchain_spec_thinking.viewing.trace import Trace

__all__ = [
    "TAKE_OVER",
    "Agreement",
    "AllOf",
    "AnyOf",
    "Backend",
    "Budget",
    "ChatModelBackend",
    "ChatSpeculativeThinking",
    "Confidence",
    "Cue",
    "CueTrigger",
    "DelegationPolicy",
    "Draft",
    "EscalateIfAll",
    "EscalateIfAny",
    "Escalation",
    "FirstTokenEntropy",
    "HuggingFaceBackend",
    "Lexicon",
    "NoTakeovers",
    "OpenAIBackend",
    "Price",
    "RandomTrigger",
    "Record",
    "Replay",
    "ScoreAndAccept",
    "Stall",
    "TargetLeads",
    "Trace",
    "Trigger",
    "TunableParameter",
    "__version__",
    "read_records",
    "recording",
    "register_escalation",
    "register_trigger",
    "replay",
    "without_reasoning",
]
