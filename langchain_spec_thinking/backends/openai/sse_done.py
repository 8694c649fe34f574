"""Tells a stream that reached its `[DONE]` event from a stream that was cut off.

The SDK takes both for a normal end. If the server sends a finish reason, `[DONE]` is not needed. Without either, text
would be lost unnoticed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import httpx2

_DONE = re.compile(rb"[\r\n]data: ?\[DONE\]")  # only at the beginning of a line, because a model may write this text
_DONE_LENGTH = len(b"\ndata: [DONE]")


def watch_sse_done(response: httpx2.Response) -> None:
    """Make a response record in its extensions that `[DONE]` passed. Nothing may have been read from it yet."""
    import httpx2  # noqa: PLC0415 - comes with openai

    class WatchedStream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
        """Passes the same bytes on."""

        def __init__(self, inner: httpx2.SyncByteStream | httpx2.AsyncByteStream) -> None:
            self._inner = inner
            self._tail = b"\n"

        def __iter__(self) -> Iterator[bytes]:
            for part in self._inner:  # type: ignore[union-attr]
                self._look_for_done(part)
                yield part

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for part in self._inner:  # type: ignore[union-attr]
                self._look_for_done(part)
                yield part

        def close(self) -> None:
            self._inner.close()  # type: ignore[union-attr]

        async def aclose(self) -> None:
            await self._inner.aclose()  # type: ignore[union-attr]

        def _look_for_done(self, part: bytes) -> None:
            seen = self._tail + part
            if _DONE.search(seen):
                response.extensions["sse_done"] = True
            self._tail = seen[-_DONE_LENGTH:]

    response.stream = WatchedStream(response.stream)


def saw_sse_done(response: httpx2.Response) -> bool:
    """Return whether the stream's `[DONE]` event was read."""
    return bool(response.extensions.get("sse_done"))
