"""A backend for any LangChain chat model."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.exceptions import ModelError
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from pydantic import SecretStr

from langchain_spec_thinking.backends.base import Backend, Call, End, Event, Piece, Request, Usage
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.backends.clean_errors import remove_secrets
from langchain_spec_thinking.backends.redaction import (
    Redactor,
    described_path,
    is_secret_field,
    public_name,
    public_settings,
    secrets_in_settings,
    secrets_in_url,
    without_credentials,
)
from langchain_spec_thinking.backends.replies.call_reader import CallReader
from langchain_spec_thinking.backends.replies.continuation import (
    ChatInstruct,
    ChatMark,
    ChatTrailing,
    Payload,
    Strategy,
)
from langchain_spec_thinking.backends.replies.reasoning_field import ReasoningFieldJoiner, ReasoningFieldUse
from langchain_spec_thinking.backends.replies.structured_answers import answer_payload
from langchain_spec_thinking.backends.replies.tool_call_deltas import ToolCallDeltas
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.owned_stream import OwnedStream
from langchain_spec_thinking.surrogates import SurrogateJoiner
from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

    from langchain_spec_thinking.deadline import Deadline
    from langchain_spec_thinking.tools import Tools
    from langchain_spec_thinking.turn import Turn

ChatContinuation = Literal["auto", "chat_trailing", "chat_instruct"]

_MESSAGES: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
_LIMITS = ("max_tokens", "max_output_tokens", "max_new_tokens", "num_predict")
"""Names of the field that limits the output tokens, in different chat model classes."""
_BY_CLASS: dict[str, Strategy] = {
    "ChatMistralAI": ChatMark("prefix"),  # this class passes `prefix` on if it is in `additional_kwargs`
    "ChatGroq": ChatTrailing(),
    "ChatGoogleGenerativeAI": ChatTrailing(),
    "ChatOllama": ChatTrailing(),
}
"""How to continue a message, by the name of the chat model class.

These classes pass a trailing assistant message to their servers, and the servers continue that message."""
_REPEATING = {"ChatMistralAI"}
"""Classes whose servers repeat the given reply at the beginning of their output."""
_REQUEST_FIELDS = re.compile("extra|headers|query|kwargs|cookies|auth")
"""Matches names of chat models' fields that hold further fields or headers of requests."""
_CHARACTERS = 4
"""Average characters per token, for estimates."""
_LONGER = 2
"""How many times longer than estimated a text may be before its model counts as one that ignores the token limit."""
_RATE_LIMITER_SECONDS = 0.1
"""How often to ask a rate limiter again, in seconds."""
_LOGGER = logging.getLogger(__name__)


