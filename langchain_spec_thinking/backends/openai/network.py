"""A network backend for HTTP connections that obeys the timer of each request, and notices dead connections.

A timeout of an HTTP client limits the wait for the next bytes. A server that sends one byte at a time never exceeds it.
Here, each connect, read and write of a blocking client may take only as long as the timer of its request allows. Of an
asynchronous client, only the reads need this limit, because everything before them is cancelled in time. But httpcore2
does not close a connection that is cancelled within the TLS handshake, so that is done here.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Any

import httpcore2

from langchain_spec_thinking.backends.openai.reply_timer import TIMED_OUT, TimeoutWithTimer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    import httpx2

_KEPT_SECONDS = 60.0
"""How long an idle connection is kept, in seconds. A small model may write that long between two takeovers.

Many servers close idle connections earlier, often after five seconds. The client checks a connection before it uses it.
"""
_CLOSED = "the server closed an idle connection"
_FOUND_DEAD_SECONDS = 2.0
"""A request that fails so soon on an idle connection found it dead, in seconds. This is more than a few round trips."""
_WRITE_BYTES = 16_384
"""Most bytes to write before the timer is asked again."""


def obey_timers(client: httpx2.Client) -> None:
    """Make the connections of an HTTP client obey the timers of its requests. The client has no connections yet."""
    _replace_network(client, TimedBackend)


def close_if_cancelled(client: httpx2.AsyncClient) -> None:
    """Make an HTTP client close its connections whenever it is cancelled, and let its reads obey timers.

    The client has no connections yet.
    """
    _replace_network(client, CancellableBackend)


def _replace_network(client: httpx2.Client | httpx2.AsyncClient, wrapper: Callable[[Any], object]) -> None:
    """Wrap the network backend of a client. httpx2 has no argument for this, so the place where it is kept is used."""
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = wrapper(pool._network_backend)  # noqa: SLF001
            pool._keepalive_expiry = _KEPT_SECONDS  # noqa: SLF001


class DeadConnectionError(httpcore2.ReadError):
    """The server closed an idle connection at the moment when a request was sent on it."""


def found_dead_connection(error: BaseException) -> bool:
    """Return whether a request failed because the server closed its idle connection. It can be sent again at once."""
    cause = error.__cause__
    found = isinstance(error, DeadConnectionError)
    return found or (cause is not None and cause is not error and found_dead_connection(cause))


class _Use:
    """Records whether a connection was idle before its request, and has received nothing since then."""

    def __init__(self) -> None:
        self._idle = self._first = False
        self._sent_at: float | None = None  # when the request was sent that has no answer yet

    def wait_for_first(self) -> None:
        """Note that the connection is open before its first request."""
        self._idle = self._first = True

    def sent(self) -> None:
        """Note that a part of a request is sent."""
        if self._idle:
            self._idle = self._first = False
            self._sent_at = time.monotonic()

    @property
    def found_dead(self) -> bool:
        """Whether the server closed the idle connection, if the connection ends now.

        A server that closes it later may have begun to work on the request, and may bill it.
        """
        return self._sent_at is not None and time.monotonic() < self._sent_at + _FOUND_DEAD_SECONDS

    def is_readable(self, inner: httpcore2.NetworkStream | httpcore2.AsyncNetworkStream) -> object:
        """Return whether something can be read from an idle connection, which means that the server closed it.

        Before the first request, the server may also have sent keys for the next TLS connection. So only the end of
        the stream counts then.
        """
        number = getattr(inner.get_extra_info("socket"), "fileno", int)() if self._first else 0
        if number <= 0 or not hasattr(select, "POLLRDHUP"):
            return inner.get_extra_info("is_readable")
        ends = select.poll()
        ends.register(number, select.POLLRDHUP)
        return bool(ends.poll(0))

    def received(self, part: bytes) -> bytes:
        """Note what has come, and return it.

        Raises:
            DeadConnectionError: The server closed the idle connection.
        """
        if self.found_dead and not part:
            raise DeadConnectionError(_CLOSED)
        self._idle, self._sent_at = True, None
        return part


class TimedBackend(httpcore2.NetworkBackend):
    """Opens connections that obey timers.

    Args:
        inner: The network backend that does the work.
    """

    def __init__(self, inner: httpcore2.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address of the host that answers. The addresses share the time equally."""
        failed: Exception = httpcore2.ConnectError(f"{host} has no address")
        addresses = _addresses(host, port)
        for tried, address in enumerate(addresses):
            left = _left(timeout, httpcore2.ConnectTimeout)
            share = None if left is None else left / (len(addresses) - tried)
            try:
                stream = self._inner.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
            else:
                return TimedStream(stream)
        raise failed

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to a Unix socket."""
        left = _left(timeout, httpcore2.ConnectTimeout)
        return TimedStream(self._inner.connect_unix_socket(path, left, socket_options))

    def sleep(self, seconds: float) -> None:
        """Wait before another attempt to connect."""
        self._inner.sleep(seconds)


class TimedStream(httpcore2.NetworkStream):
    """A connection that obeys the timers of its requests.

    Args:
        inner: The connection.
    """

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner
        self.use = _Use()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Wait for bytes."""
        try:
            return self.use.received(self._inner.read(max_bytes, _left(timeout, httpcore2.ReadTimeout)))
        except httpcore2.ReadError as error:
            if self.use.found_dead:
                raise DeadConnectionError(_CLOSED) from error
            raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write bytes, some at a time."""
        self.use.sent()
        for start in range(0, len(buffer), _WRITE_BYTES):
            left = _left(timeout, httpcore2.WriteTimeout)
            self._inner.write(buffer[start : start + _WRITE_BYTES], left)

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """Encrypt the connection."""
        left = _left(timeout, httpcore2.ConnectTimeout)
        return TimedStream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - part of the interface
        """Return a property of the connection."""
        return self.use.is_readable(self._inner) if info == "is_readable" else self._inner.get_extra_info(info)


class CancellableBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections that are closed if they are cancelled within the TLS handshake, and whose reads obey timers.

    Args:
        inner: The network backend that does the work.
    """

    def __init__(self, inner: httpcore2.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(self, *arguments: Any, **settings: Any) -> httpcore2.AsyncNetworkStream:
        """Connect to a host."""
        return CancellableStream(await self._inner.connect_tcp(*arguments, **settings))

    async def connect_unix_socket(self, *arguments: Any, **settings: Any) -> httpcore2.AsyncNetworkStream:
        """Connect to a Unix socket."""
        return CancellableStream(await self._inner.connect_unix_socket(*arguments, **settings))

    async def sleep(self, seconds: float) -> None:
        """Wait before another attempt to connect."""
        await self._inner.sleep(seconds)


class CancellableStream(httpcore2.AsyncNetworkStream):
    """A connection that is closed if it is cancelled within the TLS handshake, and whose reads obey timers.

    Args:
        inner: The connection.
    """

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self.use = _Use()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - part of the interface
        """Wait for bytes."""
        try:
            return self.use.received(await self._inner.read(max_bytes, _left(timeout, httpcore2.ReadTimeout)))
        except httpcore2.ReadError as error:
            if self.use.found_dead:
                raise DeadConnectionError(_CLOSED) from error
            raise

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write bytes."""
        self.use.sent()
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._inner.aclose()

    async def start_tls(self, *arguments: Any, **settings: Any) -> httpcore2.AsyncNetworkStream:
        """Encrypt the connection, or close it."""
        try:
            return CancellableStream(await self._inner.start_tls(*arguments, **settings))
        except BaseException:
            await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401
        """Return a property of the connection."""
        return self.use.is_readable(self._inner) if info == "is_readable" else self._inner.get_extra_info(info)


def _left(timeout: float | None, error: type[Exception]) -> float | None:
    """Return how long the next wait may take, in seconds.

    Raises:
        Exception: An error of the given class if no time is left.
    """
    if not isinstance(timeout, TimeoutWithTimer):
        return timeout
    left = timeout.timer.left()
    if left <= 0:
        raise error(TIMED_OUT)
    return left


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore2.ConnectError(str(error)) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
