"""Watches the bytes of a response: the time that they take, their number, the first ones, and the end of a stream.

The SDK takes a stream that was cut off for one that reached its `[DONE]` event. If the server sends a finish reason,
`[DONE]` is not needed. Without either, text would be lost unnoticed. The SDK also ignores comments between the events
without telling anybody, and it collects an event, an error or a list of models until it ends, however long that is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.openai.reply_timer import TIMED_OUT, timer_of
from langchain_spec_thinking.errors import CompressedReplyError, OversizedReplyError
from langchain_spec_thinking.owned_stream import OwnedStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Self

    import httpx2

EVENT_BYTES_MAX = 8 * 1024 * 1024
"""Most bytes of one event of a stream, or of a whole response that is no event stream."""
_FIRST_BYTES = 16 * 1024
"""How many bytes are kept of the beginning of a response, for an error in it."""
_DONE = re.compile(rb"[\r\n]data: ?\[DONE\]")  # only at the beginning of a line, because a model may write this text
_DONE_LENGTH = len(b"\ndata: [DONE]")
_EVENT_END = re.compile(rb"\n\r?\n|\r\r")


def watch_response(response: httpx2.Response) -> None:
    """Watch the bytes of a response. Nothing may have been read from it yet. Doing this twice changes nothing."""
    import httpx2  # noqa: PLC0415 - comes with openai

    class WatchedStream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
        """Passes the same bytes on."""

        def __init__(self, inner: httpx2.SyncByteStream | httpx2.AsyncByteStream) -> None:
            self._inner = inner
            self._watch = _Watch(response)
            self._parts = _AsyncParts(inner, self._watch)

        def __iter__(self) -> Iterator[bytes]:
            for part in self._inner:  # type: ignore[union-attr]
                self._watch(part)
                yield part

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._parts

        def close(self) -> None:
            self._inner.close()  # type: ignore[union-attr]

        async def aclose(self) -> None:
            await self._parts.aclose()

    if "sse_done" not in response.extensions:
        response.extensions["sse_done"] = False
        response.stream = WatchedStream(response.stream)


async def awatch_response(response: httpx2.Response) -> None:
    """Do the same as `watch_response`, as the hook of an asynchronous client."""
    watch_response(response)


def saw_sse_done(response: httpx2.Response) -> bool:
    """Return whether the stream's `[DONE]` event was read."""
    return bool(response.extensions.get("sse_done"))


def first_bytes(response: httpx2.Response) -> bytes:
    """Return the beginning of what was read, at most 16 KiB. A server may send an error in place of events."""
    import httpx2  # noqa: PLC0415 - comes with openai

    if seen := response.extensions.get("first_bytes"):
        return bytes(seen)
    try:
        return response.content[:_FIRST_BYTES]  # a transport of the user may have read it already
    except httpx2.ResponseNotRead:
        return b""


class _AsyncParts:
    """The parts of an asynchronous stream. A reader that begins again gets the rest.

    The SDK leaves its generators half-read, and so the generators that they read. This class is no generator. Closing
    it closes the generator that it reads.

    Args:
        inner: The stream.
        watch: Called with each part.
    """

    def __init__(self, inner: Any, watch: Callable[[bytes], None]) -> None:  # noqa: ANN401 - it may be a blocking stream
        self._inner = inner
        self._watch = watch
        self._parts: OwnedStream[bytes] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._parts is None:
            self._parts = OwnedStream(self._inner.__aiter__())
        part = await anext(self._parts)
        self._watch(part)
        return part

    async def aclose(self) -> None:
        try:
            if self._parts:
                await self._parts.aclose()
        finally:
            await self._inner.aclose()


class _Watch:
    """Looks at each part of a response.

    Raises:
        httpx2.ReadTimeout: The time of the request is over.
        CompressedReplyError: The response is compressed, so its length is not known before it is in memory.
        OversizedReplyError: An event, or a response that is no event stream, is too long.
    """

    def __init__(self, response: httpx2.Response) -> None:
        self._timer = timer_of(response.request)
        self._encoding = response.headers.get("content-encoding", "").strip().lower()
        self._streams = "event-stream" in response.headers.get("content-type", "")
        self._response = response
        self._first: bytearray = response.extensions.setdefault("first_bytes", bytearray())
        self._tail = b"\n"
        self._event_bytes = 0

    def __call__(self, part: bytes) -> None:
        if self._timer and self._timer.left() <= 0:
            import httpx2  # noqa: PLC0415 - comes with openai

            raise httpx2.ReadTimeout(TIMED_OUT, request=self._response.request)
        if self._encoding not in {"", "identity"}:
            raise CompressedReplyError(self._encoding)
        if len(self._first) < _FIRST_BYTES:
            self._first += part[: _FIRST_BYTES - len(self._first)]
        seen = self._tail + part
        if b"[DONE]" in seen and _DONE.search(seen):
            self._response.extensions["sse_done"] = True
        self._count(seen, len(part))
        self._tail = seen[-_DONE_LENGTH:]

    def _count(self, seen: bytes, size: int) -> None:
        if self._streams and seen.endswith(b"\n\n"):  # the usual case
            self._event_bytes = 0
            return
        end = max((found.end() for found in _EVENT_END.finditer(seen)), default=0) if self._streams else 0
        self._event_bytes = len(seen) - end if end else self._event_bytes + size
        if self._event_bytes > EVENT_BYTES_MAX:
            what = "an event of the stream" if self._streams else "the response"
            raise OversizedReplyError(what, f"{EVENT_BYTES_MAX // 1024**2} MiB")
