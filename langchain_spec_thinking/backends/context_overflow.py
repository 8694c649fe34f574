"""Finds out from a server's error whether a conversation is too long for a model, and how many tokens are left.

Each server says this in its own words. Most tell the length of the context and of the prompt.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_OTHER_REASONS = {401, 402, 403, 404, 429}
"""Statuses of errors that do not come from the length of the conversation, whatever their words are."""
_ENTITY_TOO_LARGE = 413
_READ_MAX = 4_000
"""How much of an error is read, in characters. The time of the search grows with the square of the length."""
_PER_MINUTE = re.compile(r"rate.?limit|per (?:minute|day)|quota", re.IGNORECASE)
_TOO_LONG = re.compile(
    "|".join(  # noqa: FLY002 - one line for each kind of words
        (
            r"(?:maximum |exceed_)context|context[ _](?:length|window|size|limit)",  # OpenAI, llama.cpp and many others
            r"maximum (?:model|prompt|input|sequence) length",  # vLLM, xAI
            r"(?:prompt|inputs?|conversation|messages) (?:is |are )?too (?:long|large)",  # Anthropic, Bedrock, Ollama
            r"token count\b.{0,60}\bexceeds",  # Gemini, GitHub Copilot, SGLang
            r"(?:prompt|input)(?: length| tokens?)?(?: \([^)]*\))? exceeds? (?:the )?(?:max|model|configured|length)",
            r"range of input length",  # DashScope
            r"`inputs`.{0,40}(?:<=|less than|tokens)",  # TGI
            r"cannot be greater than max_model_len",  # vLLM
            r"reduce the length of (?:the |your )?(?:messages|prompt|input)",  # Groq
            r"model token limit",  # Kimi
            r"too many tokens:|number of tokens in the prompt",  # Cohere
            r"上下文|输入长度|超长",  # Zhipu and others
        )
    ),
    re.IGNORECASE,
)
_OUTPUT = re.compile(r"max_\w*tokens|completion|output", re.IGNORECASE)
_CONTEXT = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\d+ \+ \d+ > (\d+)",
        r"context (?:length|window|size|limit)\D{0,25}(\d+)",
        r"max_model_len\D{0,25}(\d+)",
        r"n_ctx\W+(\d+)",
        r"<= ?(\d+)",
        r"maximum (?:\w+ )?length\D{0,10}(\d+)",
    )
]
_PROMPT = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(\d+) \+ \d+ > \d+",
        r"n_prompt_tokens\W+(\d+)",
        r"(\d+) (?:tokens )?(?:from |of |in )?(?:the |your )?(?:text )?`?(?:input|prompt|messages)",
        r"(?:prompt|input|request) (?:contains )?\(?(?:length )?(\d+)",
        r"\bgot (\d+)(?: input| prompt| \()",
    )
]
_DIGITS_MAX = 12
"""A number with as many digits counts no tokens."""
_TOTAL = re.compile(r"requested\D{0,20}(\d+)", re.IGNORECASE)


class Room(NamedTuple):
    """What a server says about its context.

    Attributes:
        context: The length of the context, in tokens. None: it does not say.
        tokens_left: How many tokens the prompt leaves. 0 or less: the prompt alone is too long. None: it does not say.
    """

    context: int | None
    tokens_left: int | None


def is_too_long(said: str, status: int | None) -> bool:
    """Return whether an error says that the conversation does not fit into the context.

    Args:
        said: What the server says.
        status: The status of its response. None: it is not known.
    """
    if status in _OTHER_REASONS:
        return False
    if status == _ENTITY_TOO_LARGE and not _PER_MINUTE.search(said[:_READ_MAX]):
        return True
    return bool(_TOO_LONG.search(said[:_READ_MAX]))


def room_in(said: str, max_tokens: int) -> Room:
    """Return what an error says about the context.

    Args:
        said: What the server says. It must say that the conversation is too long.
        max_tokens: The token limit of the request.
    """
    said = re.sub(r"(?<=\d),(?=\d{3})", "", said[:_READ_MAX])
    context, prompt = _first(_CONTEXT, said), _first(_PROMPT, said)
    if context is None:
        return Room(None, None)
    if prompt is None and not _OUTPUT.search(said):  # only the prompt is blamed
        return Room(context, 0)
    if prompt is None and (total := _first([_TOTAL], said)) is not None and total > max_tokens:
        prompt = total - max_tokens
    return Room(context, None if prompt is None else context - prompt)


def mentions_output_limit(said: str) -> bool:
    """Return whether an error names the output, so that a lower token limit may help."""
    return bool(_OUTPUT.search(said[:_READ_MAX]))


def _first(patterns: list[re.Pattern[str]], said: str) -> int | None:
    found = (pattern.search(said) for pattern in patterns)
    return next((int(match[1]) for match in found if match and len(match[1]) < _DIGITS_MAX), None)
