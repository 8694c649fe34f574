"""Errors that a server reports with the status 200: in an event of the stream, or in place of a stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from langchain_spec_thinking.backends.openai.fields import field
from langchain_spec_thinking.backends.openai.refusals import REFUSALS

if TYPE_CHECKING:
    import httpx2
    import openai

_STATUSES: Final = {
    400: ("invalid_request_error", "bad_request", "badrequesterror", "context_length_exceeded", "invalid_argument"),
    401: ("authentication_error", "authenticationerror", "invalid_api_key", "unauthorized", "unauthenticated"),
    403: ("permission_error", "permissiondeniederror", "permission_denied", "forbidden"),
    404: ("not_found_error", "notfounderror", "model_not_found", "not_found"),
    429: ("rate_limit_error", "ratelimiterror", "rate_limit_exceeded", "insufficient_quota", "resource_exhausted"),
    500: ("server_error", "internal_error", "internalservererror", "internal_server_error", "api_error", "internal"),
    503: ("overloaded_error", "service_unavailable", "unavailable"),
}
"""The usual words in errors, in lower case, by the status that a server sends with them otherwise."""
_STATUS_OF: Final = {word: status for status, words in _STATUSES.items() for word in words}
_MESSAGE_FIELDS = ("message", "msg", "detail", "status_msg")
"""Where an error has its words."""
_FIRST_ERROR, _AFTER_LAST_ERROR = 400, 600
"""The statuses that are errors."""


def error_in_event(chunk: object, response: httpx2.Response) -> openai.APIError | None:
    """Return an error that the SDK overlooks in an event. None: there is no error.

    Args:
        chunk: The event. Its text was read already.
        response: The response that the event belongs to.
    """
    if field(chunk, "object") == "error":  # old versions of vLLM and FastChat
        return _error(chunk, response)
    reported = field(next(iter(field(chunk, "choices") or ()), None), "error")  # OpenRouter
    return _error(reported, response) if reported else None


def error_in_body(body: bytes, response: httpx2.Response) -> openai.APIError | None:
    """Return the error in a response that has no event. None: it is not the JSON of an error.

    Args:
        body: The first bytes of the response.
        response: The response.
    """
    try:
        reported = json.loads(body)
    except (ValueError, RecursionError):  # no JSON, or too long
        return None
    reported = reported[0] if isinstance(reported, list) and reported else reported  # Google's servers send a list
    if not isinstance(reported, dict):
        return None
    error = reported.get("error") or reported.get("base_resp")  # the latter is MiniMax's
    if error is None and any(isinstance(reported.get(name), str) for name in _MESSAGE_FIELDS):
        error = reported
    return _error(error, response) if error else None


def status_error(error: Exception, response: httpx2.Response, *, begun: bool) -> openai.APIStatusError | None:
    """Return the error that the SDK would raise if the server had sent the status that its error names.

    After the first text, a refusal of the request's form (400, 422) does not count as one: the server has accepted the
    request, and vLLM gives its failures this status.

    Args:
        error: What the SDK raised.
        response: The response.
        begun: Whether the response has brought text.

    Returns:
        None if the error names no status.
    """
    import openai  # noqa: PLC0415 - heavy

    if type(error) is not openai.APIError:  # a subclass says more
        return None
    status = _status(error.body)
    if status is None or (begun and status in REFUSALS):
        return None
    kinds: dict[int, type[openai.APIStatusError]] = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        404: openai.NotFoundError,
        429: openai.RateLimitError,
    }
    other = openai.InternalServerError if status >= 500 else openai.APIStatusError  # noqa: PLR2004
    typed = kinds.get(status, other)(error.message, response=response, body=error.body)
    typed.status_code = status
    return typed


def _error(reported: Any, response: httpx2.Response) -> openai.APIError:  # noqa: ANN401 - a server may send any value
    import openai  # noqa: PLC0415 - heavy

    named = {name: field(reported, name) for name in (*_MESSAGE_FIELDS, "code", "type", "status", "status_code")}
    body = reported if isinstance(reported, (dict, str, list)) else {k: v for k, v in named.items() if v is not None}
    words = next((text for name in _MESSAGE_FIELDS if isinstance(text := named[name], str) and text), None)
    return openai.APIError(words or "the server answered with an error", response.request, body=body)


def _status(reported: object) -> int | None:
    """Return the status that an error names by a number or by a usual word. None: it names none."""
    for name in ("code", "status_code", "status", "type"):
        value = field(reported, name)
        word = str(value).lower()
        if word.isdecimal() and len(word) == 3 and _FIRST_ERROR <= int(word) < _AFTER_LAST_ERROR:  # noqa: PLR2004
            return int(word)
        if word in _STATUS_OF:
            return _STATUS_OF[word]
    return None
