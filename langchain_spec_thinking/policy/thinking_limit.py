"""How long a thought may become, so that it ends at a boundary and leaves tokens for the answer."""

from __future__ import annotations

import sys
from typing import NamedTuple

ANSWER_TOKENS_MAX = 1024
"""The answer keeps a quarter of `max_tokens`, but at most this many tokens."""
SLACK_TOKENS_MAX = 128
"""A thought that is long enough may go on to its next boundary: by an eighth, but at most by this many tokens."""
_NO_LIMIT = sys.maxsize


class ThinkingLimit(NamedTuple):
    """The limit of a thought, in tokens. By default there is none. It is a tuple, so that JSON can hold it.

    Attributes:
        soft: After this many tokens, the thought is closed at the next boundary.
        hard: After this many tokens, the thought is closed at the end of the last word.
    """

    soft: int = _NO_LIMIT
    hard: int = _NO_LIMIT

    @classmethod
    def of(cls, max_tokens: int, thinking_tokens: int | None = None) -> ThinkingLimit:
        """Return the limit of a thought.

        Args:
            max_tokens: The maximum length of thought and answer together, in tokens.
            thinking_tokens: The length after which the user wants the thought to end, in tokens. None: as long as it
                leaves tokens for the answer.
        """
        room = max(1, max_tokens - min(-(-max_tokens // 4), ANSWER_TOKENS_MAX))
        soft = room - _slack(room)
        if thinking_tokens is None or thinking_tokens >= soft:
            return cls(soft, room)
        return cls(thinking_tokens, min(thinking_tokens + _slack(thinking_tokens), room))

    def after(self, tokens: int) -> ThinkingLimit:
        """Return the limit of the rest of a thought that has `tokens` tokens already."""
        return ThinkingLimit(max(0, self.soft - tokens), max(0, self.hard - tokens))

    def left(self, tokens: int) -> int:
        """Return how many tokens are left to the next of both limits, if a thought has `tokens` tokens."""
        return min((limit - tokens for limit in (self.soft, self.hard) if limit > tokens), default=_NO_LIMIT)


def _slack(tokens: int) -> int:
    return min(tokens // 8, SLACK_TOKENS_MAX)
