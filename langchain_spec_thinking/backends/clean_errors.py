"""Removes secrets from errors of other packages, whose requests hold the API key and whose texts may quote it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.redaction import public_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_spec_thinking.backends.redaction import Redactor

_HEADERS = ("content-type", "date", "retry-after", "retry-after-ms", "x-request-id")
_RATE_LIMIT_HEADERS = "x-ratelimit-"
"""Headers of a response that are kept. The others may hold cookies and credentials."""


def remove_secrets(error: BaseException, redactor: Redactor, *, except_for: BaseException | None = None) -> None:
    """Remove the secrets from an error and from all errors that led to it. The errors themselves are changed.

    A request keeps its method and its address without credentials. A response keeps its status, its text, and the
    headers about limits, redirects and the request's id. Other objects in the attributes of an error are removed.

    Args:
        error: The error.
        redactor: Knows the secrets.
        except_for: An error of the user's program, which stays as it is, with the errors that led to it.
    """
    for found in chain_of(error, except_for):
        if not isinstance(found, BaseExceptionGroup):  # its members are cleaned one by one
            found.args = tuple(_clean(arg, redactor) for arg in found.args)
        if isinstance(found, UnicodeError):
            _clear(found)
        attributes = getattr(found, "__dict__", {})
        for name, value in attributes.items():
            attributes[name] = _clean(value, redactor)


def chain_of(error: BaseException, except_for: BaseException | None = None) -> Iterator[BaseException]:
    """Yield an error, the errors that led to it, and the errors of groups. `except_for` ends the chain."""
    left, seen = [error], {id(except_for)}
    while left:
        found = left.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        members = found.exceptions if isinstance(found, BaseExceptionGroup) else ()
        left += [cause for cause in (found.__cause__, found.__context__, *members) if cause is not None]


def _clear(error: UnicodeError) -> None:
    """Remove the text that could not be encoded or decoded. It is not among the attributes in `__dict__`."""
    if isinstance(error, UnicodeDecodeError):
        error.object = b""
    elif isinstance(error, (UnicodeEncodeError, UnicodeTranslateError)):
        error.object = ""


def _clean(value: Any, redactor: Redactor) -> Any:  # noqa: ANN401 - any attribute of an error
    if hasattr(value, "status_code") and hasattr(value, "headers"):
        return _response(value, redactor)
    if hasattr(value, "method") and hasattr(value, "headers"):
        return _request(value, redactor)
    return redactor.data(value)


def _request(request: Any, redactor: Redactor) -> Any:  # noqa: ANN401 - of httpx or httpx2
    try:
        return type(request)(request.method, redactor.text(public_url(str(request.url))))
    except Exception:  # noqa: BLE001 - a request of another package may be made differently
        return None


def _response(response: Any, redactor: Redactor) -> Any:  # noqa: ANN401
    request = getattr(response, "_request", None)  # the property raises an error if there is none
    try:
        return type(response)(
            response.status_code,
            headers={name: redactor.text(value) for name, value in _kept_headers(response)},
            content=redactor.text(_text(response)).encode(),
            request=request and _request(request, redactor),
        )
    except Exception:  # noqa: BLE001
        return None


def _kept_headers(response: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    for name, value in response.headers.items():
        if name.lower() in _HEADERS or name.lower().startswith(_RATE_LIMIT_HEADERS):
            yield name, value
        elif name.lower() == "location":
            with suppress(ValueError):  # it is no valid address
                yield name, public_url(value)


def _text(response: Any) -> str:  # noqa: ANN401
    try:
        return str(response.text)
    except RuntimeError:  # the text of a stream was not read
        return ""
