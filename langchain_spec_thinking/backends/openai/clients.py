"""The SDK's clients for one server: one for blocking calls, and one for each event loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from langchain_spec_thinking.backends.openai.response_bytes import awatch_response, watch_response
from langchain_spec_thinking.backends.prefetching import on_own_network

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    import httpx2
    import openai

    from langchain_spec_thinking.backends.openai.address import Address
    from langchain_spec_thinking.backends.openai.api_key import ApiKey
    from langchain_spec_thinking.backends.openai.event_stream import AsyncEventStream, EventStream
    from langchain_spec_thinking.backends.openai.reply_timer import ReplyTimer
    from langchain_spec_thinking.backends.replies.continuation import Endpoint

    _ClientAndKeeper = tuple[openai.AsyncOpenAI, AsyncGenerator[None, None]]

_PATHS: dict[Endpoint, str] = {"completions": "/completions", "chat": "/chat/completions"}


class Clients:
    """Creates the clients when they are first needed, and keeps them so that connections are reused.

    Args:
        address: Where the requests go.
        key: The API key.
        settings: Further arguments for both kinds of client.
        http_client: The user's own HTTP client. It stays open.
        http_async_client: The user's own asynchronous HTTP client. It stays open.
    """

    def __init__(
        self,
        address: Address,
        key: ApiKey,
        settings: dict[str, Any],
        http_client: httpx2.Client | None,
        http_async_client: httpx2.AsyncClient | None,
    ) -> None:
        self._key = key
        self._far = not on_own_network(address.url)
        self._settings = {**address.client_settings(), **settings}
        self._http_client = http_client
        self._http_async_client = http_async_client
        self.asynchronous_only = key.is_asynchronous or (http_client is None and http_async_client is not None)
        self.by_loop: dict[asyncio.AbstractEventLoop, _ClientAndKeeper] = {}
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    @cached_property
    def client(self) -> openai.OpenAI:
        """The client for blocking calls."""
        from langchain_spec_thinking.backends.openai.private_client import (  # noqa: PLC0415 - imports openai
            PrivateClient,
        )

        client = PrivateClient(**self._settings, api_key=self._key.for_client, http_client=self._http_client)
        if self._http_client is None:  # the user's own client stays as it is
            from langchain_spec_thinking.backends.openai.network import obey_timers  # noqa: PLC0415 - imports httpcore2
            from langchain_spec_thinking.backends.openai.spare_connections import (  # noqa: PLC0415 - as above
                SpareConnections,
            )

            obey_timers(client._client)  # noqa: SLF001 - the SDK's client has the right settings already
            client._client.event_hooks = {"response": [watch_response]}  # noqa: SLF001
            if self._far:
                with suppress(Exception):  # another version of httpx2 may keep its connections elsewhere
                    client.spares = SpareConnections(client)
        return client

    def lock(self) -> asyncio.Lock:
        """Return the lock of the running event loop. It lets only one task ask the server what it supports."""
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    async def async_client(self) -> openai.AsyncOpenAI:
        """Return the client of the running event loop. A connection belongs to one event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self.by_loop:
            from langchain_spec_thinking.backends.openai.private_client import (  # noqa: PLC0415 - imports openai
                AsyncPrivateClient,
            )

            own, key = self._http_async_client, self._key.for_async_client
            client = AsyncPrivateClient(**self._settings, api_key=key, http_client=own)
            if self._http_async_client is None:
                from langchain_spec_thinking.backends.openai.network import (  # noqa: PLC0415 - imports httpcore2
                    close_if_cancelled,
                )
                from langchain_spec_thinking.backends.openai.spare_connections import (  # noqa: PLC0415 - as above
                    AsyncSpareConnections,
                )

                close_if_cancelled(client._client)  # noqa: SLF001
                client._client.event_hooks = {"response": [awatch_response]}  # noqa: SLF001
                if self._far:
                    with suppress(Exception):  # as above
                        client.spares = AsyncSpareConnections(client)
            keeper = self._until_loop_ends(loop, client)
            await anext(keeper)
            self.by_loop[loop] = (client, keeper)
            await self._drop_clients_of_closed_loops()
        return self.by_loop[loop][0]

    def connect_ahead(self) -> None:
        """Begin to open a connection in the background, if the next request would have to wait for one.

        Nothing happens before the first request, on the local network, or with a client of the user.
        """
        loop = _running_loop()
        found = self.by_loop.get(loop) if loop else None
        client: Any = found[0] if found else self.__dict__.get("client")
        if spares := getattr(client, "spares", None):
            with suppress(Exception):  # a request works without it
                spares.open()

    def open(self, endpoint: Endpoint, body: dict[str, Any], timer: ReplyTimer) -> EventStream:
        """Send a request that streams.

        The chunks are plain decoded JSON, because building the SDK's models takes most of the time.

        Args:
            endpoint: The endpoint to call.
            body: The arguments of the SDK's method for this endpoint.
            timer: How long the reply may take.
        """
        import tenacity  # noqa: PLC0415 - not needed before the first request

        from langchain_spec_thinking.backends.openai import event_stream, network  # noqa: PLC0415 - imports openai

        if spares := getattr(self.client, "spares", None):
            spares.wait(timer)

        def send() -> EventStream:
            request = _request(endpoint, body, timer)
            stream: EventStream = self.client.post(**request, stream=True, stream_cls=event_stream.EventStream)
            return stream

        return tenacity.Retrying(**_once_more(network.found_dead_connection))(send)

    async def aopen(self, endpoint: Endpoint, body: dict[str, Any], timer: ReplyTimer) -> AsyncEventStream:
        """Do the same as `open`, on an event loop."""
        import tenacity  # noqa: PLC0415 - not needed before the first request

        from langchain_spec_thinking.backends.openai import event_stream, network  # noqa: PLC0415 - imports openai

        client = await self.async_client()
        if spares := getattr(client, "spares", None):
            await spares.wait(timer)

        async def send() -> AsyncEventStream:
            request = _request(endpoint, body, timer)
            async with in_time(timer):
                return await client.post(**request, stream=True, stream_cls=event_stream.AsyncEventStream)

        return await tenacity.AsyncRetrying(**_once_more(network.found_dead_connection))(send)

    async def _drop_clients_of_closed_loops(self) -> None:
        """Drop clients that their event loop did not close. The garbage collector then closes their sockets."""
        for loop in [loop for loop in [*self.by_loop] if loop.is_closed()]:  # other threads add and drop clients too
            client, _ = self.by_loop.pop(loop, (None, None))
            if client and self._http_async_client is None:
                with suppress(RuntimeError):  # the event loop of the connections is closed
                    await client.close()

    async def _until_loop_ends(
        self, loop: asyncio.AbstractEventLoop, client: openai.AsyncOpenAI
    ) -> AsyncGenerator[None, None]:
        """Close a client when its event loop ends. An event loop closes its open asynchronous generators then."""
        try:
            yield
        finally:
            self.by_loop.pop(loop, None)
            if self._http_async_client is None:  # the user closes their own client
                await client.close()


