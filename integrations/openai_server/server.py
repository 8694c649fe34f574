"""The endpoints of OpenAI's API that chat needs, for a small and a large model."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Request
from langchain_core.messages import BaseMessage, convert_to_messages

from integrations.openai_server.replies import EventsResponse, JsonBodyResponse, RefusedError, refusal
from integrations.openai_server.wire import ChatRequest, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Collection

    from fastapi.responses import Response

    from langchain_spec_thinking import ChatSpeculativeThinking


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for one request and for all requests together.

    Attributes:
        tokens: Most tokens of a reply, thought and answer together.
        body: Largest body of a request, in bytes.
        running: Most replies that are written at the same time.
        waiting: Most requests that wait. Further requests get status 429.
    """

    tokens: int = 4096
    body: int = 1_000_000
    running: int = 8
    waiting: int = 32


class RequestLimiter:
    """Limits how many requests run and how many wait.

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
            RefusedError: Too many requests are waiting.
        """
        if self._free.locked() and self._waiting >= self._limits.waiting:
            msg = (
                f"{self._limits.running} replies are being written and {self._waiting} requests wait. Try again later."
            )
            raise RefusedError(429, msg, kind="rate_limit_error", code="rate_limit_exceeded")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()


class Server:
    """Answers chats with a small and a large model.

    Args:
        model: The chat model.
        name: The model's name for clients.
        limits: The limits of requests.
    """

    def __init__(self, model: ChatSpeculativeThinking, name: str, limits: Limits) -> None:
        self._model = model
        self._name = name
        self._limits = limits
        self._limiter = RequestLimiter(limits)

    def listing(self) -> dict[str, Any]:
        """Return the list of models."""
        model = {"id": self._name, "object": "model", "created": 0, "owned_by": "spec-thinking"}
        context = (self._model.profile or {}).get("max_input_tokens")
        return {"object": "list", "data": [model | ({"max_model_len": context} if context else {})]}

    async def chat(self, request: Request) -> Response:
        """Answer a chat request."""
        chat_request = ChatRequest.model_validate_json(await self._body(request))
        if chat_request.model != self._name:
            msg = f"model: expected {self._name}, got {chat_request.model}"
            raise RefusedError(404, msg, code="model_not_found", param="model")
        if chat_request.tokens and chat_request.tokens > self._limits.tokens:
            msg = f"max_tokens: expected at most {self._limits.tokens}, got {chat_request.tokens}"
            raise RefusedError(400, msg, code="max_tokens_exceeded", param="max_tokens")
        tokens = chat_request.tokens or min(self._limits.tokens, self._model.max_tokens)
        messages = _messages(chat_request)
        settings = {**chat_request.settings(), "max_tokens": tokens}
        if chat_request.stream:
            include_usage = chat_request.stream_options.include_usage
            return EventsResponse(self._events(messages, settings, include_usage=include_usage))
        return JsonBodyResponse(self._complete(messages, settings))

    async def _complete(self, messages: list[BaseMessage], settings: dict[str, Any]) -> dict[str, Any]:
        async with self._limiter.slot():
            message = await self._model.ainvoke(messages, **settings)
        return Reply(self._name).completion(message)

    async def _events(
        self, messages: list[BaseMessage], settings: dict[str, Any], *, include_usage: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        reply = Reply(self._name)
        streamed: Any = self._model.astream(messages, **settings)
        async with self._limiter.slot(), aclosing(streamed) as chunks:
            async for chunk in chunks:
                for event in reply.chunks(chunk, include_usage=include_usage):
                    yield event

    async def _body(self, request: Request) -> bytes:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > self._limits.body:
                msg = f"the body has more than {self._limits.body} bytes, which is the limit"
                raise RefusedError(413, msg, code="request_too_large")
        return body


def _messages(chat_request: ChatRequest) -> list[BaseMessage]:
    try:
        return convert_to_messages(chat_request.messages)
    except (ValueError, KeyError, TypeError, NotImplementedError) as e:
        msg = f"messages: expected messages in the form of OpenAI's chat completions ({e})"
        raise RefusedError(400, msg, param="messages") from e


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
    server = Server(model, name, limits or Limits())
    app = FastAPI(title="Speculative Thinking", openapi_url=None)

    def require_key(request: Request) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        known = [secrets.compare_digest(given.strip().encode(), key.encode()) for key in api_keys]
        if scheme.lower() != "bearer" or not any(known):
            msg = "the key is missing or wrong; expected the header `Authorization: Bearer KEY`"
            raise RefusedError(401, msg, code="invalid_api_key")

    async def refused(_: Request, error: Exception) -> Response:
        return refusal(error).response()

    for kind in (RefusedError, ValueError):
        app.add_exception_handler(kind, refused)
    with_key = [Depends(require_key)]
    app.add_api_route("/v1/models", server.listing, dependencies=with_key)
    app.add_api_route("/v1/chat/completions", server.chat, methods=["POST"], dependencies=with_key, response_model=None)
    app.add_api_route("/health", lambda: {"status": "ok"})
    return app
