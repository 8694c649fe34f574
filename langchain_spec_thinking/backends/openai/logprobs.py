"""Log-probabilities in the chunks of an OpenAI-compatible server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.openai.fields import field

if TYPE_CHECKING:
    from collections.abc import Iterable

Part = tuple[str, tuple[float, ...] | None]


def split_at_tokens(text: str, told: object) -> list[Part]:
    """Split the text of a chunk into its tokens, each with the log-probabilities of the likeliest ones in its place.

    A text that is not made of the tokens that are told with it (half a character, a think tag) stays in one piece, with
    the numbers of the first.

    Args:
        text: What was read from the chunk.
        told: The chunk's `logprobs`.
    """
    if told is None:
        return [(text, None)]
    try:
        tokens = _tokens(told)
        spelled = "".join(token for token, _ in tokens)
    except (AttributeError, TypeError, ValueError):  # none that could be read; the text counts more
        return [(text, None)]
    if spelled == text:
        return tokens
    return [(text, tokens[0][1] if tokens else None)]


def _tokens(told: object) -> list[Part]:
    # What a server tells has two forms, either of them on any endpoint.
    if content := field(told, "content"):  # of chats; llama.cpp's completions have it too
        return [
            (field(token, "token"), _sorted(field(top, "logprob") for top in field(token, "top_logprobs") or ()))
            for token in content
        ]
    tops = field(told, "top_logprobs") or ()
    return [
        (token, _sorted((top or {}).values())) for token, top in zip(field(told, "tokens") or (), tops, strict=False)
    ]


def _sorted(logprobs: Iterable[Any]) -> tuple[float, ...] | None:
    return tuple(sorted((float(logprob) for logprob in logprobs), reverse=True)) or None
