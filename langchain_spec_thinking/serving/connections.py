"""Connections of clients, which are closed if the client is too slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from langchain_spec_thinking.serving.log import LOGGING

if TYPE_CHECKING:
    import asyncio

    from fastapi import FastAPI

    from langchain_spec_thinking.serving.limits import Limits

_HEADER_BYTES = 16_384
"""Longest header of a request, in bytes."""
_IDLE_SECONDS = 5
"""How long a connection may stay open between two requests, in seconds."""
_ANSWER_SECONDS = 1.0
"""How much longer than the application a connection waits for a body, in seconds. So the application can refuse it."""


class LimitedConnection(H11Protocol):
    """A connection of a client. It is closed if the client takes too long to send a request or to receive a reply.

    uvicorn itself waits for ever: for the header, for a body that the application does not read, and for a client that
    does not receive what was written.

    Attributes:
        client_seconds: The limit, in seconds: for the header, for the body, and for receiving what was written.
    """

    client_seconds = 30.0
    _sending: asyncio.TimerHandle | None = None
    _receiving: asyncio.TimerHandle | None = None
    _watched: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the header."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # `pause_writing` is called as soon as the client does not receive
        self._watch_request()

    def data_received(self, data: bytes) -> None:
        """Read a part of the request. Further parts do not give the client more time."""
        super().data_received(data)
        self._watch_request()

    def pause_writing(self) -> None:
        """Begin to wait until the client receives what was written."""
        super().pause_writing()
        self._receiving = self.loop.call_later(self.client_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop waiting for the client."""
        super().resume_writing()
        if self._receiving:
            self._receiving.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting for the client."""
        for timer in (self._sending, self._receiving):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def _watch_request(self) -> None:
        """Start the time limit of the header or the body, if it has just begun. Stop the limit of what is complete."""
        state = self.conn.their_state
        if state is self._watched:
            return
        self._watched = state
        if self._sending:
            self._sending.cancel()
        if state in {h11.IDLE, h11.SEND_BODY}:
            seconds = self.client_seconds + (_ANSWER_SECONDS if state is h11.SEND_BODY else 0.0)
            self._sending = self.loop.call_later(seconds, self.transport.abort)


def serve(app: FastAPI, *, host: str, port: int) -> None:
    """Serve an application until the process is told to stop, and log to the standard output, as lines of JSON.

    On Ctrl-C or SIGTERM, the server accepts no more connections. Replies may go on for `Limits.shutdown_seconds`.

    Args:
        app: The application of `create_app`.
        host: Address to listen on.
        port: Port to listen on.
    """
    limits: Limits = app.state.limits
    connection = type("Connection", (LimitedConnection,), {"client_seconds": limits.client_seconds})
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=connection,
        ws="none",
        log_config=LOGGING,
        access_log=False,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=limits.shutdown_seconds,
    )
