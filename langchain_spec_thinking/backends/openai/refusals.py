"""What an error of a server says about the request that it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
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
_COMPARED_MAX = 100
"""How much of a text is searched for in a message, in characters. Either may have been shortened at its end."""


def server_message(error: BaseException, longest: int = _MESSAGE_MAX) -> str:
    """Return what the server said about an error, shortened, for example `Error code: 400 - no (param: seed)`.

    The text of an error of openai 3.25 contains the whole body of the response. In openai 3.57, it contains only the
    field `message`. What is missing in the text is added in parentheses.

    Args:
        error: What an SDK or another chat model raised.
        longest: Longest text of the error that is shown, in characters. As much is shown of the body.
    """
    message = _shortened(_message(error), longest)
    body = _body(error)
    if isinstance(body, Mapping):
        new = {name: value for name, value in body.items() if value is not None and not _is_in(message, value)}
        body = ", ".join(f"{name}: {value}" for name, value in new.items())
    elif _is_in(message, body):
        return message
    return f"{message} ({_shortened(str(body), longest)})" if body else message


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


def _is_in(message: str, value: object) -> bool:
    """Return whether a message contains a value, as a text or in the notation of Python, but not inside of a word."""
    for text in (str(value), repr(value).strip("'\"")):
        end = r"(?!\w)" if len(text) <= _COMPARED_MAX else ""
        if re.search(rf"(?<!\w){re.escape(text[:_COMPARED_MAX])}{end}", message):
            return True
    return False


def _message(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _body(error: BaseException) -> object:
    """Return the error in the body of a server's response, or the whole body if it has another form.

    Secrets are removed only from what is in the `__dict__` of an error, so nothing else is read.
    """
    attributes = getattr(error, "__dict__", {})
    body = attributes.get("body")
    if not isinstance(body, Mapping):  # openai keeps only the field `error`, even if it is a text or null
        with suppress(Exception):  # there may be no response, it may be unread, and it may not be JSON
            whole = json.loads(attributes["response"].text)
            body = whole if isinstance(whole, Mapping) else body
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        return body["error"]
    return body


def _all_words(error: BaseException) -> str:
    message = _message(error)
    body = _body(error)
    return message if not body or str(body) in message else f"{message} {body}"


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
    words = set(re.split(r"\W", said))
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
