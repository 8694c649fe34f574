"""Connections that are open before a request needs them.

If a stream is closed before its end, its connection is closed too. Servers also close idle connections. A new
connection costs two round trips with TLS 1.3, and three with TLS 1.2. So it is opened while another model writes.

httpx2 and httpcore2 have no function for this. So this module uses their private attributes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpcore2

from langchain_spec_thinking.backends.openai.network import CancellableStream, TimedStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2
    import openai

    from langchain_spec_thinking.backends.openai.reply_timer import ReplyTimer

_STREAMS_PER_SPARE = 8
"""Running streams for which one more idle connection is kept. Few streams are closed at the same moment."""
_KEPT_SECONDS = 30.0
"""How long a connection may wait for its first request, in seconds. Many servers close it after about 60."""
_CONNECT_SECONDS = 10.0
"""Longest time to open a connection ahead of its request, in seconds."""
_WAIT_SECONDS = 2.0
"""How long a request waits for a connection that is being opened, in seconds. Then it opens its own."""


class _Pool:
    """The connections of one client to its server: what the two classes below have in common.

    Args:
        client: The SDK's client. Its HTTP client does not come from the user.

    Attributes:
        waits: Number of requests that waited because their connection was still being opened.
    """

    def __init__(self, client: openai.OpenAI | openai.AsyncOpenAI) -> None:
        self.waits = 0
        url: httpx2.URL = client.base_url
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/")
        limits = {"connect": _CONNECT_SECONDS, "write": _CONNECT_SECONDS, "read": _CONNECT_SECONDS}
        self._request = httpcore2.Request("GET", target, extensions={"timeout": limits})
        transport: Any = client._client._transport_for_url(url)  # noqa: SLF001
        self._pool: Any = getattr(transport, "_pool", None)

    def _wants(self, opening: int) -> bool:
        """Return whether one more connection should be opened.

        Args:
            opening: Number of connections that are being opened.
        """
        if self._pool is None:
            return False
        origin = self._request.url.origin
        own = [found for found in self._pool.connections if found.can_handle_request(origin)]
        idle = [found for found in own if found.is_idle()]
        ready = sum(not found.has_expired() for found in idle)
        return ready + opening < 1 + (len(own) - len(idle)) // _STREAMS_PER_SPARE

    def _has_idle(self) -> bool:
        """Return whether a request could be sent at once."""
        pool = self._pool
        return pool is not None and any(found.is_idle() and not found.has_expired() for found in pool.connections)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Open no further connections if this fails because httpcore2 is another version, or because of a proxy.

        Every other failure is passed over: the next request opens its own connection, and reports why it cannot.
        """
        try:
            yield
        except (AttributeError, TypeError):
            self._pool = None
        except Exception:  # noqa: BLE001, S110 - a network may fail in any way
            pass

    def _keep(self, connection: Any, http: type[Any], stream: object) -> None:  # noqa: ANN401
        """Put an open connection among the idle ones."""
        inner = http(connection._origin, stream, self._pool._keepalive_expiry)  # noqa: SLF001
        if isinstance(stream, (TimedStream, CancellableStream)):
            stream.use.wait_for_first()
        inner._state = type(inner._state).IDLE  # noqa: SLF001
        inner._expire_at = time.monotonic() + _KEPT_SECONDS  # noqa: SLF001
        connection._connection = inner  # noqa: SLF001
        with self._pool._optional_thread_lock:  # noqa: SLF001
            self._pool._connections.append(connection)  # noqa: SLF001


def _wait_seconds(timer: ReplyTimer) -> float:
    return min(max(timer.left(), 0.0), _WAIT_SECONDS)


class SpareConnections(_Pool):
    """Opens connections of a blocking client, each in a thread."""

    def __init__(self, client: openai.OpenAI) -> None:
        super().__init__(client)
        self._opening: list[Future[None]] = []

    def open(self) -> None:
        """Begin to open a connection if the next request would have to wait for one."""
        if not self._wants(len(self._opening)):
            return
        opened: Future[None] = Future()
        self._opening.append(opened)

        def work() -> None:
            with self._working():
                connection = self._pool.create_connection(self._request.url.origin)
                stream = connection._connect(self._request)  # noqa: SLF001
                try:
                    self._keep(connection, httpcore2.HTTP11Connection, stream)
                except BaseException:
                    stream.close()
                    raise
            self._forget(opened)
            opened.set_result(None)

        try:
            threading.Thread(target=work, name="connection", daemon=True).start()
        except RuntimeError:  # the process may have no more threads
            self._forget(opened)

    def wait(self, timer: ReplyTimer) -> None:
        """Wait for a connection that is being opened and that no other request waits for."""
        if self._opening and not self._has_idle():
            self.waits += 1
            with suppress(IndexError, TimeoutError):  # another thread may be faster
                self._opening.pop(0).result(_wait_seconds(timer))

    def _forget(self, opened: Future[None]) -> None:
        with suppress(ValueError):  # a request waits for it
            self._opening.remove(opened)


class AsyncSpareConnections(_Pool):
    """Opens connections of a client on an event loop, each in a task."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        super().__init__(client)
        self._opening: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Begin to open a connection if the next request would have to wait for one."""
        if self._wants(len(self._opening)):
            task = asyncio.get_running_loop().create_task(self._open(), name="connection")
            self._tasks.add(task)
            self._opening.append(task)
            task.add_done_callback(self._forget)

    async def wait(self, timer: ReplyTimer) -> None:
        """Wait for a connection that is being opened and that no other request waits for."""
        if self._opening and not self._has_idle():
            self.waits += 1
            await asyncio.wait([self._opening.pop(0)], timeout=_wait_seconds(timer))

    async def _open(self) -> None:
        with self._working():
            connection = self._pool.create_connection(self._request.url.origin)
            stream = await connection._connect(self._request)  # noqa: SLF001
            try:
                self._keep(connection, httpcore2.AsyncHTTP11Connection, stream)
            except BaseException:
                await stream.aclose()
                raise

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with suppress(ValueError):
            self._opening.remove(task)
