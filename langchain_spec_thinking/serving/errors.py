"""Errors in the form of OpenAI's API."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from fastapi.responses import Response
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelError,
    ModelInvalidRequestError,
    ModelTimeoutError,
)
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from langchain_spec_thinking.invalid_fields import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ITEM_TAG = "<"
"""First character of the tags that name types of items. Tags are no part of the path of a field."""
_MESSAGE_MAX = 1000
"""Longest message of an error, in characters. It may quote a part of the request."""
_RETRY_AFTER = {"Retry-After": "1"}
_LOGGER = logging.getLogger(__name__)


def json_bytes(content: object) -> bytes:
    """Return JSON in UTF-8. Half of a character, which a model may write, becomes a question mark."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


class RefusedError(Exception):
    """A request is refused.

    Args:
        status: The HTTP status.
        message: What was received and what was expected.
        kind: OpenAI's `type` of the error.
        code: OpenAI's `code` of the error, which programs can check.
        param: The field of the body that caused the error.
        headers: Further headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.error = {"message": message[:_MESSAGE_MAX], "type": kind, "param": param, "code": code}

    def response(self) -> Response:
        """Return the error as a response."""
        return Response(json_bytes({"error": self.error}), self.status, self.headers, "application/json")


def too_large(limit: int) -> RefusedError:
    """Return the error for a body that is too large."""
    return RefusedError(413, f"the body has more than {limit} bytes, which is the limit", code="request_too_large")


def too_slow(seconds: float) -> RefusedError:
    """Return the error for a body that does not arrive in time."""
    return RefusedError(408, f"the body was not complete after {seconds:g} s", code="request_timeout")


def too_many_requests(running: int, waiting: int) -> RefusedError:
    """Return the error for a request that comes when too many others wait."""
    msg = f"{running} replies are being written and {waiting} requests wait. Try again later."
    return RefusedError(429, msg, kind="rate_limit_error", code="rate_limit_exceeded", headers=_RETRY_AFTER)


def overloaded(seconds: float) -> RefusedError:
    """Return the error for a request that has waited too long."""
    msg = f"no reply could begin within {seconds:g} s, because others are being written. Try again later."
    return RefusedError(503, msg, kind="server_error", code="overloaded", headers=_RETRY_AFTER)


def out_of_time() -> RefusedError:
    """Return the error for a reply that takes too long."""
    return RefusedError(504, "The models did not answer in time.", kind="server_error", code="timeout")


def shutting_down() -> RefusedError:
    """Return the error for a reply that the end of the server interrupts."""
    msg = "The server is shutting down. Send the request again."
    return RefusedError(503, msg, kind="server_error", code="shutting_down", headers=_RETRY_AFTER)


def _no_field(_: str) -> None:
    """Return None, because the error concerns no field."""


def refusal(error: Exception, field_of: Callable[[str], str | None] = _no_field) -> RefusedError:
    """Return what to tell the client about an error. Details of the servers behind this one are only logged.

    Args:
        error: The error.
        field_of: Returns the field of the request's body that holds a setting of the chat model, or None.
    """
    match error:
        case RefusedError():
            return error
        case HTTPException():
            return _unknown_endpoint(error)
        case ContextOverflowError():
            _LOGGER.info("A conversation is too long.", exc_info=error)
            msg = "The conversation is longer than the models' context. Shorten it."
            return RefusedError(400, msg, code="context_length_exceeded", param=field_of("messages"))
        case ValidationError():
            return _invalid_field(error)
        case ValueError() if invalid := _invalid_setting(str(error), field_of):
            return invalid
        case _:  # also any other ValueError, which is a defect, and whose message may contain anything
            _LOGGER.error("A reply failed.", exc_info=error)
            return _failure(error)


def _failure(error: Exception) -> RefusedError:
    if isinstance(error, ModelTimeoutError):
        return out_of_time()
    if isinstance(error, ModelInvalidRequestError):
        msg = "A model refused the request. Check the order of the messages, the tools and the JSON schemas."
        return RefusedError(400, msg, code="refused_by_model")
    if isinstance(error, ModelError):
        return RefusedError(503, "A model cannot be reached.", kind="server_error", code="model_unavailable")
    return RefusedError(500, "The server failed. See its log.", kind="server_error")


def _unknown_endpoint(error: HTTPException) -> RefusedError:
    msg = f"{error.detail}; expected POST /v1/chat/completions, POST /v1/responses, GET /v1/models or GET /health"
    codes = {404: "unknown_url", 405: "method_not_supported"}
    return RefusedError(error.status_code, msg, code=codes.get(error.status_code), headers=error.headers)


def _invalid_field(error: ValidationError) -> RefusedError:
    """Return the error for the first field that is not valid. Pydantic's names for the types of items are left out."""
    first = error.errors(include_url=False, include_input=False)[0]
    param = ".".join(str(step) for step in first["loc"] if not str(step).startswith(ITEM_TAG)) or None
    return RefusedError(400, f"{param or 'body'}: {reason_of(first)}", param=param)


def _invalid_setting(message: str, field_of: Callable[[str], str | None]) -> RefusedError | None:
    """Return the error for a message of the chat model that begins with the name of a setting. None: it does not."""
    setting, _, rest = message.partition(":")
    field = field_of(setting)
    return RefusedError(400, f"{field}:{rest}", param=field) if field else None
