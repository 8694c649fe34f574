"""Responses that stop if the client disconnects, if time is up, or if the server shuts down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi.responses import Response

from langchain_spec_thinking.owned_stream import OwnedStream
from langchain_spec_thinking.serving.errors import RefusedError, json_bytes, out_of_time, refusal, shutting_down
from langchain_spec_thinking.serving.request_record import record_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

    from starlette.types import Message, Receive, Scope, Send

    from langchain_spec_thinking.serving.reply_fields import Reply

_CANCEL_SECONDS = 1.0
"""How long cancelled work may take to tell the client why it ends, and to close its streams, in seconds."""


class OpenResponses:
    """The responses that are being sent.

    Args:
        seconds: Longest time for a response, in seconds. It includes the time that the client takes to receive it.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._work: set[asyncio.Future[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        """Start to make and send a response."""
        started = asyncio.ensure_future(work)
        self._work.add(started)
        started.add_done_callback(self._work.discard)
        return started

    async def wait_until_closed(self) -> None:
        """Wait until responses that are being cancelled have told their clients why."""
        if self._work:
            await asyncio.wait(self._work, timeout=2 * _CANCEL_SECONDS)


class WatchedResponse(Response):
    """A response that is made while its client listens. The work is cancelled if nobody needs it any more.

    Args:
        responses: The open responses, to which this one is added.
    """

    def __init__(self, responses: OpenResponses) -> None:
        super().__init__()
        self._responses = responses
        self.interrupted_by: RefusedError | None = None

    async def work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make the response and send it. If this is cancelled, the client gets the error `interrupted_by`."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        work = self._responses.start(self.work(scope, receive, send))
        disconnected = asyncio.ensure_future(_disconnected(receive))
        try:
            ended = {work, disconnected}
            done, _ = await asyncio.wait(ended, timeout=self._responses.seconds, return_when=asyncio.FIRST_COMPLETED)
            self.interrupted_by = None if done else out_of_time()
            record_of(scope).disconnected = disconnected in done and work not in done
        except asyncio.CancelledError:
            self.interrupted_by = shutting_down()
            raise
        finally:
            disconnected.cancel()
            await _cancel(work)
        if work.done() and not work.cancelled():
            work.result()


class JsonBodyResponse(WatchedResponse):
    """A response in one piece.

    Args:
        body: Makes the JSON body.
        responses: The open responses.
    """

    def __init__(self, body: Callable[[], Awaitable[dict[str, Any]]], responses: OpenResponses) -> None:
        super().__init__(responses)
        self._body = body

    async def work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make the response and send it."""
        try:
            response = Response(json_bytes(await self._body()), media_type="application/json")
        except asyncio.CancelledError:
            if self.interrupted_by is None:
                raise
            response = record_of(scope).refused(self.interrupted_by).response()
        except Exception as error:  # noqa: BLE001 - every error is reported to the client
            response = record_of(scope).refused(refusal(error)).response()
        await response(scope, receive, send)


class EventsResponse(WatchedResponse):
    """A response of server-sent events. An error before the first event is an ordinary error response.

    Args:
        events: The events, each as JSON.
        reply: The reply, which says how the stream ends.
        responses: The open responses.
    """

    def __init__(self, events: AsyncGenerator[dict[str, Any], None], reply: Reply, responses: OpenResponses) -> None:
        super().__init__(responses)
        self._events = events
        self._reply = reply

    async def work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events as they come."""
        started = False
        try:
            async with OwnedStream(self._events) as events:
                async for event in events:
                    if not started:
                        await send(_START)
                        started = True
                    await send(_part(event))
        except asyncio.CancelledError:
            if self.interrupted_by is None:
                raise
            failed = self.interrupted_by
        except Exception as error:  # noqa: BLE001 - every error is reported to the client
            failed = refusal(error)
        else:
            await send(self._end())
            return
        record_of(scope).refused(failed)
        if not started:
            await failed.response()(scope, receive, send)
            return
        await send(_part(self._reply.failure(failed)))
        await send(self._end())

    def _end(self) -> Message:
        return {"type": "http.response.body", "body": self._reply.end, "more_body": False}


_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),  # keeps nginx from buffering the stream
    ],
}


def _part(event: dict[str, Any]) -> Message:
    name = f"event: {event['type']}\n".encode() if "type" in event else b""
    return {"type": "http.response.body", "body": name + b"data: " + json_bytes(event) + b"\n\n", "more_body": True}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(work: asyncio.Future[None]) -> None:
    """Cancel work and wait for its end. Cancel it again if it has not ended in time."""
    for _ in range(2):
        work.cancel()
        await asyncio.wait([work], timeout=_CANCEL_SECONDS)
