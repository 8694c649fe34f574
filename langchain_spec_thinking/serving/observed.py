"""Counts and logs every request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from langchain_spec_thinking.serving.request_record import begin_record

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from langchain_spec_thinking.serving.metrics import Metrics

_LOGGER = logging.getLogger(__name__)
_QUIET = {"/health", "/metrics"}
"""Endpoints that machines ask all the time. Their successes are logged at the level DEBUG only."""


class Observed:
    """An application whose requests are counted and logged. The header `x-request-id` of a response is in the log.

    Args:
        app: The application.
        metrics: Where requests are counted.
        endpoints: The paths that the server knows.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, endpoints: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = begin_record(scope, self._endpoints)

        async def observed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", record.id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        except Exception:  # any error, because it is raised again
            record.code = "server_error"  # the server tells the client after this
            raise
        finally:
            record.end()
            self._metrics.count(record)
            quiet = record.endpoint in _QUIET and record.code is None
            _LOGGER.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"fields": record.fields()})
