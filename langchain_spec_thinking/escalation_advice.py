"""What a pair says about escalation when it is made: what cannot work, and when another policy would pay."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from langchain_spec_thinking.hidden_reasoning import hides_reasoning, no_short_takeovers

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.base import Backend
    from langchain_spec_thinking.backends.capabilities import Capabilities
    from langchain_spec_thinking.policy import DelegationPolicy
    from langchain_spec_thinking.turn import Author

_LOGGER = logging.getLogger(__name__)
_LOGGED: set[str] = set()  # names of target models for which the advice was logged


def require_escalation(
    policy: DelegationPolicy, speculative: Backend, *, answer_by: Author, temperature: float | None
) -> None:
    """Refuse a rule of escalation that cannot work with a pair.

    Raises:
        ValueError: The rule needs what the pair does not have, or its samples would all be equal.
    """
    rule = policy.escalation
    if rule is None:
        return
    name = type(rule).__name__
    if rule.further_samples and answer_by == "target":
        msg = (
            f"answer_by: expected 'speculative' with {name}, because it compares answers of the small model, got "
            "'target'. The large model writes the answer whenever it gets the question"
        )
        raise ValueError(msg)
    if rule.further_samples and (temperature if rule.temperature is None else rule.temperature) == 0:
        msg = (
            f"temperature: expected a number above 0 for the samples of {name}, because equal samples say nothing, "
            f"got 0. Set the temperature of the rule: {name}(temperature=0.8)"
        )
        raise ValueError(msg)
    if rule.needs_logprobs and not speculative.capabilities.top_logprobs_max:
        msg = (
            f"policy: {name} needs the log-probabilities of the small model's answer, but {speculative!r} returns "
            "none. Use a HuggingFaceBackend, an OpenAIBackend whose server returns log-probabilities, or Agreement()"
        )
        raise ValueError(msg)


def continuation_advice(name: str, capabilities: Capabilities) -> str | None:
    """Return which policy suits a target model that cannot continue a half-written thought; None if it can.

    Args:
        name: Name of the target model.
        capabilities: What its backend can do.
    """
    if capabilities.continuation != "chat_instruct":
        return None
    return (
        f"{name} cannot continue a half-written thought, so each takeover is an instruction that the model may "
        "follow badly, and it reads the whole turn again. DelegationPolicy.gated() needs no continuation: the large "
        "model gets the whole question if the answers of the small model differ."
    )


def advise_escalation(policy: DelegationPolicy, target: Backend) -> None:
    """Log the advice once for each target model if the policy needs a continuation or short takeovers."""
    continues = policy.has_takeovers or (policy.escalation is not None and policy.escalate_to == "continue")
    advice = continuation_advice(target.name, target.capabilities) if continues else None
    if policy.has_short_takeovers("target") and policy.trigger.lead != "target" and hides_reasoning(target):
        advice = no_short_takeovers(target.name)
    if advice and target.name not in _LOGGED:
        _LOGGED.add(target.name)
        _LOGGER.warning("%s", advice)
