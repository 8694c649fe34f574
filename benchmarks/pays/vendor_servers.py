"""Large models of vendors that refuse half-written thoughts and hide their reasoning, as servers in this process.

Each server is a function of the HTTP request. It sends the events that the vendor sends, so the real client is
measured, but no real model. The servers record what each request brings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import httpx2

from langchain_spec_thinking import OpenAIBackend
from langchain_spec_thinking.testing import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

KEY = "sk-no-key"
MODEL = "large"
REASONING_TOKENS = 1_200
"""Hidden tokens that a reply begins with. They are billed."""
_CHAT_FIELDS = frozenset({"model", "messages", "stream", "stream_options", "temperature", "top_p", "stop", "seed"})


@dataclass(frozen=True)
class Received:
    """A request for text, and what it brought.

    Attributes:
        body: The JSON that the client sent.
        status: Status of the reply.
        characters: How much text the reply contained.
    """

    body: dict[str, Any]
    status: int
    characters: int

    @property
    def refused(self) -> bool:
        """Whether the vendor refused the request. Nothing is billed for it."""
        return self.status != HTTPStatus.OK


class RefusalError(Exception):
    """The vendor refuses a request. The status is 400."""


@dataclass
class Vendor:
    """A service whose model thinks in secret and begins every reply anew.

    Attributes:
        answers: Returns the answer to the text of the last message from the user.
        received: The requests for text, in the order in which they came.
    """

    answers: Callable[[str], str]
    received: list[Received] = field(default_factory=list)

    name: ClassVar[str]
    url: ClassVar[str]
    limit_fields: ClassVar[tuple[str, ...]] = ("max_tokens",)

    def refuse(self, body: dict[str, Any]) -> None:
        """Raise an error if the vendor refuses a request."""

    def backend(self, **settings: Any) -> OpenAIBackend:
        """Return a backend whose client is connected to this server."""
        return OpenAIBackend(
            MODEL,
            base_url=self.url,
            api_key=KEY,
            http_client=httpx2.Client(transport=httpx2.MockTransport(self)),
            http_async_client=httpx2.AsyncClient(transport=httpx2.MockTransport(self.acall)),
            **settings,
        )

    async def acall(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request of an asynchronous client."""
        return self(request)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request."""
        if request.method == "GET":
            return httpx2.Response(200, json={"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        body = json.loads(request.content)
        try:
            self.refuse(body)
        except RefusalError as e:
            self.received.append(Received(body, HTTPStatus.BAD_REQUEST, 0))
            return httpx2.Response(400, json=self.error(str(e)))
        return self._reply(body)

    def error(self, message: str) -> Any:  # noqa: ANN401 - JSON
        """Return the body of a refusal."""
        return {"error": {"message": message, "type": "invalid_request_error"}}

    def usage(self, prompt: int, shown: int, hidden: int) -> dict[str, Any]:
        """Return the usage of a reply, in tokens of the prompt, of the text, and of the thought."""
        return {
            "prompt_tokens": prompt,
            "completion_tokens": shown + hidden,
            "total_tokens": prompt + shown + hidden,
            "completion_tokens_details": {"reasoning_tokens": hidden},
        }

    def _reply(self, body: dict[str, Any]) -> httpx2.Response:
        tokens = words(self.answers(str(body["messages"][-1]["content"])))
        limits = [body[name] for name in self.limit_fields if body.get(name) is not None]
        written = min([*limits, REASONING_TOKENS + len(tokens)])
        hidden = min(written, REASONING_TOKENS)
        left = written - hidden
        reason = "stop" if left >= len(tokens) else "length"
        text = "".join(tokens[:left])
        self.received.append(Received(body, HTTPStatus.OK, len(text)))
        prompt = sum(len(words(str(message["content"]))) for message in body["messages"])
        usage = self.usage(prompt, left, hidden)
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": reason}
            return httpx2.Response(200, json={"object": "chat.completion", "choices": [choice], "usage": usage})
        events = b"".join(_event(chunk) for chunk in _chunks(tokens[:left], reason, usage)) + b"data: [DONE]\n\n"
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=events)


class OpenAIReasoning(Vendor):
    """OpenAI's reasoning models.

    - documented: a trailing message counts as complete, and the thought is never sent.
    - documented: `max_tokens` is refused, and the error names `max_completion_tokens`, which counts the thought too.
    - recorded: `temperature` and `top_p` other than 1 are refused, and so are `stop` and `logprobs`.
    """

    name = "OpenAI, reasoning"
    url = "https://api.openai.com/v1"
    limit_fields = ("max_completion_tokens",)

    def refuse(self, body: dict[str, Any]) -> None:
        """Refuse what these models do not support."""
        if "max_tokens" in body:
            msg = (
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
                "instead."
            )
            raise RefusalError(msg)
        for name in ("stop", "logprobs"):
            if body.get(name):
                msg = f"Unsupported parameter: '{name}' is not supported with this model."
                raise RefusalError(msg)
        for name in ("temperature", "top_p"):
            if body.get(name) not in {None, 1}:
                msg = (
                    f"Unsupported value: '{name}' does not support {body[name]} with this model. Only the default (1) "
                    "value is supported."
                )
                raise RefusalError(msg)


class ClaudeCompatible(Vendor):
    """Anthropic's OpenAI-compatible address, Claude from 4.6.

    - recorded: a trailing message from the assistant is refused with 400.
    - documented: the thought is not sent at this address; unknown fields are ignored.
    - recorded: `temperature` and `top_p` together are refused.
    """

    name = "Claude, from 4.6"
    url = "https://api.anthropic.com/v1"
    limit_fields = ("max_tokens", "max_completion_tokens")

    def refuse(self, body: dict[str, Any]) -> None:
        """Refuse a half-written reply, and two settings of sampling."""
        _refuse_half_written(body)
        if body.get("temperature") is not None and body.get("top_p") is not None:
            msg = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
            raise RefusalError(msg)


class GeminiCompatible(Vendor):
    """Gemini's OpenAI-compatible address, the newest models.

    - recorded: a trailing message from the assistant is refused with 400.
    - documented: the thought is not sent unless it is asked for.
    - recorded: only the total of the usage counts the thought.
    - recorded: an unknown field is refused with 400, in a list of errors. Guessed: `seed` is one.
    """

    name = "Gemini, newest"
    url = "https://generativelanguage.googleapis.com/v1beta/openai"
    limit_fields = ("max_tokens", "max_completion_tokens")

    def refuse(self, body: dict[str, Any]) -> None:
        """Refuse a half-written reply and unknown fields."""
        _refuse_half_written(body)
        if unknown := sorted(set(body) - (_CHAT_FIELDS - {"seed"}) - set(self.limit_fields)):
            msg = f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.'
            raise RefusalError(msg)

    def usage(self, prompt: int, shown: int, hidden: int) -> dict[str, Any]:
        """Return the counts of Gemini's OpenAI-compatible address."""
        return {"prompt_tokens": prompt, "completion_tokens": shown, "total_tokens": prompt + shown + hidden}

    def error(self, message: str) -> Any:  # noqa: ANN401
        """Return a list, as Gemini does."""
        return [{"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}]


class Grok(Vendor):
    """xAI's reasoning models.

    - documented: the thought is not sent; `stop` is refused.
    - recorded: the completion tokens of the usage do not count the thought.
    - guessed: a trailing message from the assistant is refused with 400.
    """

    name = "Grok, reasoning"
    url = "https://api.x.ai/v1"
    limit_fields = ("max_tokens", "max_completion_tokens")

    def usage(self, prompt: int, shown: int, hidden: int) -> dict[str, Any]:
        """Return the counts of xAI."""
        return {**super().usage(prompt, shown, hidden), "completion_tokens": shown}

    def refuse(self, body: dict[str, Any]) -> None:
        """Refuse a half-written reply and stop strings."""
        _refuse_half_written(body)
        if body.get("stop"):
            msg = "Argument not supported on this model: stop"
            raise RefusalError(msg)


VENDORS: Sequence[type[Vendor]] = (OpenAIReasoning, ClaudeCompatible, GeminiCompatible, Grok)


def _refuse_half_written(body: dict[str, Any]) -> None:
    if body["messages"][-1]["role"] == "assistant":
        msg = "This model does not support assistant message prefill. The conversation must end with a user message."
        raise RefusalError(msg)


def _chunks(tokens: Sequence[str], reason: str, usage: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield _chunk({"role": "assistant", "content": ""})
    yield from (_chunk({"content": token}) for token in tokens)
    yield _chunk({}, reason)
    yield {"id": "1", "object": "chat.completion.chunk", "model": MODEL, "choices": [], "usage": usage}


def _chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "1", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice]}


def _event(chunk: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk)}\n\n".encode()
