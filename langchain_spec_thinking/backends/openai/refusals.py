"""What an error of a server says about the request that it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends import context_overflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from langchain_spec_thinking.backends.context_overflow import Room

REFUSALS = {400, 422}
"""Statuses of a server that does not accept the form of a request."""
OPTIONAL_FIELDS = frozenset(
    {
        *("stream_options", "seed", "top_p", "temperature", "parallel_tool_calls", "response_format"),
        *("logprobs", "top_logprobs", "skip_special_tokens", "stop", "user"),
    }
)
"""Fields that a request can omit if a server refuses unknown fields (transformers serve: status 422).

Without `stop`, the server writes more than is needed. The stop strings are found here in any case.
"""
LIMIT_FIELD = "max_tokens"
NEW_LIMIT_FIELD = "max_completion_tokens"
"""Name of the token limit for OpenAI's newer models. They refuse `max_tokens` and name this field in the error."""
_TOO_LARGE_PHRASES = ("too large", "too high", "at most", "maximum", "range", "less than", "greater than", "exceed")
"""Words in servers' errors which say that a token limit is too large."""
_FIELDS_WITH_CHECKED_VALUES = {"temperature", "response_format"}
"""Optional fields whose value may be wrong, for example an invalid schema. The user must see such an error."""
_ORDINARY_WORDS = {"user"}
"""Optional fields whose name is also an ordinary word of errors, for example about the roles of messages."""
_UNSUPPORTED_FIELD_WORDS = ("support", "unexpected", "unknown", "unrecognized", "extra")
"""Words in servers' errors which say that the server does not support a field."""
_TOGETHER = {"logprobs", "top_logprobs"}
"""Fields that a chat request has both or neither of."""
_UNPROCESSABLE = 422
_MESSAGE_MAX = 300
"""Longest message of an error that is shown, in characters. As much is shown of the other fields of its body."""


def server_message(error: BaseException) -> str:
    """Return what the server said about an error, shortened, for example `Error code: 400 - no (param: seed)`.

    Args:
        error: What an SDK or another chat model raised.
    """
    message = _message(error)
    body = _body_not_in(message, error)
    if isinstance(body, Mapping):
        fields = (f"{name}: {value}" for name, value in body.items() if value is not None and str(value) not in message)
        body = ", ".join(fields)
    return message[:_MESSAGE_MAX] + (f" ({str(body)[:_MESSAGE_MAX]})" if body else "")


def _message(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _body_not_in(message: str, error: BaseException) -> object:
    """Return the body of the server's response if the text of an error does not contain it.

    The text of an error of openai 3.25 contains the whole body. In openai 3.57, it contains only the field `message`.
    """
    body = getattr(error, "body", None)
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        body = body["error"]
    return None if str(body) in message else body


def _all_words(error: BaseException) -> str:
    message = _message(error)
    body = _body_not_in(message, error)
    return f"{message} {body}" if body else message


def _status(error: BaseException) -> int | None:
    """Return the status of the response. The errors of an HTTP client have it only in the response."""
    found = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return found if isinstance(found, int) else None


def is_refusal(error: BaseException) -> bool:
    """Return whether the server may accept the same conversation in another form."""
    return _status(error) in REFUSALS and not is_too_long(error)


def is_too_long(error: BaseException) -> bool:
    """Return whether the server says that the conversation is longer than the context."""
    return context_overflow.is_too_long(_all_words(error), _status(error))


def room_left(error: BaseException, max_tokens: int, context: int | None, prompt: Callable[[], int]) -> Room:
    """Return how many tokens the conversation leaves, and the length of the context, as far as the error tells.

    Args:
        error: What the SDK raised. It says that the conversation is too long.
        max_tokens: The token limit of the request.
        context: The length of the context in tokens, if it is known without the error.
        prompt: Estimates the tokens of the prompt. This is used if the error tells no numbers.
    """
    said = _all_words(error)
    room = context_overflow.room_in(said, max_tokens)
    length = room.context or context
    if room.tokens_left is None and length and context_overflow.mentions_output_limit(said):
        return room._replace(tokens_left=length - prompt())
    return room


def refuses_limit(error: BaseException) -> bool:
    """Return whether the token limit is larger than what the model may write, so that a lower one may be accepted."""
    if getattr(error, "status_code", None) not in REFUSALS:
        return False
    said = server_message(error).lower()
    limit = any(name in said for name in (LIMIT_FIELD, NEW_LIMIT_FIELD, "completion tokens", "output tokens"))
    return limit and any(words in said for words in _TOO_LARGE_PHRASES)


def blamed_fields(error: BaseException, sent: AbstractSet[str]) -> frozenset[str]:
    """Return the fields for which a server may have refused a request.

    The error may quote a text of the user that names a field. So it takes another request to know.

    Args:
        error: What the SDK raised. The server refused the request.
        sent: Names of fields of the request.
    """
    said = _without_addresses(server_message(error))
    words = set(re.split(r"\W", f"{said} {getattr(error, 'param', None)}"))  # the message may be long and name no field
    if NEW_LIMIT_FIELD in words and LIMIT_FIELD in sent:
        return frozenset({LIMIT_FIELD})
    unsupported = any(word in said.lower() for word in _UNSUPPORTED_FIELD_WORDS)
    optional = sent & OPTIONAL_FIELDS
    always = optional - _FIELDS_WITH_CHECKED_VALUES
    if named := words & (optional if unsupported else always - _ORDINARY_WORDS):
        return frozenset(named | (sent & _TOGETHER if named & _TOGETHER else set()))
    if "tools" in sent and "tool" in said.lower():  # vLLM refuses tools without a tool-call parser
        return frozenset({"tools"})
    return frozenset(always) if _status(error) == _UNPROCESSABLE else frozenset()


def _without_addresses(said: str) -> str:
    """Return a text without the addresses in it: an address of documentation may contain the name of a field."""
    return " ".join(word for word in said.split() if "://" not in word)
