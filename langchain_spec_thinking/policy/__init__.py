"""The policy of Speculative Thinking: pure, without a model, a network or a clock."""

from langchain_spec_thinking.policy.budget import Budget, Price
from langchain_spec_thinking.policy.cues import Lexicon
from langchain_spec_thinking.policy.delegation import Delegation
from langchain_spec_thinking.policy.settings import DelegationPolicy
from langchain_spec_thinking.policy.triggers import CueTrigger, RandomTrigger, Trigger

__all__ = ["Budget", "CueTrigger", "Delegation", "DelegationPolicy", "Lexicon", "Price", "RandomTrigger", "Trigger"]
