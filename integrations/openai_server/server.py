"""The endpoints of OpenAI's API that chat needs, for a small and a large model."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from integrations.openai_server.errors import (
    RefusedError,
    overloaded,
    refusal,
    too_large,
    too_many_requests,
    too_slow,
)
from integrations.openai_server.limits import Limits
from integrations.openai_server.replies import EventsResponse, JsonBodyResponse, OpenResponses
from integrations.openai_server.request import ChatRequest
from integrations.openai_server.wire import Reply
from langchain_spec_thinking.owned_stream import OwnedStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Collection

    from fastapi.responses import Response
    from langchain_core.messages import BaseMessage

    from langchain_spec_thinking import ChatSpeculativeThinking


class RequestLimiter:
    """Limits how many requests run, how many wait, and for how long.

    Args:
        limits: The limits.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(limits.running)
        self._waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait until the request may run.

        Raises:
            RefusedError: Too many requests are waiting, or this request has waited too long.
        """
        await self._acquire()
        try:
            yield
        finally:
            self._free.release()

    async def _acquire(self) -> None:
        limits = self._limits
        if self._free.locked() and self._waiting >= limits.waiting:
            raise too_many_requests(limits.running, self._waiting)
        self._waiting += 1
        try:
            async with asyncio.timeout(limits.wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise overloaded(limits.wait_seconds) from None
        finally:
            self._waiting -= 1


class Server:
    """Answers chats with a small and a large model.

    Args:
        model: The chat model.
        name: The model's name for clients.
        limits: The limits of requests.
    """

    def __init__(self, model: ChatSpeculativeThinking, name: str, limits: Limits) -> None:
        timeout = min(model.timeout or limits.reply_seconds, limits.reply_seconds)
        self._model = model.model_copy(update={"timeout": timeout})
        self._name = name
        self._limits = limits
        self._limiter = RequestLimiter(limits)
        self._responses = OpenResponses(limits.wait_seconds + limits.reply_seconds)

    def listing(self) -> dict[str, Any]:
        """Return the list of models."""
        model = {"id": self._name, "object": "model", "created": 0, "owned_by": "spec-thinking"}
        context = (self._model.profile or {}).get("max_input_tokens")
        return {"object": "list", "data": [model | ({"max_model_len": context} if context else {})]}

    async def chat(self, request: Request) -> Response:
        """Answer a chat request."""
        chat_request = ChatRequest.model_validate_json(await self._body(request))
        self._limits.require(chat_request)
        if chat_request.model != self._name:
            msg = f"model: expected {self._name}, got {chat_request.model}"
            raise RefusedError(404, msg, code="model_not_found", param="model")
        tokens = chat_request.tokens or min(self._limits.tokens, self._model.max_tokens or self._limits.tokens)
        messages = chat_request.to_langchain()
        settings = {**chat_request.settings(), "max_tokens": tokens}
        if chat_request.stream:
            events = self._events(messages, settings, include_usage=chat_request.include_usage)
            return EventsResponse(events, self._responses)
        return JsonBodyResponse(partial(self._complete, messages, settings), self._responses)

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Serve, and wait at the end until clients know why their replies end. uvicorn ends the process after that."""
        yield
        await self._responses.wait_until_closed()

    async def _complete(self, messages: list[BaseMessage], settings: dict[str, Any]) -> dict[str, Any]:
        async with self._limiter.slot():
            message = await self._model.ainvoke(messages, **settings)
        return Reply(self._name).completion(message)

    async def _events(
        self, messages: list[BaseMessage], settings: dict[str, Any], *, include_usage: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        reply = Reply(self._name)
        async with self._limiter.slot(), OwnedStream(self._model.astream(messages, **settings)) as chunks:
            async for chunk in chunks:
                for event in reply.chunks(chunk, include_usage=include_usage):
                    yield event

    async def _body(self, request: Request) -> bytes:
        body, limits = bytearray(), self._limits
        try:
            async with asyncio.timeout(limits.client_seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > limits.body:
                        raise too_large(limits.body)
        except TimeoutError:
            raise too_slow(limits.client_seconds) from None
        except ClientDisconnect:
            msg = "the client disconnected before the end of the body"
            raise RefusedError(400, msg) from None
        return bytes(body)


def create_app(
    model: ChatSpeculativeThinking,
    api_keys: Collection[str],
    *,
    name: str = "speculative-thinking",
    limits: Limits | None = None,
) -> FastAPI:
    """Make the application for any ASGI server.

    Args:
        model: The chat model.
        api_keys: The accepted API keys.
        name: The model's name for clients.
        limits: The limits of requests.

    Raises:
        ValueError: There is no key, or one of the keys is empty.
    """
    if not api_keys or not all(api_keys):
        msg = "api_keys: expected at least one key and no empty key, because otherwise anybody could use the models"
        raise ValueError(msg)
    limits = limits or Limits()
    server = Server(model, name, limits)
    app = FastAPI(title="Speculative Thinking", openapi_url=None, redirect_slashes=False, lifespan=server.running)
    app.state.limits = limits

    def require_key(request: Request) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        known = [secrets.compare_digest(given.strip().encode(), key.encode()) for key in api_keys]
        if scheme.lower() != "bearer" or not any(known):
            msg = "the key is missing or wrong; expected the header `Authorization: Bearer KEY`"
            raise RefusedError(401, msg, code="invalid_api_key")

    async def refused(_: Request, error: Exception) -> Response:
        return refusal(error).response()

    for kind in (RefusedError, ValueError, HTTPException, Exception):
        app.add_exception_handler(kind, refused)
    with_key = [Depends(require_key)]
    app.add_api_route("/v1/models", server.listing, dependencies=with_key)
    app.add_api_route("/v1/chat/completions", server.chat, methods=["POST"], dependencies=with_key, response_model=None)
    app.add_api_route("/health", lambda: {"status": "ok"})
    return app
