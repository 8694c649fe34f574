"""Prefetching: one model prefills a turn in advance while another model writes."""

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
"""Largest number of prefetches at the same time. The threads wait for a model or a server and need little CPU time."""


@cache
def prefetch_threads() -> ThreadPoolExecutor:
    """Return the thread pool for prefetching, which all backends share."""
    return ThreadPoolExecutor(_THREADS, "prefetch")


def prefetch_by_request(backend: Backend, turn: Turn) -> Future[Usage]:
    """Make a server prefill a turn by a request for one token.

    The token is dropped. After the request, the turn is in the server's prefix cache.

    Returns:
        A future with the tokens used, or with the error of the request.
    """
    snapshot = turn.snapshot()

    def read() -> Usage:
        used = Usage()
        for event in backend.continue_turn(snapshot, Request(1, temperature=0)):
            usage = event.usage if isinstance(event, End) else event
            used = usage.with_defaults_from(used) if isinstance(usage, Usage) else used
        return used

    return prefetch_threads().submit(read)


def on_own_network(url: str) -> bool:
    """Return whether the address of a server is on a private network. A prefix cache hit costs no money there."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_private
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal", ".lan"))
