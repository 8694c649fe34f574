"""When a request is made again, and how long after. Only requests that brought no text yet are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tenacity import AsyncRetrying, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from langchain_spec_thinking.backends.openai.stream_events import UnreadableEventError
from langchain_spec_thinking.errors import BackendError

if TYPE_CHECKING:
    from tenacity import RetryCallState

_TRANSIENT = {408, 409, 429, 500, 502, 503, 504}
NO_EVENT = (json.JSONDecodeError, UnicodeDecodeError, UnreadableEventError)
"""What reading a stream raises where something in it is no event."""
_WAIT_MAX = 20.0
"""The longest wait, in seconds; a server that asks for more is not waited for."""
_backoff = wait_random_exponential(multiplier=0.5, max=_WAIT_MAX)


def retrying(retries: int) -> Retrying:
    """Return a loop over attempts of a blocking request."""
    return Retrying(**_settings(retries))


def aretrying(retries: int) -> AsyncRetrying:
    """Return a loop over attempts of an asynchronous request."""
    return AsyncRetrying(**_settings(retries))


def _settings(retries: int) -> dict[str, Any]:
    return {
        "stop": stop_after_attempt(retries + 1),
        "retry": retry_if_exception(is_transient),
        "wait": _wait,
        "reraise": True,
    }


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may well succeed a moment later."""
    import httpx2  # noqa: PLC0415 - comes with openai
    import openai  # noqa: PLC0415 - heavy

    if isinstance(error, openai.APIStatusError):
        return error.status_code in _TRANSIENT and (_retry_after(error) or 0) <= _WAIT_MAX
    if isinstance(error, BackendError):
        return error.is_retryable
    # An error in mid-stream, a connection that breaks, an event that is no event.
    return isinstance(error, (openai.APIError, httpx2.HTTPError, *NO_EVENT))


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = _retry_after(error)
    return _backoff(state) if asked is None else asked


def _retry_after(error: BaseException | None) -> float | None:
    """Return the seconds that the server asked to wait, if it did so in seconds."""
    response = getattr(error, "response", None)
    try:
        return float(response.headers["retry-after"]) if response is not None else None
    except (KeyError, ValueError):
        return None
