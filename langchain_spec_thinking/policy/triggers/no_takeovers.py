"""A trigger that never fires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from langchain_spec_thinking.policy.triggers.base import Trigger
from langchain_spec_thinking.policy.triggers.registry import register_trigger

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.triggers.base import Draft
    from langchain_spec_thinking.turn import Author

_MODELS = ("speculative", "target")


@register_trigger
@dataclass(frozen=True)
class NoTakeovers(Trigger):
    """Never takes over. One model writes the whole thought.

    Use it with a rule of escalation: the small model answers alone, or the large model gets the question.
    `DelegationPolicy.gated()` does so.

    Attributes:
        lead: The model that writes.
    """

    lead: Author = "speculative"
    tunable = None

    def __post_init__(self) -> None:
        """Refuse another name than that of a model."""
        if self.lead not in _MODELS:
            msg = f"lead: expected 'speculative' or 'target', got {self.lead!r}"
            raise ValueError(msg)

    def examine(self, draft: Draft) -> Literal["keep"]:  # noqa: ARG002 - part of the interface
        """Keep every draft."""
        return "keep"
