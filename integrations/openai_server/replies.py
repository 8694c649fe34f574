"""Responses that stop if the client disconnects, and errors in OpenAI's form."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from fastapi.responses import JSONResponse, Response
from langchain_core.exceptions import ContextOverflowError, ModelError, ModelTimeoutError
from pydantic import ValidationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from starlette.types import Receive, Scope, Send

_LOGGER = logging.getLogger(__name__)


class RefusedError(Exception):
    """A request is refused.

    Args:
        status: The HTTP status.
        message: What was received and what was expected.
        kind: OpenAI's `type` of the error.
        code: OpenAI's `code` of the error, which programs can check.
        param: The field of the body that caused the error.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": kind, "param": param, "code": code}

    def response(self) -> Response:
        """Return the error as a response."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}  # noqa: PLR2004 - status "Unauthorized"
        headers |= {"Retry-After": "1"} if self.status == 429 else {}  # noqa: PLR2004 - status "Too Many Requests"
        return JSONResponse({"error": self.error}, self.status, headers)


_FAILURES: dict[type[Exception], tuple[int, str, str | None]] = {
    ModelTimeoutError: (504, "The models did not answer in time.", "timeout"),
    ModelError: (503, "A model cannot be reached.", "model_unavailable"),
    Exception: (500, "The server failed. See its log.", None),
}


def refusal(error: Exception) -> RefusedError:
    """Return what to tell the client about an error. Details of the servers behind this one are only logged."""
    match error:
        case RefusedError():
            return error
        case ContextOverflowError():
            _LOGGER.info("A conversation is too long: %s", error)
            message = "The conversation is longer than the models' context. Shorten it."
            return RefusedError(400, message, code="context_length_exceeded", param="messages")
        case ValidationError():
            first = error.errors()[0]
            param = ".".join(map(str, first["loc"])) or None
            return RefusedError(400, f"{param or 'body'}: {first['msg']}", param=param)
        case ValueError():
            return RefusedError(400, str(error))
    _LOGGER.error("A reply failed.", exc_info=error)
    status, message, code = next(failure for kind, failure in _FAILURES.items() if isinstance(error, kind))
    return RefusedError(status, message, kind="server_error", code=code)


class WatchedResponse(Response):
    """A response that is made while its client listens. The work is cancelled if the client disconnects."""

    def __init__(self) -> None:
        super().__init__()

    async def work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make the response and send it."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        work = asyncio.ensure_future(self.work(scope, receive, send))
        disconnected = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({work, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            disconnected.cancel()
            done, _ = await asyncio.gather(work, disconnected, return_exceptions=True)
        if isinstance(done, Exception):
            raise done


class JsonBodyResponse(WatchedResponse):
    """A response in one piece.

    Args:
        body: Makes the JSON body.
    """

    def __init__(self, body: Coroutine[Any, Any, dict[str, Any]]) -> None:
        super().__init__()
        self._body = body

    async def work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make the response and send it."""
        try:
            response: Response = JSONResponse(await self._body)
        except Exception as error:  # noqa: BLE001 - every error is reported to the client
            response = refusal(error).response()
        await response(scope, receive, send)


class EventsResponse(WatchedResponse):
    """A response of server-sent events. An error before the first event is an ordinary error response.

    Args:
        events: The events, each as JSON.
    """

    def __init__(self, events: AsyncGenerator[dict[str, Any], None]) -> None:
        super().__init__()
        self._events = events

    async def work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events as they come."""
        started = False
        async with aclosing(self._events) as events:
            try:
                async for event in events:
                    if not started:
                        await send(_START)
                        started = True
                    await send(_part(json.dumps(event, ensure_ascii=False)))
            except Exception as error:  # noqa: BLE001 - every error is reported to the client
                if not started:
                    await refusal(error).response()(scope, receive, send)
                    return
                await send(_part(json.dumps({"error": refusal(error).error})))
        await send(_part("[DONE]"))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),  # keeps nginx from buffering the stream
    ],
}


def _part(data: str) -> dict[str, Any]:
    return {"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
