"""Models that do not show their reasoning. The tokens of a short request are spent on a thought that nobody sees.

A request shows this if it ends at its token limit without text, and tokens are billed. It does not matter how the turn
was continued, or which backend sent the request. A few tokens show nothing: they may be a part of a character, or
special tokens that the server removes. What a request has shown holds for the process, until another request brings
text and no hidden tokens.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.base import Backend, Usage
    from langchain_spec_thinking.policy.commands import EndReason
    from langchain_spec_thinking.turn import Author

HIDDEN_TOKENS = 16_384
"""Room for a thought that is not shown, in tokens. A request for a long text gets it in addition to the text."""
_HIDDEN_TOKENS_MIN = 8
"""Fewer tokens without text are not taken for reasoning, unless the server reports them as reasoning."""
_LEARNED = ("continuation",)
"""What a backend learns about its server. It does not tell models apart."""
_FOUND: set[str] = set()  # the settings of the backends whose models hide their reasoning


def hides_reasoning(backend: Backend) -> bool:
    """Return whether a request in this process has shown that the model hides its reasoning."""
    return bool(_FOUND) and _key(backend) in _FOUND


def note_hidden_reasoning(backend: Backend) -> None:
    """Remember that the model hides its reasoning, for all backends with the same settings."""
    _FOUND.add(_key(backend))


def note_shown_text(backend: Backend, usage: Usage, tokens: int) -> None:
    """Forget that the model hides its reasoning, if a request brought text and no hidden tokens.

    Args:
        backend: The backend.
        usage: The usage of the request.
        tokens: Number of tokens of the text.
    """
    billed = usage.completion_tokens and max(usage.completion_tokens, usage.reasoning_tokens or 0)
    if _FOUND and billed and billed < tokens + _HIDDEN_TOKENS_MIN:
        _FOUND.discard(_key(backend))


def ended_without_text(reason: EndReason, usage: Usage, *, has_text: bool) -> bool:
    """Return whether a request spent all its tokens on reasoning that is not shown.

    Args:
        reason: Why the request ended.
        usage: The usage of the request.
        has_text: Whether the request brought text or a tool call.
    """
    billed = usage.completion_tokens or 0
    return reason == "length" and not has_text and bool(usage.reasoning_tokens or billed >= _HIDDEN_TOKENS_MIN)


def no_short_takeovers(name: str) -> str:
    """Return what users should know about a target model that takes over and hides its reasoning.

    Args:
        name: Name of the model.
    """
    return (
        f"{name} does not show its reasoning, and all tokens of a short request are spent on it. So the large model "
        "gets no takeovers of a few tokens. Use DelegationPolicy.gated(), which gives it the whole question, or "
        "takeover_tokens='rest'."
    )


def no_short_requests(name: str, author: Author) -> str:
    """Return what users should know about any other model that hides its reasoning and gets short requests.

    It is the speculative model, or a target model that leads.

    Args:
        name: Name of the model.
        author: Which model of the pair it is.
    """
    size = "large" if author == "target" else "small"
    return (
        f"{name} does not show its reasoning, and all tokens of a short request are spent on it. So the {size} model "
        "gets no requests of a few tokens: no takeovers, no opening and no recap."
    )


def no_text(name: str, tokens: int) -> str:
    """Return what users should know about a request for a long text that brought none.

    Args:
        name: Name of the model.
        tokens: How many tokens the request has used.
    """
    return (
        f"{name} spent all {tokens} tokens of a request on reasoning that it does not show, and wrote no text. Raise "
        "max_tokens or the budget, or let the model reason less."
    )


def _key(backend: Backend) -> str:
    described = {name: value for name, value in backend.describe().items() if name not in _LEARNED}
    return json.dumps(described, sort_keys=True, default=str)
