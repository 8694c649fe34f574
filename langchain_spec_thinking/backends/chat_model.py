"""A backend for any LangChain chat model."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.exceptions import ContextOverflowError, ModelError
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata, add_ai_message_chunks, add_usage
from pydantic import SecretStr

from langchain_spec_thinking.backends.base import (
    Backend,
    Call,
    End,
    Event,
    Limitation,
    Piece,
    ReplyFields,
    Request,
    Usage,
)
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.backends.chat_request import ChatRequestForm, request_tokens_max, takes_limit
from langchain_spec_thinking.backends.clean_errors import remove_secrets
from langchain_spec_thinking.backends.listed_prices import price_of_chat_model
from langchain_spec_thinking.backends.openai.refusals import is_too_long, server_message
from langchain_spec_thinking.backends.openai.refused_fields import RefusedFields
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
from langchain_spec_thinking.backends.replies.finish_reasons import FinishReason
from langchain_spec_thinking.backends.replies.message_parts import (
    MessageParts,
    UnknownParts,
    content_parts,
    reasoning_text,
)
from langchain_spec_thinking.backends.replies.reasoning_field import ReasoningFieldJoiner
from langchain_spec_thinking.backends.replies.refusals import RefusalReader
from langchain_spec_thinking.backends.replies.returned_reasoning import LANGCHAIN_MESSAGE
from langchain_spec_thinking.backends.replies.structured_answers import answer_payload
from langchain_spec_thinking.backends.replies.thought_reader import ThoughtDelivery, payload_thoughts
from langchain_spec_thinking.backends.replies.tool_call_deltas import ToolCallDeltas
from langchain_spec_thinking.errors import BackendError, FailedReplyError, PromptTooLongError
from langchain_spec_thinking.owned_stream import OwnedStream
from langchain_spec_thinking.price import FREE, Price, require_price
from langchain_spec_thinking.surrogates import SurrogateJoiner
from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

    from langchain_core.outputs import ChatGeneration

    from langchain_spec_thinking.deadline import Deadline
    from langchain_spec_thinking.tools import Tools
    from langchain_spec_thinking.turn import Turn

ChatContinuation = Literal["auto", "chat_trailing", "chat_instruct"]

_MESSAGES: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
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
_REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details")
"""Names of fields in `additional_kwargs` that hold the reasoning, in different chat model classes."""
_FINISH_REASONS = ("finish_reason", "stop_reason", "done_reason", "stopReason")
"""Names of the finish reason: OpenAI and Google, Anthropic, Ollama, Amazon."""
_REQUEST_FIELDS = re.compile("extra|headers|query|kwargs|cookies|auth")
"""Matches names of chat models' fields that hold further fields or headers of requests."""
_OWN_ARGUMENTS = {"tool_calls", "function_call"}
"""Further arguments of a message that its tool calls contain already."""
_CHARACTERS = 4
"""Average characters per token, for estimates."""
_LONGER = 2
"""How many times longer than estimated a text may be before its model counts as one that ignores the token limit."""
_UNREPORTED = (
    "the chat model did not report how many tokens it used, so its tokens and its cost are estimates, which lack "
    "hidden reasoning. If it is a ChatOpenAI with an address of your own, pass stream_usage=True to it."
)
_ERROR_MAX = 2_000
"""Longest text of a chat model's error that is shown, in characters. Some packages put headers before the reason."""
_RATE_LIMITER_SECONDS = 0.1
"""How often to ask a rate limiter again, in seconds."""


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
        thinking: Whether the model reasons, in reasoning blocks or between think tags. If None, its first reply with
            reasoning shows it.
        price: The price of the model's tokens. None: the price that the library `genai-prices` lists (the extra
            `[prices]`), if the model calls its provider; otherwise the price is not known.

    Raises:
        TypeError: `model` is not a LangChain chat model.
        ValueError: `continuation` is not one of the three values, or `price` is not a price.
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        continuation: ChatContinuation = "auto",
        thinking: bool | None = None,
        price: Price | None = None,
    ) -> None:
        if not isinstance(model, BaseChatModel):
            msg = f"model: expected a LangChain chat model, got {type(model).__name__}"
            raise TypeError(msg)
        if continuation not in {"auto", "chat_trailing", "chat_instruct"}:
            msg = f"continuation: expected auto, chat_trailing or chat_instruct, got {continuation!r}"
            raise ValueError(msg)
        require_price(price)
        name = getattr(model, "model_name", None) or getattr(model, "model", None)
        self._model_name = name if isinstance(name, str) else type(model).__name__
        self.name = public_name(self._model_name)
        self._thinking = thinking
        self._model = model
        self._price = price
        self._is_listed = price is None and price_of_chat_model(model) is not None
        self._redactor = Redactor(_secrets_of(model))
        self._thought_delivery = ThoughtDelivery(thinking)
        self._refused = RefusedFields()
        self._strategy: Strategy = ChatTrailing() if continuation == "chat_trailing" else ChatInstruct()
        if continuation == "auto":
            self._strategy = _BY_CLASS.get(type(model).__name__, self._strategy)

    @property
    def thinks(self) -> bool:
        """Whether the model reasons. If no setting says so, the model's replies show it."""
        return self._thought_delivery.in_field if self._thinking is None else self._thinking

    @thinks.setter
    def thinks(self, thinks: bool) -> None:
        self._thinking = self._thought_delivery.thinking = thinks

    @property
    def thinking_is_known(self) -> bool:
        """Whether a setting or a reply has shown whether the model reasons."""
        return self._thinking is not None or self.thinks

    @property
    def capabilities(self) -> Capabilities:
        """What is known from the class of the chat model and its profile. LangChain does not tell where it runs."""
        kind = type(self._model)
        return Capabilities(
            engine=kind.__name__,
            continuation=self._strategy.name,
            limitation=self._limitation(),
            context=(self._model.profile or {}).get("max_input_tokens"),
            request_tokens_max=request_tokens_max(self._model),
            tool_calls="text" if kind.bind_tools is BaseChatModel.bind_tools else "native",
        )

    @property
    def price(self) -> Price | None:
        """The price of the model's tokens: the given one, or the listed one now. None if it is not known."""
        return price_of_chat_model(self._model) if self._is_listed else self._price

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
            yield Usage(prompt_tokens=self._estimate(turn))
            form, ended = ChatRequestForm(self._model, request, self._refused), False
            while not ended:
                reader = self._response_reader(turn, form)
                try:
                    yield from self._read(reader, request.deadline)
                except Exception as error:  # noqa: BLE001 - `change_after` raises the errors that it cannot handle
                    form.change_after(error)
                else:
                    ended = True
            yield from reader.end()

    def _read(self, reader: _ResponseReader, deadline: Deadline) -> Generator[Event, None, None]:
        """Send one request and read its response up to the end of the text."""
        model = reader.model
        _wait_for_rate_limiter(model, deadline)
        if not _streams(model, "_stream"):
            result = model._generate(reader.messages, **reader.bound)  # noqa: SLF001 - without callbacks
            yield from reader.read(result.generations[0])
            return
        stream = model._stream(reader.messages, **reader.bound)  # noqa: SLF001
        with reader.ignoring_errors_after_end(), _closing(stream) as chunks:
            try:
                for chunk in chunks:
                    deadline.require()
                    yield from reader.read(chunk)
                    if reader.full:
                        break
            except Exception:  # any error, which is raised again
                yield from reader.end_of_thought()
                raise

    def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        """Stream the continuation. Closing the generator closes the model's own stream."""
        if not _is_asynchronous(self._model):  # LangChain would use the few threads of the event loop
            return super().acontinue_turn(turn, request)
        return self._acontinue_turn(turn, request)

    async def _acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        with self._errors():
            yield Usage(prompt_tokens=self._estimate(turn))
            form, ended = ChatRequestForm(self._model, request, self._refused), False
            while not ended:
                reader = self._response_reader(turn, form)
                try:
                    async with OwnedStream(self._aread(reader, request.deadline)) as events:
                        async for event in events:
                            yield event
                except Exception as error:  # noqa: BLE001
                    form.change_after(error)
                else:
                    ended = True
            for event in reader.end():
                yield event

    async def _aread(self, reader: _ResponseReader, deadline: Deadline) -> AsyncGenerator[Event, None]:
        """Do the same as `_read`, on an event loop."""
        model = reader.model
        if model.rate_limiter:
            await model.rate_limiter.aacquire(blocking=True)
        if not _streams(model, "_stream", "_astream"):
            result = await model._agenerate(reader.messages, **reader.bound)  # noqa: SLF001
            for event in reader.read(result.generations[0]):
                yield event
            return
        stream = model._astream(reader.messages, **reader.bound)  # noqa: SLF001
        with reader.ignoring_errors_after_end():
            async with OwnedStream(stream) as chunks:
                try:
                    async for chunk in chunks:
                        deadline.require()
                        for event in reader.read(chunk):
                            yield event
                        if reader.full:
                            break
                except Exception:  # any error, which is raised again
                    for event in reader.end_of_thought():
                        yield event
                    raise

    def _response_reader(self, turn: Turn, form: ChatRequestForm) -> _ResponseReader:
        if not (turn.structured_answer and turn.channel == "answer"):
            payload = self._strategy.payload(turn).for_server(repeats=self._repeats)
            return _ResponseReader(payload, turn, form, delivery=self._thought_delivery, name=self.name)
        bound = _bound(self._model, turn.tools) if turn.tools else {}
        payload = answer_payload(turn, self._strategy, native=bound is not None, model=model_key(self._model))
        payload = payload.for_server(repeats=self._repeats)
        delivery, is_billed = self._thought_delivery, self.price not in (None, FREE)
        return _ResponseReader(payload, turn, form, bound, delivery=delivery, name=self.name, is_billed=is_billed)

    @property
    def _repeats(self) -> bool:
        return type(self._model).__name__ in _REPEATING

    def _estimate(self, turn: Turn) -> int:
        """Estimate the number of prompt tokens. A stream that is closed early never reports its usage."""
        return self.count_tokens("".join(message.content for message in turn.history) + turn.body())

    def describe(self) -> dict[str, Any]:
        """Return the chat model's own settings and the way this backend continues turns."""
        settings = json.loads(json.dumps(self._model._identifying_params, default=lambda _: None))  # noqa: SLF001
        described = {
            **super().describe(),
            "thinks": bool(self._thinking),
            "class": type(self._model).__name__,
            "strategy": self._strategy.name,
        }
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
            failed = _kind(error)(f"{self.name}: {server_message(error, _ERROR_MAX)}")
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
        form: ChatRequestForm,
        bound: dict[str, Any] | None = None,
        *,
        delivery: ThoughtDelivery,
        name: str,
        is_billed: bool = False,
    ) -> None:
        request, model = form.request, form.own_model
        self.messages = [_message(**message) for message in payload.body["messages"]]
        self.bound = {**form.arguments, **(bound or {})}
        self.model = form.model
        self._form = form
        self._name = name
        self._is_billed = is_billed
        self._unknown_parts = UnknownParts()
        self._refusal = RefusalReader()
        self._surrogates = SurrogateJoiner()
        self._echo = payload.echo_filter()
        self._drops_reasoning = payload.drops_reasoning
        known = None if payload.repeats else delivery  # a repetition of the thought comes as content, too
        self._thought = ReasoningFieldJoiner(turn, drops_reasoning=payload.drops_reasoning, delivery=known)
        self._calls = CallReader(payload.plan, payload_thoughts(turn, payload, delivery), name)
        self._native = ToolCallDeltas()
        self._received: list[BaseMessage] | None = [] if bound and bound.get("tools") else None
        self._model_key = model_key(model)
        self._limited = takes_limit(model)
        self._max_tokens = request.max_tokens
        self._characters_max = request.max_tokens * _CHARACTERS * (_LONGER if self._limited else 1)
        self._characters = self._unshown_characters = self._tokens = 0
        self._finish_reason: FinishReason | None = None
        self._begun = False
        self._usage: UsageMetadata | None = None

    @property
    def full(self) -> bool:
        """Whether the output is so long that it must have reached `max_tokens`. The rest is not read."""
        return self._characters + self._unshown_characters >= self._characters_max

    def read(self, generation: ChatGeneration) -> Iterator[Event]:
        """Read a message, or a chunk of a message. Many classes put the finish reason next to the message."""
        message = generation.message
        yield from self._begin()
        if self._received is not None:
            self._received.append(message)
        usage = getattr(message, "usage_metadata", None)
        self._usage = add_usage(self._usage, usage) if usage else self._usage
        self._finish_reason = _finish_reason(generation) or self._finish_reason
        found = _parts(message)
        shown, unshown = self._refusal.read(found)
        text = self._surrogates.join(self._thought.join(found.reasoning, shown))
        late = "" if self._drops_reasoning else self._thought.dropped
        self._unshown_characters += len(unshown) + len(late)
        for note in (*self._unknown_parts.notes(found.unknown), *self._thought.new_notes()):
            yield Limitation(f"{self._name}: {note}.")
        yield from self._piece(self._echo.pass_on(text))
        for fragment in _fragments(message):
            self._unshown_characters += len(self._native.add(*fragment))

    def _begin(self) -> Iterator[Event]:
        if not self._begun:
            self._begun = True
            self._form.accepted()
            for words in self._form.limitations():
                yield Limitation(f"{self._name}: {words}.")

    @contextmanager
    def ignoring_errors_after_end(self) -> Iterator[None]:
        """Ignore errors of the stream after its finish reason. A new request would write another ending."""
        try:
            yield
        except Exception:  # any error, because the reply is complete
            if self._finish_reason is None or not self._finish_reason.ends_reply:
                raise

    def end_of_thought(self) -> Iterator[Event]:
        """Yield the end of a thought after which only white space came. A reply that is resumed needs to know of it."""
        if text := self._surrogates.join(self._thought.rest()):
            yield from self._piece(self._echo.pass_on(text))

    def end(self) -> Iterator[Event]:
        """Read the end of the response.

        Raises:
            FailedReplyError: The server says that it could not finish the reply.
        """
        reason = self._finish_reason or FinishReason("", "stop")
        cut = reason.end_reason == "length"
        yield from self.end_of_thought()
        yield from self._piece(self._echo.pass_on(self._surrogates.rest()) + self._echo.rest(cut=cut))
        if dropped := self._echo.dropped:
            yield Piece("", min(-(-len(dropped) // _CHARACTERS), self._max_tokens))
        if not (reason.ends_reply or self.full):
            raise FailedReplyError(self._name, reason.word)
        yield from self._calls.rest()
        calls = list(self._native.finished_calls())
        yield from self._reply_fields() if calls else ()
        for call in calls:
            yield Call(call, -(-len(call.arguments) // _CHARACTERS))
        if self._is_billed and not self._usage and not self.full:  # a stream that is full is not read to its usage
            yield Limitation(f"{self._name}: {_UNREPORTED}")
        if self.full:
            yield End("length", self._usage_so_far())
        else:
            yield End(reason.end_reason, self._usage_so_far(), reason.unusual_word, self._refusal.refusal)

    def _usage_so_far(self) -> Usage | None:
        if self.full:  # the usage that the model reports includes text that was discarded
            written = self._characters + self._unshown_characters
            return Usage(completion_tokens=written // _CHARACTERS) if self._limited else None
        if not self._usage:
            return None
        cached = (self._usage.get("input_token_details") or {}).get("cache_read")
        reasoning = (self._usage.get("output_token_details") or {}).get("reasoning")
        return Usage(
            self._usage["input_tokens"], cached, self._usage["output_tokens"], reasoning_tokens=reasoning
        ).with_total(self._usage["total_tokens"], trusted=True)

    def _reply_fields(self) -> Iterator[ReplyFields]:
        """Yield what the class of the model needs to send the message back: signatures, encrypted reasoning."""
        received = self._received or [AIMessage("")]
        chunks = [one for one in received if isinstance(one, AIMessageChunk)]
        message = add_ai_message_chunks(*chunks) if chunks else received[0]
        further = {name: value for name, value in message.additional_kwargs.items() if name not in _OWN_ARGUMENTS}
        blocks = message.content if isinstance(message.content, list) else []
        kept = {"content": blocks, "additional_kwargs": further}
        if not any(kept.values()):
            return
        with suppress(TypeError, ValueError):  # what JSON cannot hold is not kept
            yield ReplyFields({"model": self._model_key, LANGCHAIN_MESSAGE: json.loads(json.dumps(kept))})

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


def model_key(model: BaseChatModel) -> str:
    """Return the class and the name of a model, as in `Message.reply_fields`."""
    name = getattr(model, "model_name", None) or getattr(model, "model", None)
    return f"{type(model).__name__} {public_name(name) if isinstance(name, str) else ''}".rstrip()


def _message(role: str, content: str | None, **fields: Any) -> BaseMessage:
    content = content or ""
    received = fields.pop(LANGCHAIN_MESSAGE, {})
    if role == "tool":
        return ToolMessage(content, tool_call_id=fields["tool_call_id"])
    if calls := fields.pop("tool_calls", None):
        tool_calls = [ToolCall(call["id"], **call["function"]) for call in calls]
        parsed = [{"name": call.name, "args": call.parsed(), "id": call.id} for call in tool_calls]
        valid = [call for call in parsed if isinstance(call["args"], dict)]
        blocks = received.get("content")
        same = blocks and AIMessage(blocks).text.strip() == content.strip()  # the user may have changed the message
        return AIMessage(
            blocks if same else content,
            tool_calls=valid,
            invalid_tool_calls=[call for call in parsed if call not in valid],
            additional_kwargs=received.get("additional_kwargs", {}),
        )
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


def _fragments(message: BaseMessage) -> Iterator[tuple[int | str | None, str | None, str | None, object]]:
    """Yield the fragments of tool calls in a message or chunk, as (index, id, name, arguments)."""
    if isinstance(message, AIMessageChunk):
        for chunk in message.tool_call_chunks:
            yield chunk["index"], chunk["id"], chunk["name"], chunk["args"]
    elif isinstance(message, AIMessage):
        whole = [*message.tool_calls, *message.invalid_tool_calls]
        yield from ((index, call["id"], call["name"], call["args"]) for index, call in enumerate(whole))


def _finish_reason(generation: ChatGeneration) -> FinishReason | None:
    """Return why the model ended its reply. None: a chunk that is not the last one, or a class that does not tell."""
    reported = {**(generation.generation_info or {}), **generation.message.response_metadata}
    incomplete = reported.get("incomplete_details")  # OpenAI's Responses API has no finish reason
    reason = incomplete.get("reason") if isinstance(incomplete, dict) else None
    return FinishReason.of(next((reported[name] for name in _FINISH_REASONS if reported.get(name)), reason))


def _parts(message: BaseMessage) -> MessageParts:
    """Return the reasoning, the text and the refusal of a message."""
    found = content_parts(message.content)
    fields = message.additional_kwargs
    refusal = fields.get("refusal")
    if isinstance(refusal, str) and not found.refusal:
        found = found._replace(refusal=refusal)
    elsewhere = next((fields[name] for name in _REASONING_FIELDS if fields.get(name)), None)
    return found if found.reasoning else found._replace(reasoning=reasoning_text(elsewhere))


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


def _kind(error: Exception) -> type[BackendError]:
    overflows = isinstance(error, ContextOverflowError) or is_too_long(error)
    return PromptTooLongError if overflows else BackendError


def _is_retryable(error: Exception) -> bool:
    if _kind(error) is PromptTooLongError:
        return False
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
