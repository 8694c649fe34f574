"""The limits of the server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for one request and for all requests together.

    Attributes:
        tokens: Most tokens of a reply, thought and answer together.
        body: Largest body of a request, in bytes.
        messages: Most messages of a chat, or items of the input of `/v1/responses`.
        tools: Most tools of a request.
        running: Most replies that are written at the same time.
        waiting: Most requests that wait. Further requests get status 429.
        client_seconds: How long a client may take to send the header of a request, to send the body, and to receive
            what the server has written, in seconds each.
        wait_seconds: How long a request may wait before its reply begins, in seconds. Then it gets status 503.
        reply_seconds: How long a reply may take, in seconds. Then it ends with an error. If the `timeout` of the chat
            model is shorter, it applies instead.
        shutdown_seconds: How long replies may go on after the server was told to stop, in seconds.
    """

    tokens: int = 4096
    body: int = 1_000_000
    messages: int = 1000
    tools: int = 128
    running: int = 8
    waiting: int = 32
    client_seconds: float = 30.0
    wait_seconds: float = 60.0
    reply_seconds: float = 600.0
    shutdown_seconds: int = 10
