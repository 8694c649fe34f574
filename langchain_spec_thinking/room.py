"""How many tokens a turn may have: what the contexts of its models leave after the conversation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_spec_thinking.backends.replies.returned_reasoning import in_current_tool_loop
from langchain_spec_thinking.policy.thinking_limit import ThinkingLimit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_spec_thinking.backends.base import Backend
    from langchain_spec_thinking.turn import Turn

TOKENS_MAX = 32_768
"""Most tokens of a turn if neither the user nor a context sets a limit. The paper uses the same number."""
_MESSAGE_TOKENS = 8
"""What the chat template adds to a message, in tokens."""


class TokenLimits(NamedTuple):
    """The limits that the user has set, in tokens. None: there is none.

    Attributes:
        max_tokens: The maximum length of thought and answer together.
        thinking_tokens: The length after which the thought is to end.
    """

    max_tokens: int | None = None
    thinking_tokens: int | None = None

    def machine_settings(self, turn: Turn, backends: Iterable[Backend], *, written: int = 0) -> dict[str, Any]:
        """Return the limits as settings of the state machine.

        Args:
            turn: The turn, which is still empty.
            backends: The backends of all models that read the turn.
            written: How many tokens of a thought another state machine has written. They count too.
        """
        max_tokens = tokens_that_fit(turn, backends, self.max_tokens)
        limit = ThinkingLimit.of(max_tokens, self.thinking_tokens)
        return {"max_tokens": max(1, max_tokens - written), "thinking_limit": limit.after(written)}


def tokens_that_fit(turn: Turn, backends: Iterable[Backend], max_tokens: int | None) -> int:
    """Return how many tokens a turn may have. All its models read the whole turn, so the smallest room counts.

    Args:
        turn: The turn, which is still empty.
        backends: The backends of all models that read the turn.
        max_tokens: The limit that the user has set, in tokens. None: there is none.
    """
    rooms = [room for backend in backends if (room := _room(turn, backend)) is not None]
    if max_tokens is not None:
        rooms.append(max_tokens)
    return min(rooms, default=TOKENS_MAX)


def _room(turn: Turn, backend: Backend) -> int | None:
    """Return how many tokens a context leaves, at least one. None if the context is not known.

    An estimate may say that nothing is left although the conversation fits. Then the server has to say what is left.
    """
    context = backend.capabilities.context
    if context is None:
        return None
    texts = [message.content for message in turn.history]
    texts += [turn.history[at].reasoning for at in in_current_tool_loop(turn.history) if turn.history[at].reasoning]
    if turn.tools is not None:
        texts.append(json.dumps(turn.tools.schemas))
    if turn.schema is not None:
        texts.append(json.dumps(turn.schema))
    left = context - sum(backend.count_tokens(text) + _MESSAGE_TOKENS for text in texts)
    return max(1, left) if left > 0 or backend.capabilities.counts_exactly else None
