"""Reading ahead: what a model may have to continue soon is read while another one writes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from langchain_spec_thinking.backends.base import Backend, End, Request, Usage

if TYPE_CHECKING:
    from concurrent.futures import Future

    from langchain_spec_thinking.turn import Turn

_THREADS = 16
"""Reads that go on at the same time. They wait for a model or a server, so they take no core."""


@cache
def readers() -> ThreadPoolExecutor:
    """Return the threads that read ahead, for all backends together."""
    return ThreadPoolExecutor(_THREADS, "prefetch")


def read_by_request(backend: Backend, turn: Turn) -> Future[Usage]:
    """Let a server read a turn by asking for one token, which nobody sees: its prefix cache is warm after that.

    Returns:
        What that used, or the error that it ended with.
    """
    snapshot = turn.snapshot()

    def read() -> Usage:
        used = Usage()
        for event in backend.continue_turn(snapshot, Request(1, temperature=0)):
            told = event.usage if isinstance(event, End) else event
            used = told.completed_by(used) if isinstance(told, Usage) else used
        return used

    return readers().submit(read)


def on_own_network(url: str) -> bool:
    """Whether a server is one's own, by its address: what it reads twice from its cache costs nothing."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_private
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal", ".lan"))
