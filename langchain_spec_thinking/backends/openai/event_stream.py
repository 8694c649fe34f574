"""The events of a stream, as decoded JSON.

The SDK splits each part of a body into lines, and decodes each line alone. Most parts are one whole event. Here, such a
part is decoded at once. The SDK still translates the errors of the connection.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import openai
from openai._streaming import SSEDecoder

from langchain_spec_thinking.backends.openai.network import TimedStream
from langchain_spec_thinking.backends.openai.reply_timer import DRAIN_SECONDS, timer_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    import httpx2
    from openai._streaming import ServerSentEvent

_LINE_END = re.compile(rb"\r\n|\n|\r")
_DONE = "[DONE]"


class EventDecoder(SSEDecoder):
    """Decodes the parts of a body, which may begin and end anywhere.

    Events without data are skipped. Gateways keep a stream alive with lines such as `retry: 3000` or `: ping`. The SDK
    reads the blank line after them as an event, and fails because the empty data of this event is not JSON.

    Args:
        response: The response that is read.

    Attributes:
        done: Whether the event `[DONE]` was read. Later bytes are not decoded.
    """

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__()
        self._response = response
        self._body: Iterator[bytes] | None = None
        self._held: list[bytes] = []  # parts of a line that has not ended
        self._between_events = True
        self._after_carriage_return = False
        self.done = False

    def iter_bytes(self, iterator: Iterator[bytes]) -> Iterator[Any]:
        """Yield the decoded events of a body up to `[DONE]`."""
        self._body = iterator  # kept: if it is deleted before the rest is read, the connection closes
        for part in iterator:
            yield from self.feed(part)
            if self.done:
                return

    async def aiter_bytes(self, iterator: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        """Do the same as `iter_bytes`, on an event loop."""
        async for part in iterator:
            for chunk in self.feed(part):
                yield chunk
            if self.done:
                return

    def feed(self, part: bytes) -> Iterator[object]:
        """Yield the decoded events that end in a part of the body.

        Raises:
            ValueError: An event is not JSON.
            openai.APIError: An event reports an error.
        """
        whole = self._between_events and part.startswith(b"data: {") and part.endswith(b"}\n\n")
        if whole and part.find(b"\n") == len(part) - 2 and b"\r" not in part:
            yield self._chunk(part[6:-2].decode())
            return
        for line in self._lines(part):
            event = self.decode(line.decode())
            if event is None:
                continue
            if event.data.startswith(_DONE):
                self.done = True
                return
            yield self._chunk(event.data)

    def decode(self, line: str) -> ServerSentEvent | None:
        """Read a line. Return an event if the line ends an event that has data."""
        event = super().decode(line)
        return event if event and event.data.strip() else None

    def _lines(self, part: bytes) -> Sequence[bytes]:
        """Return the lines that end in a part. The rest of the part is held."""
        if not part:
            return ()
        if self._after_carriage_return and part.startswith(b"\n"):
            part = part[1:]
        self._after_carriage_return = part.endswith(b"\r")
        *lines, rest = _LINE_END.split(part)
        if lines:
            lines[0] = b"".join(self._held) + lines[0]
            self._held.clear()
            self._between_events = not lines[-1] and not rest
        elif rest:
            self._between_events = False
        if rest:
            self._held.append(rest)
        return lines

    def _chunk(self, data: str) -> object:
        chunk = json.loads(data)
        if isinstance(chunk, dict) and (error := chunk.get("error")):
            words = error.get("message") if isinstance(error, dict) else None
            if not words or not isinstance(words, str):
                words = "An error occurred during streaming"
            raise openai.APIError(words, self._response.request, body=error)
        return chunk


class EventStream(openai.Stream[object]):
    """The stream of a blocking client. Its connection can be used again if the stream was read to its end."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._decoder = self._events = EventDecoder(self.response)

    def __iter__(self) -> Iterator[object]:
        """Return this stream."""
        return self

    def __stream__(self) -> Iterator[object]:
        """Yield the events."""
        try:
            yield from self._iter_events()
            if self._events.done:
                self.drain()
        finally:
            self.response.close()

    def drain(self) -> None:
        """Read what follows the last text, so that the next request can use the connection."""
        timer = timer_of(self.response.request)
        if timer and isinstance(self.response.extensions.get("network_stream"), TimedStream):
            timer.reply_ended()
            with suppress(Exception):  # after an error, the connection is closed
                for _ in self.response.stream:  # type: ignore[union-attr]
                    pass


class AsyncEventStream(openai.AsyncStream[object]):
    """The stream of a client on an event loop. It differs from `EventStream` only in how it waits."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._decoder = self._events = EventDecoder(self.response)

    async def __stream__(self) -> AsyncIterator[object]:
        """Yield the events."""
        try:
            async for chunk in self._iter_events():
                yield chunk
            if self._events.done:
                await self.drain()
        finally:
            await self.response.aclose()

    async def drain(self) -> None:
        """Read what follows the last text, so that the next request can use the connection."""
        with suppress(Exception):
            async with asyncio.timeout(DRAIN_SECONDS):
                async for _ in self.response.stream:  # type: ignore[union-attr]
                    await asyncio.sleep(0)  # so that the time limit also applies to a body in memory
