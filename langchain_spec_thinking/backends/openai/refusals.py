"""What an error of a server says about the request that it refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.openai.probes import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

OPTIONAL_FIELDS = frozenset(
    {
        *("stream_options", "seed", "top_p", "temperature", "parallel_tool_calls", "response_format"),
        *("logprobs", "top_logprobs"),
    }
)
"""Fields that a request can omit if a server refuses unknown fields (transformers serve: status 422)."""
LIMIT_FIELD = "max_tokens"
NEW_LIMIT_FIELD = "max_completion_tokens"
"""Name of the token limit for OpenAI's newer models. They refuse `max_tokens` and name this field in the error."""
CONTEXT_TOO_LONG_PHRASES = ("context length", "context window", "maximum context", "context_length")
"""Words in servers' errors which say that the conversation is longer than the context."""
_FIELDS_WITH_CHECKED_VALUES = {"temperature", "response_format"}
"""Optional fields whose value may be wrong, for example an invalid schema. The user must see such an error."""
_UNSUPPORTED_FIELD_WORDS = ("support", "unexpected", "unknown", "unrecognized", "extra")
"""Words in servers' errors which say that the server does not support a field."""
_TOGETHER = {"logprobs", "top_logprobs"}
"""Fields that a chat request has both or neither of."""
_UNPROCESSABLE = 422
_MESSAGE_MAX = 300


def server_message(error: BaseException) -> str:
    """Return what the server said about an error.

    The SDK's message contains the server's words only if the error has OpenAI's form. Otherwise they are added here.

    Args:
        error: What the SDK raised.
    """
    said = str(error) or type(error).__name__
    body = getattr(error, "body", None)
    said = said if body is None or str(body) in said else f"{said} {body}"
    return said[:_MESSAGE_MAX]


def is_refusal(error: BaseException) -> bool:
    """Return whether the server may accept the same conversation in another form."""
    return getattr(error, "status_code", None) in REFUSALS and not is_too_long(error)


def is_too_long(error: BaseException) -> bool:
    """Return whether the server says that the conversation is longer than the context."""
    said = server_message(error).lower()
    return any(words in said for words in CONTEXT_TOO_LONG_PHRASES)


def blamed_fields(error: BaseException, sent: AbstractSet[str]) -> frozenset[str]:
    """Return the fields for which a server may have refused a request.

    The error may quote a text of the user that names a field. So it takes another request to know.

    Args:
        error: What the SDK raised. The server refused the request.
        sent: Names of fields of the request.
    """
    said = _without_addresses(server_message(error))
    words = set(re.split(r"\W", said))
    if NEW_LIMIT_FIELD in words and LIMIT_FIELD in sent:
        return frozenset({LIMIT_FIELD})
    unsupported = any(word in said.lower() for word in _UNSUPPORTED_FIELD_WORDS)
    optional = sent & OPTIONAL_FIELDS
    always = optional - _FIELDS_WITH_CHECKED_VALUES
    if named := words & (optional if unsupported else always):
        return frozenset(named | (sent & _TOGETHER if named & _TOGETHER else set()))
    if "tools" in sent and "tool" in said.lower():  # vLLM refuses tools without a tool-call parser
        return frozenset({"tools"})
    return frozenset(always) if getattr(error, "status_code", None) == _UNPROCESSABLE else frozenset()


def _without_addresses(said: str) -> str:
    """Return a text without the addresses in it: an address of documentation may contain the name of a field."""
    return " ".join(word for word in said.split() if "://" not in word)
