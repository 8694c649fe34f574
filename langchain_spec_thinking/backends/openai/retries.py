"""When and after how long a request is repeated. A request is repeated only if no text came yet."""

from __future__ import annotations

import math
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.openai.refusals import is_too_long
from langchain_spec_thinking.errors import BackendError

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState, Retrying

    from langchain_spec_thinking.deadline import Deadline

_TRANSIENT = {408, 409, 429}
_PERMANENT = {501, 505}
"""Statuses of a server's own errors that stay. Other 5xx statuses may go away, for example 520 and 529."""
_SERVER_ERROR = 500
UNREADABLE_EVENT_ERRORS = (ValueError, RecursionError)
"""Errors of reading a stream that contains an unreadable event: no text, no JSON, too deep, or with too many digits."""
_WAIT_MAX = 20.0
"""Longest wait, in seconds. If a server asks for a longer wait, the request is not repeated."""


def retrying(retries: int, deadline: Deadline) -> Retrying:
    """Return a loop over the attempts of a blocking request. A wait that would pass the deadline ends it."""
    from tenacity import Retrying  # noqa: PLC0415 - not needed before the first request

    return Retrying(**_settings(retries, deadline), sleep=deadline.clock.sleep)


def aretrying(retries: int, deadline: Deadline) -> AsyncRetrying:
    """Return a loop over the attempts of an asynchronous request. A wait that would pass the deadline ends it."""
    from tenacity import AsyncRetrying  # noqa: PLC0415 - not needed before the first request

    return AsyncRetrying(**_settings(retries, deadline), sleep=deadline.clock.async_sleep)


def _settings(retries: int, deadline: Deadline) -> dict[str, Any]:
    from tenacity import retry_if_exception, stop_after_attempt  # noqa: PLC0415 - as above

    enough = stop_after_attempt(retries + 1)
    return {
        "stop": lambda state: enough(state) or state.upcoming_sleep >= deadline.left(),
        "retry": retry_if_exception(is_transient),
        "wait": _wait,
        "reraise": True,
    }


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may succeed a moment later."""
    import httpx2  # noqa: PLC0415 - comes with openai
    import openai  # noqa: PLC0415 - heavy

    if isinstance(error, openai.APIError) and is_too_long(error):
        return False
    if isinstance(error, openai.APIStatusError):
        return _is_transient_status(error.status_code) and (_retry_after(error) or 0) <= _WAIT_MAX
    if isinstance(error, BackendError):
        return error.is_retryable
    if isinstance(error, UnicodeEncodeError):
        return False  # of the request
    # For example an error during the stream, a broken connection, or an unreadable event.
    return isinstance(error, (openai.APIError, httpx2.HTTPError, *UNREADABLE_EVENT_ERRORS))


def _is_transient_status(status: int) -> bool:
    return status in _TRANSIENT or (status >= _SERVER_ERROR and status not in _PERMANENT)


def _backoff(state: RetryCallState) -> float:
    from tenacity import wait_random_exponential  # noqa: PLC0415 - as above

    return wait_random_exponential(multiplier=0.5, max=_WAIT_MAX)(state)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    requested = _retry_after(error)
    return _backoff(state) if requested is None else requested


def _retry_after(error: BaseException | None) -> float | None:
    """Return the wait that the server asked for, in seconds. Return None if it named no usable time."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    named = (_number(headers.get("retry-after-ms"), 1000), _number(headers.get("retry-after"), 1))
    return next((seconds for seconds in named if seconds is not None), _until(headers.get("retry-after")))


def _number(value: str | None, per_second: int) -> float | None:
    """Return the seconds that a header names as a number."""
    try:
        seconds = float(value or "") / per_second
    except ValueError:
        return None
    return seconds if seconds >= 0 and not math.isnan(seconds) else None


def _until(value: str | None) -> float | None:
    """Return the seconds until the date that a header names. A date in the past means now."""
    try:
        date = parsedate_to_datetime(value or "")
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())
    except (OverflowError, ValueError):  # no date, or no such day
        return None
