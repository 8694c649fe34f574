"""Errors of OpenAI-compatible servers. The messages name the model and the server, and say what to do."""

from __future__ import annotations

from urllib.parse import urljoin

import httpx2
import openai
from langchain_core.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from langchain_spec_thinking.backends.openai.refusals import is_too_long, server_message
from langchain_spec_thinking.backends.openai.retries import is_transient
from langchain_spec_thinking.errors import BackendError, PromptTooLongError
from langchain_spec_thinking.surrogates import whole_characters


class OpenAIBackendError(BackendError, openai.APIError):
    """A server failed in a way that no other class describes."""

    is_retryable = True  # for example an error in the stream, or an unreadable event


class UnexpectedBackendError(BackendError):
    """A request could not be made, or its reply could not be used, for a reason that no other class describes."""


class AuthenticationBackendError(BackendError, ModelAuthenticationError, openai.AuthenticationError):
    """The server does not accept the API key."""


class PermissionBackendError(BackendError, ModelPermissionDeniedError, openai.PermissionDeniedError):
    """The API key may not use the model."""


class NotFoundBackendError(BackendError, ModelNotFoundError, openai.NotFoundError):
    """The server does not have the model or the endpoint."""


class InvalidRequestBackendError(BackendError, ModelInvalidRequestError, openai.BadRequestError):
    """The server refuses the request."""


class RedirectBackendError(BackendError, ModelInvalidRequestError, openai.APIStatusError):
    """The server redirects to another address. Redirects are not followed."""


class RateLimitBackendError(BackendError, ModelRateLimitError, openai.RateLimitError):
    """The server received too many requests."""


class ServerBackendError(BackendError, ModelAPIError, openai.InternalServerError):
    """The server failed."""


class TimeoutBackendError(BackendError, ModelTimeoutError, openai.APITimeoutError):
    """The server did not answer in time."""


class ConnectionBackendError(BackendError, ModelConnectionError, openai.APIConnectionError):
    """The server cannot be reached or closed the connection."""


class ContextBackendError(PromptTooLongError, openai.BadRequestError):
    """The server reports that the conversation is too long for the model."""


_REDIRECTS = 3
"""First digit of the statuses of redirects."""
_ADDRESS_MAX = 200
"""Longest part of the address of a redirect that is shown, in characters."""
_KINDS: tuple[tuple[type[Exception], type[BackendError], str], ...] = (
    (openai.AuthenticationError, AuthenticationBackendError, "Check `api_key`."),
    (openai.PermissionDeniedError, PermissionBackendError, "Check the permissions of the API key."),
    (openai.NotFoundError, NotFoundBackendError, "Check the model's name and `base_url` (it usually ends in /v1)."),
    (openai.RateLimitError, RateLimitBackendError, "Try again later, or raise `max_retries`."),
    (openai.InternalServerError, ServerBackendError, "See the server's log."),
    (openai.APITimeoutError, TimeoutBackendError, "Raise `timeout`, or check why the server is slow."),
    (openai.APIConnectionError, ConnectionBackendError, "Check that the server is running at this address."),
    (openai.APIStatusError, InvalidRequestBackendError, "Check the settings that the server names."),
)


def translate(error: Exception, *, name: str, url: str) -> BackendError:
    """Return the matching error of this package. It keeps the SDK's attributes.

    Args:
        error: What the SDK raised, or what was raised while its reply was read, without secrets.
        name: The model's name.
        url: The server's address.
    """
    known = isinstance(error, (openai.OpenAIError, httpx2.HTTPError)) or is_transient(error)
    kind: type[BackendError] = OpenAIBackendError if known else UnexpectedBackendError
    advice = "See the server's log."
    for raised, translated, what_to_do in _KINDS:
        if isinstance(error, raised):
            kind, advice = translated, what_to_do
            break
    said = server_message(error)
    if isinstance(error, openai.APIError) and is_too_long(error):
        kind, advice = ContextBackendError, "Shorten the messages or take a model with a longer context."
    if isinstance(error, openai.APIStatusError) and error.status_code // 100 == _REDIRECTS:
        kind, advice = RedirectBackendError, "Set `base_url` to the new address if you trust it."
        said = f"the server redirects to {_target(error, url)}, and redirects are not followed"
    cause = str(error.__cause__ or "") if isinstance(error, openai.APIConnectionError) else ""
    if cause.lower() not in said.lower():
        said = f"{said} {cause}"
    message = f"{name} at {url}: {said.rstrip(' .')}. {advice}"
    message = whole_characters(message)  # half a character could not be logged
    new = kind.__new__(kind)
    new.__dict__.update({**vars(error), "message": message})
    new.args = (message,)
    return new


def _target(error: openai.APIStatusError, url: str) -> str:
    """Return the address that a redirect names."""
    location = str(error.response.headers.get("location", ""))[:_ADDRESS_MAX]
    try:
        return urljoin(f"{url}/", location) if location else "an address that it does not name"
    except ValueError:  # it is no valid address
        return location
