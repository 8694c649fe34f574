"""Test servers that are functions, and helpers for the data that they exchange with clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import httpx2

from langchain_spec_thinking import OpenAIBackend
from langchain_spec_thinking.backends.base import Event, Piece, Request
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends import tiny

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

KEY = "sk-very-secret"
URL = "http://user:password@server.test/v1"


class Handler:
    """Answers requests in this process.

    Attributes:
        url: The address that the client uses.
        model: The model's name.
    """

    url: ClassVar[str] = URL
    model: ClassVar[str] = "big"

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        raise NotImplementedError

    async def acall(self, request: httpx2.Request) -> httpx2.Response:
        return self(request)

    def backend(self, **settings: Any) -> OpenAIBackend:
        return OpenAIBackend(
            self.model,
            base_url=self.url,
            api_key=KEY,
            http_client=httpx2.Client(transport=httpx2.MockTransport(self)),
            http_async_client=httpx2.AsyncClient(transport=httpx2.MockTransport(self.acall)),
            **settings,
        )


class Server(Handler):
    """Gives each request the next answer, and records the requests."""

    def __init__(
        self, *answers: httpx2.Response | Callable[[], httpx2.Response] | Exception, owner: str = "me"
    ) -> None:
        self.answers = list(answers)
        self.owner = owner
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return self.listing(request)
        body = json.loads(request.content)
        self.requests.append((request.url.path, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def listing(self, request: httpx2.Request) -> httpx2.Response:
        """Return the list of models without recording the request."""
        return httpx2.Response(200, json={"data": [{"id": "big", "object": "model", "owned_by": self.owner}]})

    def backend(self, **settings: Any) -> OpenAIBackend:
        return super().backend(**{"tokenizer": tiny.byte_tokenizer(), **settings})


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body that comes in parts. An exception among the parts is raised.

    A reader that begins again gets the rest, as from a network. The client does so after the last event, for a while.
    """

    def __init__(self, parts: list[bytes | Exception]) -> None:
        self._rest = iter(parts)

    def __iter__(self) -> Iterator[bytes]:
        for part in self._rest:
            if isinstance(part, Exception):
                raise part
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


def event(chunk: dict[str, Any] | str) -> bytes:
    return f"data: {chunk if isinstance(chunk, str) else json.dumps(chunk)}\n\n".encode()


def sse(*chunks: dict[str, Any] | str | bytes | Exception, done: bool = True) -> httpx2.Response:
    """Return a stream of events. Bytes are sent unchanged."""
    parts = [chunk if isinstance(chunk, (bytes, Exception)) else event(chunk) for chunk in chunks]
    return streamed(Body([*parts, *([event("[DONE]")] if done else [])]))


def streamed(body: httpx2.SyncByteStream | httpx2.AsyncByteStream) -> httpx2.Response:
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=body)


def text(text: str | None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": text, "finish_reason": reason}], **more}


def delta(reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


def usage(prompt: int, completion: int, cached: int | None = None) -> dict[str, Any]:
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion, **details}}


def probe(said: str) -> Callable[[], httpx2.Response]:
    """Return a reply that is not streamed."""
    message = {"role": "assistant", "content": said}
    return lambda: httpx2.Response(200, json={"choices": [{"index": 0, "message": message}]})


def refused(status: int, says: str = "no", **headers: str) -> Callable[[], httpx2.Response]:
    return lambda: httpx2.Response(status, json={"error": {"message": says}}, headers=headers)


def turn(answer: str = "", **settings: Any) -> Turn:
    half = Turn((Message("user", "hi"),), **settings)
    if answer:
        half.append("speculative", answer)
    return half


def continued(backend: OpenAIBackend, half: Turn | None = None, **request: Any) -> tuple[str, list[Event]]:
    events = list(backend.continue_turn(half or turn(), Request(**{"max_tokens": 20, **request})))
    return "".join(e.text for e in events if isinstance(e, Piece)), events
