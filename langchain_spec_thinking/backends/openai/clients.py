"""The SDK's clients of one server: one for blocking calls, one for each event loop."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2
    import openai

    from langchain_spec_thinking.backends.replies.continuation import Endpoint

    _Kept = tuple[openai.AsyncOpenAI, AsyncGenerator[None, None]]

_PATHS: dict[Endpoint, str] = {"completions": "/completions", "chat": "/chat/completions"}


class Clients:
    """Made when they are first needed; kept, so that connections are used again.

    Args:
        settings: Of either client.
        http_client: The user's own, which stays open.
        http_async_client: The user's own, which stays open.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        http_client: httpx2.Client | None,
        http_async_client: httpx2.AsyncClient | None,
    ) -> None:
        self._settings = settings
        self._http_client = http_client
        self._http_async_client = http_async_client
        self.asynchronous_only = http_client is None and http_async_client is not None
        self.by_loop: dict[asyncio.AbstractEventLoop, _Kept] = {}
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    @cached_property
    def client(self) -> openai.OpenAI:
        """The client for blocking calls."""
        import openai  # noqa: PLC0415 - heavy

        return openai.OpenAI(**self._settings, http_client=self._http_client)

    def lock(self) -> asyncio.Lock:
        """Return the lock of the running event loop, for what only one task is to ask the server."""
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    async def async_client(self) -> openai.AsyncOpenAI:
        """Return the client of the running event loop: connections cannot change loops."""
        loop = asyncio.get_running_loop()
        if loop not in self.by_loop:
            import openai  # noqa: PLC0415 - heavy

            client = openai.AsyncOpenAI(**self._settings, http_client=self._http_async_client)
            keeper = self._until_loop_ends(loop, client)
            await anext(keeper)
            self.by_loop[loop] = (client, keeper)
        return self.by_loop[loop][0]

    def open(self, endpoint: Endpoint, body: dict[str, Any]) -> openai.Stream[object]:
        """Send a request that streams. Its chunks are JSON as it came: the SDK's models cost more than all else.

        Args:
            endpoint: Where to.
            body: The arguments of the SDK's own method for it.
        """
        import openai  # noqa: PLC0415 - heavy

        return self.client.post(**_request(endpoint, body), stream=True, stream_cls=openai.Stream[object])

    async def aopen(self, endpoint: Endpoint, body: dict[str, Any]) -> openai.AsyncStream[object]:
        """Like `open`, on an event loop."""
        import openai  # noqa: PLC0415 - heavy

        client = await self.async_client()
        return await client.post(**_request(endpoint, body), stream=True, stream_cls=openai.AsyncStream[object])

    async def _until_loop_ends(
        self, loop: asyncio.AbstractEventLoop, client: openai.AsyncOpenAI
    ) -> AsyncGenerator[None, None]:
        """Let go of a client when its event loop ends: a loop closes the asynchronous generators that are open."""
        try:
            yield
        finally:
            self.by_loop.pop(loop, None)
            if self._http_async_client is None:  # the user's own is the user's to close
                await client.close()


def _request(endpoint: Endpoint, body: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the SDK's `post`, which takes apart what its methods take together."""
    fields = {name: value for name, value in body.items() if name not in {"timeout", "extra_body"}}
    options = {"timeout": body["timeout"], "extra_json": body.get("extra_body")}
    return {"path": _PATHS[endpoint], "cast_to": object, "body": fields, "options": options}
