"""The usage that an OpenAI-compatible server reports."""

from __future__ import annotations

from langchain_spec_thinking.backends.base import Usage
from langchain_spec_thinking.backends.openai.fields import field

_TOKENS_MAX = 10**9
"""A larger count of tokens is an error of the server."""


def usage_of(chunk: object, *, reasoning_in_total: bool = False) -> Usage | None:
    """Return the usage in a chunk. None if the chunk reports none. A count that cannot be right is not known.

    Args:
        chunk: The chunk.
        reasoning_in_total: Whether the server is known to count the reasoning only in the total.
    """
    choices = field(chunk, "choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    # Groq has a field of its own, and Kimi reports the usage in its choice.
    reported = field(chunk, "usage") or field(field(chunk, "x_groq"), "usage") or field(choice, "usage")
    if not reported:
        return None
    prompt, completion, total = (_count(reported, f"{name}_tokens") for name in ("prompt", "completion", "total"))
    cached = _count(field(reported, "prompt_tokens_details"), "cached_tokens")
    reasoning = _count(field(reported, "completion_tokens_details"), "reasoning_tokens")
    return Usage(prompt, cached, completion, reasoning_tokens=reasoning).with_total(total, trusted=reasoning_in_total)


def _count(of: object, name: str) -> int | None:
    value = field(of, name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _TOKENS_MAX else None
