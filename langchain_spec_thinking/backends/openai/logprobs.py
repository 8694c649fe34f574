"""Log-probabilities in the chunks of an OpenAI-compatible server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.openai.fields import field

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOGPROB_MAX = 1.0
"""A log-probability is at most 0. Engines that round may exceed it a little."""
Part = tuple[str, tuple[float, ...] | None]


def split_at_tokens(text: str, logprobs: object) -> list[Part]:
    """Split the text of a chunk into tokens, each with the log-probabilities of the likeliest tokens at its position.

    If the tokens do not add up to the text (half a character, a think tag), the text stays in one piece. It gets the
    log-probabilities of the first token.

    Args:
        text: The text of the chunk.
        logprobs: The chunk's `logprobs`.
    """
    if logprobs is None:
        return [(text, None)]
    try:
        tokens = _tokens(logprobs)
        spelled = "".join(token for token, _ in tokens)
    except (
        AttributeError,
        OverflowError,
        TypeError,
        ValueError,
    ):  # unreadable log-probabilities must not lose the text
        return [(text, None)]
    if spelled == text:
        return tokens
    return [(text, tokens[0][1] if tokens else None)]


def _tokens(logprobs: object) -> list[Part]:
    # Servers use two forms, and either form can occur on either endpoint.
    if content := field(logprobs, "content"):  # usual for chats; llama.cpp's completions use it too
        return [
            (field(token, "token"), _sorted(field(top, "logprob") for top in field(token, "top_logprobs") or ()))
            for token in content
        ]
    tops = field(logprobs, "top_logprobs") or ()
    return [
        (token, _sorted((top or {}).values()))
        for token, top in zip(field(logprobs, "tokens") or (), tops, strict=False)
    ]


def _sorted(logprobs: Iterable[Any]) -> tuple[float, ...] | None:
    numbers = sorted((float(logprob) for logprob in logprobs), reverse=True)
    usable = all(number <= _LOGPROB_MAX for number in numbers)  # this is false for NaN too
    return tuple(numbers) or None if usable else None
