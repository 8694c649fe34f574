"""Prefetching: one model prefills a turn in advance while another model writes."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import closing
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from langchain_spec_thinking.backends.base import Backend, End, Request, Usage
from langchain_spec_thinking.backends.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_spec_thinking.turn import Turn

_PREFETCHES_MAX = 16
"""Largest number of prefetches at the same time. Each one has a thread, which waits for a model or a server."""
_FREE = threading.Semaphore(_PREFETCHES_MAX)


def prefetch_in_thread(read: Callable[[Future[Usage]], Usage]) -> Future[Usage] | None:
    """Start a prefetch in a thread.

    Args:
        read: Prefills a turn and returns the tokens used. It gets the future of the prefetch. It may ask whether the
            future is cancelled, and may call `begin` when the prefetch can no longer be cancelled.

    Returns:
        A future with the tokens used, or with the error. None if too many prefetches or threads are running. The error
        has no traceback: the cache of a turn refers to the future, and a traceback would keep the turn alive.
    """
    if not _FREE.acquire(blocking=False):
        return None
    prefetch: Future[Usage] = Future()

    def run() -> None:
        try:
            used = read(prefetch)
        except BaseException as error:  # noqa: BLE001 - whoever needs the prefetch gets the error
            error.__cause__ = error.__context__ = None
            if begin(prefetch):
                prefetch.set_exception(error.with_traceback(None))
        else:
            if begin(prefetch):
                prefetch.set_result(used)
        finally:
            _FREE.release()

    try:
        start_thread(run, prefetch.cancel, "prefetch")
    except RuntimeError:  # the process may have no more threads
        _FREE.release()
        return None
    return prefetch


def begin(prefetch: Future[Usage]) -> bool:
    """Make a prefetch impossible to cancel from now on. Return False if it is cancelled already."""
    return prefetch.running() or (not prefetch.cancelled() and prefetch.set_running_or_notify_cancel())


def prefetch_by_request(backend: Backend, turn: Turn) -> Future[Usage] | None:
    """Make a server prefill a turn by a request for one token.

    The token is dropped. After the request, the turn is in the server's prefix cache. If the future is cancelled, the
    request ends at its next event.

    Returns:
        A future with the tokens used, or with the error of the request. None if too many prefetches are running.
    """
    snapshot = turn.snapshot()

    def read(prefetch: Future[Usage]) -> Usage:
        used = Usage()
        with closing(backend.continue_turn(snapshot, Request(1, temperature=0))) as events:
            for event in events:
                if prefetch.cancelled():
                    break
                usage = event.usage if isinstance(event, End) else event
                used = usage.with_defaults_from(used) if isinstance(usage, Usage) else used
        return used

    return prefetch_in_thread(read)


def on_own_network(url: str) -> bool:
    """Return whether the address of a server is on a private network. A prefix cache hit costs no money there."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_private
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal", ".lan"))
