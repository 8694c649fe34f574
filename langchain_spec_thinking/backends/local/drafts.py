"""Drafts: text that one model writes in advance and another model checks in one forward pass.

The checking model chooses a token at each place as usual, with the same random numbers, and continues as long as its
choice equals the draft's token. So it keeps exactly what it would have written itself. Greedy output does not change,
and sampled output has the model's own distribution. This also holds for a draft that a trigger has selected, although
such a draft is not an unbiased sample of its author. Drafts are checked as text, in the tokens of the checking model,
so their author may have any vocabulary.

The acceptance rule of speculative sampling (arXiv:2211.17192) keeps more tokens of a sampled draft. It needs the
author's probabilities in the same vocabulary, and a draft that was not selected. For greedily decoded drafts, like the
ones that are written ahead, both rules are the same.

Drafts that are written ahead cost passes of their author. They pay if the tokens that the checking model writes with a
draft would take longer without it:

    kept + 1 > drafted x (seconds per drafted token / seconds per token) + (seconds per check / seconds per token)

Each turn measures these numbers (`DraftPace`), and writes no further drafts if they do not pay.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_spec_thinking.backends.base import Drafter, Request
    from langchain_spec_thinking.backends.local.kv_cache import TurnCache

FIRST_TOKENS = 4
"""Initial length of a draft, in the drafter's tokens. It grows by two if all tokens were kept, otherwise shrinks by
one."""
TOKENS_MAX = 12
CONFIDENCE = 0.4
"""A drafter stops before a token with a lower probability than this, as in assisted decoding of transformers."""

MEASURED_DRAFTS = 4
"""Number of drafts after which a turn decides whether they pay."""
MEASURED_PASSES = 3
"""Number of passes without a draft that a turn measures for this decision."""


@dataclass
class DraftPace:
    """How fast a turn is with drafts that are written ahead, and without them.

    Passes that also read text of another author do not count.

    Attributes:
        drafts: Number of drafts.
        drafted: Number of tokens that the author of the drafts wrote.
        written: Number of tokens that the checking model wrote with drafts: the kept ones, and one more per draft.
        draft_seconds: Time in which the drafts were written.
        check_seconds: Time of the passes that checked them.
        pass_seconds: Times of the last passes without a draft. Each of them wrote one token.
    """

    drafts: int = 0
    drafted: int = 0
    written: int = 0
    draft_seconds: float = 0.0
    check_seconds: float = 0.0
    pass_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=MEASURED_PASSES))

    @property
    def wants_draft(self) -> bool:
        """Whether the next token should begin with a draft: to measure its time, or because drafts pay."""
        if self.drafts < MEASURED_DRAFTS:
            return True
        return len(self.pass_seconds) == MEASURED_PASSES and self.speedup >= 1

    @property
    def speedup(self) -> float:
        """Seconds per token without drafts / with drafts. 1 if nothing is known."""
        seconds = self.draft_seconds + self.check_seconds
        if not seconds or not self.pass_seconds:
            return 1.0
        return median(self.pass_seconds) * self.written / seconds  # a single slow pass says little


class Drafts:
    """The drafts of one request.

    Args:
        request: The request. It holds the draft that a takeover replaces, and the function that writes further drafts.
        cache: The turn's cache in the model that checks the drafts.
        clock: Returns the time in seconds.

    Attributes:
        drafted: Number of tokens written by the drafter for this request.
        kept: Number of tokens that the model kept from drafts.
        written: Text that the model has written for this request.
    """

    def __init__(self, request: Request, cache: TurnCache, clock: Callable[[], float] = time.perf_counter) -> None:
        self._replaced = request.draft
        self._clock = clock
        self._began: tuple[float, float] | None = None  # start of the draft and of its check, if they are measured
        self._asked = False  # whether a draft was asked for; its author may have been too unsure to write one
        self._ahead = 0  # tokens written ahead for the next pass
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
        began, self._asked, self._ahead = self._clock(), False, 0
        measured = self._drafter is not None and not text and len(self._cache.missing()) == 1
        if not self._cache.can_check_drafts:
            text = ""
        elif not text and room > 0 and not self._cache.inside_character:
            text = self._write_ahead(min(room, self._tokens))
        self._checking = self._cache.ids_of(text)[:room] if text else []
        self._began = (began, self._clock()) if measured else None
        return self._checking

    def _write_ahead(self, tokens: int) -> str:
        """Let the drafter write a draft, unless drafts do not pay in this turn."""
        if not self._drafter or not self._cache.draft_pace.wants_draft:
            return ""
        self._asked = True
        text, self._ahead = self._drafter(self.written, tokens)
        self.drafted += self._ahead
        return text

    def record_result(self, tokens: Sequence[int]) -> bool:
        """Record the result of a check.

        Args:
            tokens: The kept tokens of the draft, then one token of the model's own.

        Returns:
            Whether there was a draft.
        """
        kept = sum(token == draft for token, draft in zip(tokens, self._checking, strict=False))
        if self._began:
            self._measure(len(tokens), *self._began)
        self.kept += kept
        if kept < len(self._checking):
            self._tokens = max(1, self._tokens - 1)
        elif kept:
            self._tokens = min(TOKENS_MAX, self._tokens + 2)
        return bool(self._checking)

    def _measure(self, tokens: int, began: float, read: float) -> None:
        pace, seconds = self._cache.draft_pace, self._clock() - read
        if self._asked:
            pace.drafts += 1
            pace.drafted += self._ahead
            pace.written += tokens
            pace.draft_seconds += read - began
            pace.check_seconds += seconds
        else:
            pace.pass_seconds.append(seconds)
