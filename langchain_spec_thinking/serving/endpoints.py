"""The endpoints that ask the models, and the list of models."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from langchain_spec_thinking.owned_stream import OwnedStream
from langchain_spec_thinking.serving.chat_reply import ChatReply
from langchain_spec_thinking.serving.chat_request import ChatRequest
from langchain_spec_thinking.serving.delivery import EventsResponse, JsonBodyResponse, OpenResponses
from langchain_spec_thinking.serving.errors import RefusedError, refusal, too_large, too_slow
from langchain_spec_thinking.serving.limiter import RequestLimiter
from langchain_spec_thinking.serving.metrics import Metrics
from langchain_spec_thinking.serving.reply_fields import finish_reason
from langchain_spec_thinking.serving.request_fields import ModelRequest
from langchain_spec_thinking.serving.request_record import record_of
from langchain_spec_thinking.serving.responses_reply import ResponsesReply
from langchain_spec_thinking.serving.responses_request import ResponsesRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from fastapi import FastAPI
    from langchain_core.messages import BaseMessage

    from langchain_spec_thinking import ChatSpeculativeThinking
    from langchain_spec_thinking.serving.limits import Limits
    from langchain_spec_thinking.serving.reply_fields import Reply
    from langchain_spec_thinking.serving.request_record import RequestRecord

_LOGGER = logging.getLogger(__name__)
R = TypeVar("R", bound=ModelRequest)


@dataclass(frozen=True, slots=True)
class _Turn:
    """What a request asks the chat model, and how the answer reaches the client."""

    messages: list[BaseMessage]
    settings: dict[str, Any]
    form: type[ModelRequest]
    reply: Reply
    record: RequestRecord


class Endpoints:
    """Answers requests with a small and a large model.

    Args:
        model: The chat model.
        name: The model's name for clients.
        limits: The limits of requests.

    Attributes:
        metrics: What the server has done.
    """

    def __init__(self, model: ChatSpeculativeThinking, name: str, limits: Limits) -> None:
        timeout = min(model.timeout or limits.reply_seconds, limits.reply_seconds)
        self._model = model.model_copy(update={"timeout": timeout})
        self._name = name
        self._limits = limits
        self._limiter = RequestLimiter(limits)
        self._responses = OpenResponses(limits.wait_seconds + limits.reply_seconds)
        self.metrics = Metrics(self._limiter)

    def models(self) -> dict[str, Any]:
        """Return the list of models."""
        model = {"id": self._name, "object": "model", "created": 0, "owned_by": "spec-thinking"}
        context = (self._model.profile or {}).get("max_input_tokens")
        return {"object": "list", "data": [model | ({"max_model_len": context} if context else {})]}

    async def metrics_page(self) -> Response:
        """Return the metrics for Prometheus."""
        return Response(self.metrics.page(), media_type=self.metrics.content_type)

    async def chat(self, request: Request) -> Response:
        """Answer a request of the API for chat completions."""
        return await self._answer(request, ChatRequest, ChatReply)

    async def responses(self, request: Request) -> Response:
        """Answer a request of the Responses API."""
        return await self._answer(request, ResponsesRequest, ResponsesReply)

    @asynccontextmanager
    async def serving(self, _: FastAPI) -> AsyncIterator[None]:
        """Serve, and wait at the end until clients know why their replies end. uvicorn ends the process after that."""
        names = {"speculative": self._model.speculative.name, "target": self._model.target.name}
        _LOGGER.info("serving", extra={"fields": {"model": self._name, **names}})
        yield
        await self._responses.wait_until_closed()

    async def _answer(self, request: Request, form: type[R], reply_to: Callable[[R], Reply]) -> Response:
        with _naming_fields(form):
            asked = form.model_validate_json(await self._body(request))
            asked.require(self._limits)
            if asked.model != self._name:
                msg = f"model: expected {self._name}, got {asked.model}"
                raise RefusedError(404, msg, code="model_not_found", param="model")
            messages = asked.to_langchain()
        tokens = asked.tokens or min(self._limits.tokens, self._model.max_tokens or self._limits.tokens)
        record = record_of(request.scope)
        record.stream = bool(asked.stream)
        turn = _Turn(messages, {**asked.settings(), "max_tokens": tokens}, form, reply_to(asked), record)
        if asked.stream:
            return EventsResponse(self._events(turn), turn.reply, self._responses)
        return JsonBodyResponse(partial(self._complete, turn), self._responses)

    async def _complete(self, turn: _Turn) -> dict[str, Any]:
        with _naming_fields(turn.form):
            async with self._limiter.slot():
                turn.record.starts_reply()
                message = await self._model.ainvoke(turn.messages, **turn.settings)
            turn.record.message = message
            return turn.reply.body(message)

    async def _events(self, turn: _Turn) -> AsyncGenerator[dict[str, Any], None]:
        with _naming_fields(turn.form):
            async with self._limiter.slot():
                turn.record.starts_reply()
                async with OwnedStream(self._model.astream(turn.messages, **turn.settings)) as chunks:
                    async for chunk in chunks:
                        if finish_reason(chunk):
                            turn.record.message = chunk
                        for event in turn.reply.events(chunk):
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


@contextmanager
def _naming_fields(form: type[ModelRequest]) -> Iterator[None]:
    """Turn an error into what to tell the client, with the names that settings have in the client's request."""
    try:
        yield
    except RefusedError:
        raise
    except Exception as error:
        raise refusal(error, form.field_of) from error
