"""Prompts that several turns have in common: one turn reads such a prompt, and the others copy its keys and values.

The samples of `Agreement` have the same prompt as the attempt. Other turns may have a long system prompt in common.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from langchain_spec_thinking.backends.local.cache_argument import is_attention_only

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_spec_thinking.backends.local.kv_cache import TurnCache


class SharedPrompts:
    """The caches of one model whose prompts other turns can copy.

    A turn copies only if this saves at least half of what it still has to read of its prompt. All calls must come from
    the thread that runs a pass. No other pass writes to a cache meanwhile.
    """

    def __init__(self) -> None:
        self._sources: WeakSet[TurnCache] = WeakSet()

    def add(self, cache: TurnCache) -> None:
        """Offer the prompt of a turn to other turns."""
        self._sources.add(cache)

    def copy_to(self, cache: TurnCache) -> bool:
        """Copy what another turn has read of the same prompt into the cache of a turn. Return whether there was any."""
        if not _needs_prompt(cache):
            return False
        sources = [source for source in self._sources if source is not cache]
        found = [source.common_prompt(cache.prompt, _fewest(cache)) for source in sources]
        tokens, keys_and_values = max(found, key=lambda one: one[0], default=(0, None))
        if not tokens:
            return False
        cache.copy_prompt(keys_and_values, tokens)
        return True


def is_read_by(cache: TurnCache, others: Iterable[TurnCache]) -> bool:
    """Return whether one of the other turns is about to read what this turn could copy after that."""
    if not _needs_prompt(cache):
        return False
    beginning = cache.prompt[: _fewest(cache)]
    return any(_needs_prompt(other) and other.prompt[: len(beginning)] == beginning for other in others)


def _needs_prompt(cache: TurnCache) -> bool:
    """Return whether a copy may help. The last token of a prompt is always read, because its logits are not kept."""
    return cache.cached + 1 < len(cache.prompt) and is_attention_only(cache.cache)


def _fewest(cache: TurnCache) -> int:
    """Return the length of the shortest beginning of a prompt that is worth a copy, in tokens."""
    return cache.cached + -(-(len(cache.prompt) - 1 - cache.cached) // 2)