def _once_more(after: Callable[[BaseException], bool]) -> dict[str, Any]:
    """Return settings of tenacity: a second attempt at once, after some errors."""
    import tenacity  # noqa: PLC0415 - as above

    return {"retry": tenacity.retry_if_exception(after), "stop": tenacity.stop_after_attempt(2), "reraise": True}


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@asynccontextmanager
async def in_time(timer: ReplyTimer) -> AsyncIterator[None]:
    """Cancel a request whose time is over, for example because its header never ends.

    Raises:
        openai.APITimeoutError: The request was cancelled.
    """
    limit = asyncio.timeout(max(timer.left(), 0.0))
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        import httpx2  # noqa: PLC0415 - comes with openai
        import openai  # noqa: PLC0415 - heavy

        raise openai.APITimeoutError(request=httpx2.Request("POST", "")) from error


def _request(endpoint: Endpoint, body: dict[str, Any], timer: ReplyTimer) -> dict[str, Any]:
    """Return the arguments of the SDK's `post`, which takes the body and the options apart."""
    fields = {name: value for name, value in body.items() if name != "extra_body"}
    options = {"timeout": timer.timeout(), "extra_json": body.get("extra_body")}
    return {"path": _PATHS[endpoint], "cast_to": object, "body": fields, "options": options}
