"""Text written ahead of the model that continues a turn, which it checks in one pass.

What it keeps is what it would have written: at each place it chooses a token as ever, with the same dice, and goes on
as long as that is the token of the draft. So greedy text stays as it is, sampled text has the model's own distribution,
and a draft that a trigger picked out, which is no fair sample of its author's, does no harm. Drafts are checked as
text in the model's own tokens, so their author may have any vocabulary.

The acceptance rule of speculative sampling (arXiv:2211.17192) keeps more of a draft that was sampled. It needs its
author's probabilities in the same vocabulary, and a draft that nobody has selected. For a draft written without dice,
as those inside a takeover are, both rules are one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.backends.base import Drafter, Request
    from langchain_spec_thinking.backends.local.kv_cache import TurnCache

FIRST_TOKENS = 4
"""How far a drafter writes ahead at first, in its own tokens: two more where all were kept, one less where not."""
TOKENS_MAX = 12
CONFIDENCE = 0.4
"""A drafter stops before a token that it gives less than this probability, as in transformers' assisted decoding."""


class Drafts:
    """The drafts that one request brings.

    Args:
        request: What to write. It has the draft that a takeover replaces, and who writes ahead after that.
        cache: The turn, as the model sees it that checks them.

    Attributes:
        drafted: What was written ahead for this request, in tokens of the drafter.
        kept: How many tokens the model has taken over from drafts.
        written: What the model has written for this request.
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
        """Return the tokens to check in the next pass; none where there is no draft.

        Args:
            room: The most that may be kept of them.
        """
        text, self._replaced = self._replaced, ""
        if not self._cache.takes_drafts:
            text = ""
        elif not text and self._drafter and room > 0 and not self._cache.inside_character:
            text, tokens = self._drafter(self.written, min(room, self._tokens))
            self.drafted += tokens
        self._checking = self._cache.ids_of(text)[:room] if text else []
        return self._checking

    def checked(self, tokens: Sequence[int]) -> bool:
        """Take in what became of them: the tokens that were kept, and one of the model's own.

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
