"""Whether a model reasons, if only its replies can show it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.base import Piece, Request
from langchain_spec_thinking.turn import THINK_OPEN, Message, Turn

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.base import Backend

_QUESTION = "Which is larger, 9.11 or 9.9?"
_TOKENS = 16


def reasons(backend: Backend) -> bool:
    """Return whether a model reasons before it answers. If its backend does not know, one short request finds out.

    Args:
        backend: The backend of the model.

    Raises:
        BackendError: The model cannot be reached.
    """
    if backend.thinks or backend.thinking_is_known:
        return backend.thinks
    text = ""
    with closing(backend.continue_turn(Turn((Message("user", _QUESTION),)), Request(_TOKENS))) as events:
        for event in events:
            text += event.text if isinstance(event, Piece) else ""
            if len(text.lstrip()) >= len(THINK_OPEN):
                break
    return backend.thinks or opens_thought(text)


def opens_thought(reply: str) -> bool:
    """Return whether a reply begins with a thought."""
    return reply.lstrip().startswith(THINK_OPEN)
