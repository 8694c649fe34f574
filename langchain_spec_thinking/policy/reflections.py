"""Counts the reflections of a thought, and decides when there are too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.settings import DelegationPolicy


class Reflections:
    """The negativity counter of the method (arXiv:2504.12329, section 3). Its limits grow each time it is full.

    Args:
        policy: The settings of the method.

    Attributes:
        count: Number of reflecting sentences that were kept since the counter was last reset.
    """

    def __init__(self, policy: DelegationPolicy) -> None:
        self._policy = policy
        self._limit = policy.reflection_limit
        self._tokens = policy.recap_tokens
        self.count = 0

    @property
    def excessive(self) -> bool:
        """Whether the target model must now check the thought so far."""
        return self.count >= self._limit

    def reset_and_grow(self) -> int:
        """Reset the counter, raise the limits, and return the length of the takeover, in tokens."""
        policy, tokens = self._policy, self._tokens
        self.count = 0
        self._tokens = _grow(tokens, policy.recap_growth, policy.recap_tokens_max)
        self._limit = _grow(self._limit, policy.reflection_limit_growth, policy.reflection_limit_max)
        return tokens


def _grow(value: int, by: int, limit: int) -> int:
    return max(value, min(value + by, limit))