class ChatModelBackend(Backend):
    """A backend for any LangChain chat model. It continues turns as well as the model's class allows.

    Chat models are made to begin new messages. Most of them drop the fields that would make a server continue a message
    (a prefix mark, a separate field for the reasoning). This backend sends the begun text as a trailing assistant
    message if the class is known to pass such a message to servers that continue it. Otherwise it instructs the model
    to continue the text, and the result may be poor. `OpenAIBackend` and `HuggingFaceBackend` continue a turn exactly.
    Prefer them if they can reach the model.

    This backend calls the model without callbacks, so that callbacks do not get tokens twice and usage is not counted
    twice.

    Args:
        model: The chat model.
        continuation: How to continue a turn: `"chat_trailing"` sends a trailing assistant message, `"chat_instruct"`
            sends an instruction. `"auto"` chooses by the model's class.
        thinking: Whether the model reasons, in reasoning blocks or between think tags.

    Raises:
        TypeError: `model` is not a LangChain chat model.
        ValueError: `continuation` is not one of the three values.
    """

    def __init__(
        self, model: BaseChatModel, *, continuation: ChatContinuation = "auto", thinking: bool = False
    ) -> None:
        if not isinstance(model, BaseChatModel):
            msg = f"model: expected a LangChain chat model, got {type(model).__name__}"
            raise TypeError(msg)
        if continuation not in {"auto", "chat_trailing", "chat_instruct"}:
            msg = f"continuation: expected auto, chat_trailing or chat_instruct, got {continuation!r}"
            raise ValueError(msg)
        name = getattr(model, "model_name", None) or getattr(model, "model", None)
        self._model_name = name if isinstance(name, str) else type(model).__name__
        self.name = public_name(self._model_name)
        self.thinks = thinking
        self._model = model
        self._redactor = Redactor(_secrets_of(model))
        self._reasoning_use = ReasoningFieldUse()
        self._strategy: Strategy = ChatTrailing() if continuation == "chat_trailing" else ChatInstruct()
        if continuation == "auto":
            self._strategy = _BY_CLASS.get(type(model).__name__, self._strategy)
        if limitation := self.capabilities.limitation:
            _LOGGER.warning("%s", limitation)

    @property
    def capabilities(self) -> Capabilities:
        """What is known from the class of the chat model and its profile. LangChain does not tell where it runs."""
        kind = type(self._model)
        return Capabilities(
            engine=kind.__name__,
            continuation=self._strategy.name,
            limitation=self._limitation(),
            context=(self._model.profile or {}).get("max_input_tokens"),
            tool_calls="text" if kind.bind_tools is BaseChatModel.bind_tools else "native",
        )

    def _limitation(self) -> str | None:
        if not isinstance(self._strategy, ChatInstruct):
            return None
        return (
            f"{self.name} ({type(self._model).__name__}) can only be instructed to continue its interrupted reply, and "
            "the result may be poor. If its server continues a trailing assistant message, pass "
            "continuation='chat_trailing'. An OpenAIBackend for the same server is more exact."
        )

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Stream the continuation. Closing the generator closes the model's own stream."""
        with self._errors():
            reader = self._response_reader(turn, request)
            model = reader.model
            yield Usage(prompt_tokens=self._estimate(turn))
            _wait_for_rate_limiter(model, request.deadline)
            if not _streams(model, "_stream"):
                result = model._generate(reader.messages, **reader.bound)  # noqa: SLF001 - without callbacks
                yield from reader.read(result.generations[0].message)
            else:
                stream = model._stream(reader.messages, **reader.bound)  # noqa: SLF001
                with reader.ignoring_errors_after_end(), _closing(stream) as chunks:
                    for chunk in chunks:
                        request.deadline.require()
                        yield from reader.read(chunk.message)
                        if reader.full:
                            break
            yield from reader.end()

    def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        """Stream the continuation. Closing the generator closes the model's own stream."""
        if not _is_asynchronous(self._model):  # LangChain would use the few threads of the event loop
            return super().acontinue_turn(turn, request)
        return self._acontinue_turn(turn, request)

    async def _acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        with self._errors():
            reader = self._response_reader(turn, request)
            model = reader.model
            yield Usage(prompt_tokens=self._estimate(turn))
            if model.rate_limiter:
                await model.rate_limiter.aacquire(blocking=True)
            if not _streams(model, "_stream", "_astream"):
                result = await model._agenerate(reader.messages, **reader.bound)  # noqa: SLF001
                for event in reader.read(result.generations[0].message):
                    yield event
            else:
                stream = model._astream(reader.messages, **reader.bound)  # noqa: SLF001
                with reader.ignoring_errors_after_end():
                    async with OwnedStream(stream) as chunks:
                        async for chunk in chunks:
                            request.deadline.require()
                            for event in reader.read(chunk.message):
                                yield event
                            if reader.full:
                                break
            for event in reader.end():
                yield event

    def _response_reader(self, turn: Turn, request: Request) -> _ResponseReader:
        if not (turn.structured_answer and turn.channel == "answer"):
            payload = self._strategy.payload(turn).for_server(repeats=self._repeats)
            return _ResponseReader(payload, turn, request, self._model, use=self._reasoning_use)
        bound = _bound(self._model, turn.tools) if turn.tools else {}
        payload = answer_payload(turn, self._strategy, native=bound is not None).for_server(repeats=self._repeats)
        return _ResponseReader(payload, turn, request, self._model, bound, use=self._reasoning_use)

    @property
    def _repeats(self) -> bool:
        return type(self._model).__name__ in _REPEATING

    def _estimate(self, turn: Turn) -> int:
        """Estimate the number of prompt tokens. A stream that is closed early never reports its usage."""
        return self.count_tokens("".join(message.content for message in turn.history) + turn.body())

    def describe(self) -> dict[str, Any]:
        """Return the chat model's own settings and the way this backend continues turns."""
        settings = json.loads(json.dumps(self._model._identifying_params, default=lambda _: None))  # noqa: SLF001
        described = {**super().describe(), "class": type(self._model).__name__, "strategy": self._strategy.name}
        return {**described, **described_path(self._model_name), "settings": _public(settings)}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        callers = sys.exception()  # an error that the caller is handling may be the context of ours
        try:
            yield
        except (BackendError, asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:
            remove_secrets(error, self._redactor, except_for=callers)
            failed = BackendError(f"{self.name}: {str(error) or type(error).__name__}")
            failed.is_retryable = _is_retryable(error)
            raise failed from error


class _ResponseReader:
    """One request to a chat model. It holds the messages to send and turns the response into events.

    Attributes:
        messages: Messages to send.
        bound: Further arguments of the call.
        model: The model, with the request's settings if its class has fields for them.
    """

    def __init__(
        self,
        payload: Payload,
        turn: Turn,
        request: Request,
        model: BaseChatModel,
        bound: dict[str, Any] | None = None,
        *,
        use: ReasoningFieldUse,
    ) -> None:
        self.messages = [_message(**message) for message in payload.body["messages"]]
        self.bound = {"stop": list(request.stop) or None, **(bound or {})}
        self.model = model.model_copy(update=_settings(model, request))
        self._surrogates = SurrogateJoiner()
        self._echo = payload.echo_filter()
        use_known = None if payload.repeats else use  # a repetition of the thought comes as content, too
        self._thought = ReasoningFieldJoiner(turn, drops_reasoning=payload.drops_reasoning, use=use_known)
        self._calls = CallReader(payload.plan)
        self._native = ToolCallDeltas()
        self._limited = any(name in type(model).model_fields for name in _LIMITS)
        self._max_tokens = request.max_tokens
        self._characters_max = request.max_tokens * _CHARACTERS * (_LONGER if self._limited else 1)
        self._characters = self._argument_characters = self._tokens = 0
        self._ended = self._hit_limit = False
        self._usage: UsageMetadata | None = None

    @property
    def full(self) -> bool:
        """Whether the output is so long that it must have reached `max_tokens`. The rest is not read."""
        return self._characters + self._argument_characters >= self._characters_max

    def read(self, message: BaseMessage) -> Iterator[Event]:
        """Read a message, or a chunk of a message."""
        usage = getattr(message, "usage_metadata", None)
        self._usage = add_usage(self._usage, usage) if usage else self._usage
        metadata = message.response_metadata
        reason = metadata.get("finish_reason") or metadata.get("stop_reason") or metadata.get("done_reason")
        self._ended |= bool(reason)
        self._hit_limit |= str(reason).lower() in {"length", "max_tokens"}
        text = self._surrogates.join(self._thought.join(*_fields(message)))
        yield from self._piece(self._echo.pass_on(text))
        for fragment in _fragments(message):
            self._argument_characters += len(fragment[3] or "")
            self._native.add(*fragment)

    @contextmanager
    def ignoring_errors_after_end(self) -> Iterator[None]:
        """Ignore errors of the stream after its finish reason. A new request would write another ending."""
        try:
            yield
        except Exception:  # any error, because the reply is complete
            if not self._ended:
                raise

    def end(self) -> Iterator[Event]:
        """Read the end of the response."""
        yield from self._piece(self._echo.pass_on(self._surrogates.rest()) + self._echo.rest(cut=self._hit_limit))
        if dropped := self._echo.dropped:
            yield Piece("", min(-(-len(dropped) // _CHARACTERS), self._max_tokens))
        yield from self._calls.rest()
        for call in self._native.finished_calls():
            yield Call(call, -(-len(call.arguments) // _CHARACTERS))
        usage = None
        if self.full:  # the usage that the model reports includes text that was discarded
            written = self._characters + self._argument_characters
            usage = Usage(completion_tokens=written // _CHARACTERS) if self._limited else None
        elif self._usage:
            cached = (self._usage.get("input_token_details") or {}).get("cache_read")
            usage = Usage(self._usage["input_tokens"], cached, self._usage["output_tokens"])
        yield End("length" if self._hit_limit or self.full else "stop", usage)

    def _piece(self, text: str) -> Iterator[Event]:
        text = text[: max(0, self._characters_max - self._characters)]
        if text:
            self._characters += len(text)
            tokens = min(-(-self._characters // _CHARACTERS), self._max_tokens) - self._tokens
            self._tokens += tokens
            yield from self._calls.read(text, tokens)


def _wait_for_rate_limiter(model: BaseChatModel, deadline: Deadline) -> None:
    """Wait until the rate limiter of a model allows a request, but not longer than the deadline."""
    while model.rate_limiter and not model.rate_limiter.acquire(blocking=not deadline.limited):
        deadline.require()
        deadline.clock.sleep(_RATE_LIMITER_SECONDS)


def _message(role: str, content: str, **fields: Any) -> BaseMessage:
    if role == "tool":
        return ToolMessage(content, tool_call_id=fields["tool_call_id"])
    if calls := fields.pop("tool_calls", None):
        tool_calls = [ToolCall(call["id"], **call["function"]) for call in calls]
        parsed = [{"name": call.name, "args": call.parsed(), "id": call.id} for call in tool_calls]
        valid = [call for call in parsed if isinstance(call["args"], dict)]
        return AIMessage(content, tool_calls=valid, invalid_tool_calls=[call for call in parsed if call not in valid])
    return _MESSAGES[role](content, additional_kwargs=fields)


def _bound(model: BaseChatModel, tools: Tools) -> dict[str, Any] | None:
    """Return the arguments that the model's own `bind_tools` binds. None if its class does not support tools."""
    choice = {"auto": None, "required": "any"}.get(tools.choice, tools.choice)
    settings: dict[str, Any] = {"tool_choice": choice, "parallel_tool_calls": tools.parallel}
    try:
        bound: Any = model.bind_tools(list(tools.schemas), **{k: v for k, v in settings.items() if v is not None})
    except NotImplementedError:
        return None
    return dict(bound.kwargs)


def _fragments(message: BaseMessage) -> Iterator[tuple[int | str | None, str | None, str | None, str | None]]:
    """Yield the fragments of tool calls in a message or chunk, as (index, id, name, arguments)."""
    if isinstance(message, AIMessageChunk):
        for chunk in message.tool_call_chunks:
            yield chunk["index"], chunk["id"], chunk["name"], chunk["args"]
    elif isinstance(message, AIMessage):
        for call in message.tool_calls:
            yield None, call["id"], call["name"], json.dumps(call["args"], ensure_ascii=False)
        for broken in message.invalid_tool_calls:
            yield None, broken["id"], broken["name"], broken["args"]


def _settings(model: BaseChatModel, request: Request) -> dict[str, Any]:
    settings: dict[str, Any] = dict.fromkeys(_LIMITS, request.max_tokens)
    settings |= {name: getattr(request, name) for name in ("temperature", "top_p", "top_k", "seed")}
    return {key: value for key, value in settings.items() if value is not None and key in type(model).model_fields}


def _fields(message: BaseMessage) -> tuple[str, str]:
    """Return the reasoning and the text of a message."""
    blocks = (
        [block for block in message.content if isinstance(block, dict)] if isinstance(message.content, list) else []
    )
    reasoning = "".join(str(block.get("reasoning") or block.get("thinking") or "") for block in blocks)
    return reasoning or message.additional_kwargs.get("reasoning_content") or "", str(message.text)


def _secrets_of(model: BaseChatModel) -> Iterator[str]:
    """Yield the secrets in the fields of a chat model: keys, credentials in addresses, further fields of requests."""
    for name, value in vars(model).items():
        if isinstance(value, SecretStr) or (isinstance(value, dict) and _REQUEST_FIELDS.search(name)):
            yield from secrets_in_settings(value, name)
        elif isinstance(value, str) and "://" in value:
            yield from secrets_in_url(value)


def _public(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings of a chat model without secrets. Names of models and addresses are shown."""

    def public(name: str, value: object) -> object:
        shown = isinstance(value, str) and not is_secret_field(name) and ("model" in name or "://" in value)
        return without_credentials(str(value)) if shown else public_settings(value, name)

    return {name: public(name, value) for name, value in settings.items()}


def _is_retryable(error: Exception) -> bool:
    return error.is_retryable if isinstance(error, ModelError) else isinstance(error, (ConnectionError, TimeoutError))


def _streams(model: BaseChatModel, *methods: str) -> bool:
    """Return whether the model's class implements one of these streaming methods and streaming is not disabled."""
    return model.disable_streaming is not True and _has_own(model, *methods)


def _is_asynchronous(model: BaseChatModel) -> bool:
    """Return whether the model's class has asynchronous methods of its own."""
    return _has_own(model, "_astream" if _streams(model, "_stream", "_astream") else "_agenerate")


def _has_own(model: BaseChatModel, *methods: str) -> bool:
    return any(getattr(type(model), method) is not getattr(BaseChatModel, method) for method in methods)


@contextmanager
def _closing(chunks: Any) -> Iterator[Any]:  # noqa: ANN401 - any iterator; only generators can be closed
    try:
        yield chunks
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
