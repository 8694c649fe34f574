"""Caches of turns that are over, for the next turn of the same conversation."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING
from weakref import finalize

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.local.kv_cache import TurnCache
    from langchain_spec_thinking.turn import Turn

CACHES_MAX = 8
"""Most caches that are kept for a model."""
TOKENS_MAX = 32_768
"""Most tokens that they hold together."""


class PrefixCachePool:
    """The caches of one model that no turn uses any more; those that were used last, up to a limit.

    A cache belongs to one turn at a time: whoever takes one has it alone.
    """

    def __init__(self) -> None:
        # A turn may go at any moment, in any thread, in the middle of the code below. `put` alone is safe there.
        self._returned: SimpleQueue[TurnCache] = SimpleQueue()
        self._kept: list[TurnCache] = []  # in the order in which they were last used
        self._mutex = threading.Lock()

    def return_after(self, turn: Turn, cache: TurnCache) -> None:
        """Keep a cache as soon as its turn is gone."""
        finalize(turn, self._return, cache).atexit = False

    def take(self, prompt: list[int]) -> TurnCache | None:
        """Return the cache that saves the most of reading a prompt, or None; it is the caller's from here on.

        Args:
            prompt: Token ids.
        """
        self._sort_in()
        with self._mutex:
            saved, best = max(((cache.spares(prompt), i) for i, cache in enumerate(self._kept)), default=(0, 0))
            taken = self._kept.pop(best) if saved else None
        self._sort_in()
        return taken

    def clear(self) -> bool:
        """Let go of all; return whether there were any."""
        self._sort_in()
        with self._mutex:
            kept, self._kept = self._kept, []
        self._sort_in()
        return bool(kept)

    def _return(self, cache: TurnCache) -> None:
        self._returned.put(cache)
        self._sort_in()

    def _sort_in(self) -> None:
        """Keep what was returned; whoever holds the mutex at the moment does so after letting go of it."""
        while not self._returned.empty() and self._mutex.acquire(blocking=False):
            try:
                while not self._returned.empty():
                    self._kept.append(self._returned.get())
                while len(self._kept) > CACHES_MAX or sum(cache.cached for cache in self._kept) > TOKENS_MAX:
                    del self._kept[0]
            finally:
                self._mutex.release()
