"""Drafts: text that one model writes in advance and another model checks in one forward pass.

The checking model chooses a token at each place as usual, with the same random numbers, and continues as long as its
choice equals the draft's token. So it keeps exactly what it would have written itself. Greedy output does not change,
and sampled output has the model's own distribution. This also holds for a draft that a trigger has selected, although
such a draft is not an unbiased sample of its author. Drafts are checked as text, in the tokens of the checking model,
so their author may have any vocabulary.

The acceptance rule of speculative sampling (arXiv:2211.17192) keeps more tokens of a sampled draft. It needs the
author's probabilities in the same vocabulary, and a draft that was not selected. For greedily decoded drafts, like the
ones that are written ahead, both rules are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.backends.base import Drafter, Request
    from langchain_spec_thinking.backends.local.kv_cache import TurnCache

FIRST_TOKENS = 4
"""Initial length of a draft, in the drafter's tokens. It grows by two if all tokens were kept, otherwise shrinks by
one."""
TOKENS_MAX = 12
CONFIDENCE = 0.4
"""A drafter stops before a token with a lower probability than this, as in assisted decoding of transformers."""


class Drafts:
    """The drafts of one request.

    Args:
        request: The request. It holds the draft that a takeover replaces, and the function that writes further drafts.
        cache: The turn's cache in the model that checks the drafts.

    Attributes:
        drafted: Number of tokens written by the drafter for this request.
        kept: Number of tokens that the model kept from drafts.
        written: Text that the model has written for this request.
    """

    def __init__(self, request: Request, cache: TurnCache) -> None:
        self._replaced = request.draft
        self._drafter: Drafter | None = request.drafter
        self._cache = cache
        self._tokens = FIRST_TOKENS
        self._checking: list[int] = []
        self.drafted = 0
        self.kept = 0
        self.written = ""

    def next(self, room: int) -> list[int]:
        """Return the draft tokens to check in the next pass. The list is empty if there is no draft.

        Args:
            room: Largest number of tokens to return.
        """
        text, self._replaced = self._replaced, ""
        if not self._cache.can_check_drafts:
            text = ""
        elif not text and self._drafter and room > 0 and not self._cache.inside_character:
            text, tokens = self._drafter(self.written, min(room, self._tokens))
            self.drafted += tokens
        self._checking = self._cache.ids_of(text)[:room] if text else []
        return self._checking

    def record_result(self, tokens: Sequence[int]) -> bool:
        """Record the result of a check.

        Args:
            tokens: The kept tokens of the draft, then one token of the model's own.

        Returns:
            Whether there was a draft.
        """
        kept = sum(token == draft for token, draft in zip(tokens, self._checking, strict=False))
        self.kept += kept
        if kept < len(self._checking):
            self._tokens = max(1, self._tokens - 1)
        elif kept:
            self._tokens = min(TOKENS_MAX, self._tokens + 2)
        return bool(self._checking)
