"""A pool of KV caches of finished turns, for the next turn of the same conversation."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING
from weakref import finalize

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.local.kv_cache import TurnCache
    from langchain_spec_thinking.turn import Turn

CACHES_MAX = 8
"""Largest number of caches kept per model."""
TOKENS_MAX = 32_768
"""Largest number of tokens in all kept caches together."""


class PrefixCachePool:
    """The caches of one model that no turn uses any more. The pool drops the least recently used ones at a limit.

    A cache belongs to one turn at a time. A turn that takes a cache is its only user.
    """

    def __init__(self) -> None:
        # Garbage collection of a turn may call `_return` at any moment, in any thread, even inside the code below. Only
        # `put` is safe there.
        self._returned: SimpleQueue[TurnCache] = SimpleQueue()
        self._kept: list[TurnCache] = []  # least recently used first
        self._mutex = threading.Lock()

    def return_after(self, turn: Turn, cache: TurnCache) -> None:
        """Return a cache to the pool when its turn is garbage-collected."""
        finalize(turn, self._return, cache).atexit = False

    def take(self, prompt: list[int]) -> TurnCache | None:
        """Take the cache that saves the most prefill of a prompt out of the pool. None if no cache helps.

        Args:
            prompt: Token ids.
        """
        self._sort_in()
        with self._mutex:
            saved, best = max(
                ((cache.reusable_tokens(prompt), i) for i, cache in enumerate(self._kept)), default=(0, 0)
            )
            taken = self._kept.pop(best) if saved else None
        self._sort_in()
        return taken

    def clear(self) -> bool:
        """Drop all caches. Return whether there were any."""
        self._sort_in()
        with self._mutex:
            kept, self._kept = self._kept, []
        self._sort_in()
        return bool(kept)

    def _return(self, cache: TurnCache) -> None:
        self._returned.put(cache)
        self._sort_in()

    def _sort_in(self) -> None:
        """Move returned caches into the pool. If another thread holds the mutex, it moves them after its release."""
        while not self._returned.empty() and self._mutex.acquire(blocking=False):
            try:
                while not self._returned.empty():
                    self._kept.append(self._returned.get())
                while len(self._kept) > CACHES_MAX or sum(cache.cached for cache in self._kept) > TOKENS_MAX:
                    del self._kept[0]
            finally:
                self._mutex.release()
