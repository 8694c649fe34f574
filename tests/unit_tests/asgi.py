"""Runs an ASGI application as a server in this process, for clients that stream and hang up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Exchange(httpx2.AsyncByteStream):
    """One request and its response, passed on as it comes. `httpx2.ASGITransport` waits for the whole response."""

    def __init__(self, app: Any, request: httpx2.Request, body: bytes) -> None:
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._received = [{"type": "http.request", "body": body, "more_body": False}]
        self._disconnected = asyncio.Event()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(key.lower(), value) for key, value in request.headers.raw],
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.split(b"?")[0],
            "query_string": request.url.query,
            "server": (request.url.host, request.url.port),
            "client": ("127.0.0.1", 123),
            "root_path": "",
        }
        self._app = asyncio.ensure_future(app(scope, self._receive, self._sent.put))

    async def _receive(self) -> dict[str, Any]:
        if self._received:
            return self._received.pop()
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def _next(self) -> dict[str, Any]:
        """Return what the application sends next. Raise its error if it fails."""
        sent = asyncio.ensure_future(self._sent.get())
        await asyncio.wait({sent, self._app}, return_when=asyncio.FIRST_COMPLETED)
        if not sent.done() and self._sent.empty():
            sent.cancel()
            self._app.result()
            msg = "the application ended before its response"
            raise httpx2.RemoteProtocolError(msg)
        return await sent

    async def start(self) -> httpx2.Response:
        try:
            start = await self._next()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        return httpx2.Response(start["status"], headers=start["headers"], stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            part = await self._next()
            yield part.get("body", b"")
            more = part.get("more_body", False)

    async def aclose(self) -> None:
        """Hang up and wait until the application has noticed."""
        self._disconnected.set()
        await asyncio.wait({self._app})


class Transport(httpx2.AsyncBaseTransport):
    """Sends requests to an application."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await Exchange(self._app, request, await request.aread()).start()
