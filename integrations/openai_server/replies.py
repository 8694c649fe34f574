"""Answers to clients: worked out while they listen, refused in OpenAI's form."""

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
    """A request is not answered.

    Args:
        status: The HTTP status.
        message: What was seen, and what was expected.
        kind: OpenAI's `type` of the error.
        code: OpenAI's `code` of it, which programs look at.
        param: The field of the body that is at fault.
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
        """Return it as a response."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}  # noqa: PLR2004 - unauthorized
        headers |= {"Retry-After": "1"} if self.status == 429 else {}  # noqa: PLR2004 - too many requests
        return JSONResponse({"error": self.error}, self.status, headers)


_FAILURES: dict[type[Exception], tuple[int, str, str | None]] = {
    ModelTimeoutError: (504, "The models did not answer in time.", "timeout"),
    ModelError: (503, "A model cannot be reached.", "model_unavailable"),
    Exception: (500, "The server failed. Its log says why.", None),
}


def refusal(error: Exception) -> RefusedError:
    """Say what a client is told of an error. What concerns the servers behind this one stays in the log."""
    match error:
        case RefusedError():
            return error
        case ContextOverflowError():
            return RefusedError(400, str(error), code="context_length_exceeded", param="messages")
        case ValidationError():
            first = error.errors()[0]
            param = ".".join(map(str, first["loc"])) or None
            return RefusedError(400, f"{param or 'body'}: {first['msg']}", param=param)
        case ValueError():
            return RefusedError(400, str(error))
    _LOGGER.error("A reply failed.", exc_info=error)
    status, message, code = next(told for kind, told in _FAILURES.items() if isinstance(error, kind))
    return RefusedError(status, message, kind="server_error", code=code)


class WatchedResponse(Response):
    """A response that is worked out while its client listens; the work is cancelled when the client goes."""

    def __init__(self) -> None:
        super().__init__()

    async def work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work the response out, and send it."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond."""
        work = asyncio.ensure_future(self.work(scope, receive, send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            gone.cancel()
            done, _ = await asyncio.gather(work, gone, return_exceptions=True)
        if isinstance(done, Exception):
            raise done


class WholeResponse(WatchedResponse):
    """A response in one piece.

    Args:
        body: Works out what to send, as JSON.
    """

    def __init__(self, body: Coroutine[Any, Any, dict[str, Any]]) -> None:
        super().__init__()
        self._body = body

    async def work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work the response out, and send it."""
        try:
            response: Response = JSONResponse(await self._body)
        except Exception as error:  # noqa: BLE001 - all are told to the client
            response = refusal(error).response()
        await response(scope, receive, send)


class EventsResponse(WatchedResponse):
    """A response as server-sent events. An error before the first of them is an ordinary error.

    Args:
        events: What to send, each as JSON.
    """

    def __init__(self, events: AsyncGenerator[dict[str, Any], None]) -> None:
        super().__init__()
        self._events = events

    async def work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work the response out, and send it as it comes."""
        started = False
        async with aclosing(self._events) as events:
            try:
                async for event in events:
                    if not started:
                        await send(_START)
                        started = True
                    await send(_part(json.dumps(event, ensure_ascii=False)))
            except Exception as error:  # noqa: BLE001 - as above
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
        (b"x-accel-buffering", b"no"),  # else nginx holds the stream back
    ],
}


def _part(data: str) -> dict[str, Any]:
    return {"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
