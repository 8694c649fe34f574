"""A circuit breaker, which stops requests to a server that is down."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.openai.retries import is_transient
from langchain_spec_thinking.errors import CircuitOpenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_spec_thinking.deadline import Deadline

FAILURES_MAX = 3
"""Failed requests in a row, each with its retries, after which the server counts as down."""
COOL_DOWN = 30.0
"""Seconds until the next request. At first, a single request tests the server."""
_EARLY = 0.05
"""How long before the deadline a wait may already end because of it, in seconds. Clocks differ a little."""
_LOGGER = logging.getLogger(__name__)


class CircuitBreaker:
    """Watches the requests to one server. Refuses requests at once while the server counts as down.

    Args:
        name: The server's name in errors.
        clock: Returns the time in seconds from any origin.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until = 0.0
        self._last = ""

    @contextmanager
    def watch(self, deadline: Deadline) -> Iterator[None]:
        """Watch the request that is made in this context. The request succeeded if the context ends without an error.

        An error at the deadline of the turn shows nothing about the server.

        Args:
            deadline: The deadline of the turn.

        Raises:
            CircuitOpenError: The server counts as down, so no request may be made now.
        """
        self._enter()
        try:
            yield
        except Exception as error:
            if deadline.left() > _EARLY:
                self._failed(error) if is_transient(error) else self._alive()
            raise
        self._alive()

    def _alive(self) -> None:
        """Record that the server answered. A refusal is an answer too."""
        with self._lock:
            self._failures = 0

    def _enter(self) -> None:
        with self._lock:
            if self._failures < FAILURES_MAX:
                return
            left = self._open_until - self._clock()
            if left > 0:
                raise CircuitOpenError(self._name, self._failures, self._last, left)
            self._open_until = self._clock() + COOL_DOWN  # this request passes; others wait for its result

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self._failures += 1
            self._last = type(error).__name__
            if self._failures < FAILURES_MAX:
                return
            self._open_until = self._clock() + COOL_DOWN
            if self._failures == FAILURES_MAX:
                _LOGGER.warning(
                    "%s failed %d times in a row (%s). The next request is in %.0f s.",
                    *(self._name, self._failures, self._last, COOL_DOWN),
                )
