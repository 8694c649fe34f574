"""Models behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

from pydantic import SecretStr

from langchain_spec_thinking.backends.base import Backend, Event, Limitation, Request, Usage
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.backends.clean_errors import remove_secrets
from langchain_spec_thinking.backends.openai.breaker import CircuitBreaker
from langchain_spec_thinking.backends.openai.capabilities import ServerProfile
from langchain_spec_thinking.backends.openai.clients import Clients, in_time
from langchain_spec_thinking.backends.openai.diagnosis import ServedModel, diagnose_server
from langchain_spec_thinking.backends.openai.engines import UNKNOWN, hosted_engine
from langchain_spec_thinking.backends.openai.reply_stream import ReplyStream
from langchain_spec_thinking.backends.openai.reply_timer import ReplyTimer
from langchain_spec_thinking.backends.openai.request_form import RequestForm
from langchain_spec_thinking.backends.openai.retries import aretrying, retrying
from langchain_spec_thinking.backends.openai.stream_events import ChunkReader
from langchain_spec_thinking.backends.prefetching import on_own_network, prefetch_by_request
from langchain_spec_thinking.backends.redaction import (
    Redactor,
    described_path,
    fingerprint,
    public_name,
    public_settings,
    public_url,
    secrets_in_settings,
    secrets_in_url,
)
from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
from langchain_spec_thinking.backends.replies.continuation import (
    ChatInstruct,
    Continuation,
    Payload,
    Strategy,
    named_strategy,
)
from langchain_spec_thinking.errors import BackendError, ContinuationError, TurnTimeoutError
from langchain_spec_thinking.owned_stream import OwnedStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator
    from concurrent.futures import Future

    import httpx2
    import openai
    from transformers import PreTrainedTokenizerBase

    from langchain_spec_thinking.backends.diagnosis import Diagnosis
    from langchain_spec_thinking.backends.openai.probes import Question
    from langchain_spec_thinking.deadline import Deadline
    from langchain_spec_thinking.turn import Turn

OPENAI_URL = "https://api.openai.com/v1"
_NO_KEY = "none"  # the SDK requires a key
_PLACEHOLDERS = {_NO_KEY, "empty", "ollama", "lm-studio", "sk-no-key-required"}
"""Keys that the manuals of local servers tell everybody to use. They are no secrets, and some are ordinary words."""
_CACHED_PIECE_MAX = 64
"""Longest piece of text whose token count is cached, in characters. Longer pieces rarely occur twice."""
_BILLED_TOKENS_MAX = 256
"""Most tokens per request if a hang-up does not stop the server. This limits what unread tokens cost."""
_BEFORE_PIECE = "0"
"""Text before a piece whose tokens are counted. No tokenizer joins it with a space, a letter or a mark after it."""
_CONTINUATIONS = get_args(Continuation)
_LOGGER = logging.getLogger(__name__)


class OpenAIBackend(Backend):
    """A model behind an OpenAI-compatible server.

    A server receives the half-written turn and continues it. These are the strategies:

    - `"raw"` renders the chat template here and sends the prompt to the completions endpoint. It is exact. It needs the
      model's tokenizer, but not its weights.
    - `"chat_flag"` sends the turn as an open last message with vLLM's `continue_final_message`.
    - `"chat_mark"` sends the turn as a last message with the mark of DeepSeek, Mistral or Kimi.
    - `"chat_trailing"` sends the turn as a last message without any mark.
    - `"chat_instruct"` instructs the model to continue. This is an emulation.

    `"auto"` uses `"raw"` if a tokenizer is given, and otherwise the strategy that a known host documents. On any other
    server, `"auto"` tries the strategies before it shows any text. If a server refuses a strategy during a turn, the
    backend uses the next strategy from then on. If a server refuses a field of a request, the request is repeated
    without the field.

    If a server repeats the turn before it continues it, the repetition is removed. Output that equals the turn so far
    may also be new text, for example a refrain. So `"auto"` finds out whether the server repeats. With another
    strategy, only Mistral counts as a server that does.

    Args:
        model: The model's name on the server.
        base_url: The server's address, which usually ends in `/v1`. None means OpenAI. It may contain a user and a
            password (`https://user:password@host/v1`) and a query, which are sent but never shown. Redirects to other
            addresses are not followed.
        api_key: The API key. By default, OpenAI gets the key in `OPENAI_API_KEY`, and other servers get none.
        continuation: The strategy.
        tokenizer: Hub id, folder, or a loaded tokenizer of the model.
        thinking: Whether the model reasons between `<think>` and `</think>`. If None, the chat template decides. If
            there is no tokenizer either, the model's first words decide.
        timeout: Longest time until the first text and between two pieces of text, in seconds. Comments and empty events
            do not count as text. Reasoning and the parts of a tool call do. Raise it for a model that reasons without
            sending its reasoning. More than a day counts as a day.
        max_retries: How often to repeat a request that failed before its first token.
        extra_body: Further fields for every request that generates text, for example OpenRouter's `provider`.
        http_client: Your own HTTP client, for example for a proxy or certificates.
        http_async_client: Your own HTTP client for asynchronous calls.

    Attributes:
        model: The model's name on the server. `name` is the last part of it if the name is a path.
        profile: What the server is and what it supports.
        template: The model's chat template. None without a tokenizer.
        timeout: Longest time without text, in seconds.

    Raises:
        ValueError: A setting cannot work.
        BackendError: The tokenizer cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: SecretStr | str | None = None,
        continuation: Continuation = "auto",
        tokenizer: str | os.PathLike[str] | PreTrainedTokenizerBase | None = None,
        thinking: bool | None = None,
        timeout: float = 120.0,
        max_retries: int = 2,
        extra_body: dict[str, Any] | None = None,
        http_client: httpx2.Client | None = None,
        http_async_client: httpx2.AsyncClient | None = None,
    ) -> None:
        if continuation not in _CONTINUATIONS:
            msg = f"continuation: expected one of {', '.join(_CONTINUATIONS)}, got {continuation!r}"
            raise ValueError(msg)
        if continuation == "raw" and tokenizer is None:
            msg = "tokenizer: continuation='raw' needs the model's tokenizer to render the chat template, got None"
            raise ValueError(msg)
        if not isinstance(max_retries, int) or max_retries < 0:
            msg = f"max_retries: expected a whole number of at least 0, got {max_retries!r}"
            raise ValueError(msg)
        if not isinstance(timeout, (int, float)) or not timeout > 0:
            msg = f"timeout: expected a positive number of seconds, got {timeout!r}"
            raise ValueError(msg)
        self.name = public_name(model)
        self.model = model
        self._url = base_url or OPENAI_URL
        _require_url(self._url)
        if api_key is None:
            api_key = os.environ.get("OPENAI_API_KEY", "") if base_url is None else _NO_KEY
        self._api_key = _checked_key(api_key)
        self.timeout = timeout
        self._extra = extra_body or {}
        self._redactor = Redactor(self._secrets())
        self._max_retries = max_retries
        self.template = _template(tokenizer, thinking)
        self.thinks = bool(thinking) if self.template is None else self.template.thinks
        self.profile = ServerProfile(
            self._url, model, _fixed_strategy(self._url, continuation, self.template), self.template
        )
        self._negotiation = threading.Lock()
        self._breaker = CircuitBreaker(f"{self.name} at {self._safe_url}")
        settings: dict[str, Any] = {
            "api_key": self._api_key.get_secret_value(),
            "timeout": timeout,
            "max_retries": 0,  # tenacity retries: retries in two layers would multiply
        }
        self._clients = Clients(self._url, settings, http_client, http_async_client)
        self._counted_prompts: WeakKeyDictionary[Turn, tuple[int, int]] = WeakKeyDictionary()  # characters, tokens
        self._count_short_piece = lru_cache(maxsize=4096)(self._count_after_text)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Stream the continuation. Closing the generator closes the connection."""
        with self._errors():
            self._require_key()
            with self._breaker.watch(request.deadline):
                if not self.profile.ready:
                    with self._negotiating(request.deadline):
                        self._negotiate(request.deadline)
                form = RequestForm(self.profile, turn, request, self._extra)
                for attempt in retrying(self._max_retries, request.deadline):
                    with attempt:
                        reply = self._open(form, turn, request)
                        events = reply.first_text()
                form.accepted()
            with reply:
                yield self._estimate(turn)
                yield from self._limitations(form)
                yield from events
                yield from reply.events()
            yield from reply.end()

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        """Stream the continuation. Closing the generator closes the connection."""
        with self._errors():
            self._require_key()
            with self._breaker.watch(request.deadline):
                if not self.profile.ready:
                    async with self._clients.lock():
                        await self._anegotiate(request.deadline)
                form = RequestForm(self.profile, turn, request, self._extra)
                async for attempt in aretrying(self._max_retries, request.deadline):
                    with attempt:
                        reply = await self._aopen(form, turn, request)
                        events = await reply.afirst_text()
                form.accepted()
            async with reply:
                for event in (self._estimate(turn), *self._limitations(form), *events):
                    yield event
                async with OwnedStream(reply.aevents()) as further_events:
                    async for event in further_events:
                        yield event
            for event in reply.end():
                yield event

    @property
    def client(self) -> openai.OpenAI:
        """The SDK's client for blocking calls."""
        return self._clients.client

    def prefetch(self, turn: Turn) -> Future[Usage] | None:
        """Request one token, so that the server's prefix cache holds the turn."""
        if self._clients.asynchronous_only:  # the blocking client lacks the user's proxy or certificates
            return None
        return prefetch_by_request(self, turn)

    def prefetch_is_free(self, writer: Backend) -> bool:  # noqa: ARG002 - part of the interface
        """Return whether the server is on the local network. Hosted servers bill every request."""
        return on_own_network(self._url)

    @property
    def capabilities(self) -> Capabilities:
        """What is known about the model and its server. More is known after the first request."""
        profile = self.profile
        strategy, stops = profile.strategy, profile.engine.stops_on_disconnect
        return Capabilities(
            place=self._safe_url,
            engine=profile.engine.name,
            continuation=strategy.name if strategy else None,
            limitation=self._limitation(strategy),
            context=profile.context,
            request_tokens_max=_BILLED_TOKENS_MAX if stops is False else None,
            top_logprobs_max=profile.top_logprobs,
            stops_on_cancel=stops,
            tool_calls=profile.tool_calls,
            counts_exactly=self.template is not None,
            prefetches=not self._clients.asynchronous_only,
        )

    def diagnose(self, found: Diagnosis) -> Diagnosis:
        """Add what the server lists, and what further requests show."""
        return diagnose_server(ServedModel(self.model, self, self.client, self.profile, self.timeout), found)

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text with the model's tokenizer. Estimate them if there is no tokenizer."""
        if self.template is None:
            return super().count_tokens(text)
        return len(self.template.tokenizer.encode(text, add_special_tokens=False))

    def describe(self) -> dict[str, Any]:
        """Return the model, the server's address, the strategy and the extra fields, without secrets.

        A text of the extra fields that may be a secret, and the query of the address, are replaced by a fingerprint.
        """
        strategy = self.profile.strategy
        described = {**super().describe(), "base_url": self._safe_url, "continuation": strategy and strategy.name}
        if self._extra:
            described["extra_body"] = public_settings(self._extra)
        if query := urlsplit(self._url).query:
            described["query"] = fingerprint(query)
        return described | described_path(self.model)

    def _limitation(self, strategy: Strategy | None) -> str | None:
        if not isinstance(strategy, ChatInstruct):
            return None
        return (
            f"{self.name} at {self._safe_url} only gets an instruction to continue its reply, because the server "
            "cannot continue a half-written reply. The result may be poor. If the server has a completions endpoint, "
            "pass `tokenizer=`."
        )

    # -- requests

    def _open(self, form: RequestForm, turn: Turn, request: Request) -> ReplyStream:
        timer = ReplyTimer(request.deadline, self.timeout)
        while True:
            payload, body = form.build()
            try:
                stream = self._clients.open(payload.endpoint, body, timer)
            except Exception as error:  # noqa: BLE001 - `change_after` raises the errors that it cannot handle
                form.change_after(error)
            else:
                return self._reply(stream, self._reader(payload, turn, request), timer)

    async def _aopen(self, form: RequestForm, turn: Turn, request: Request) -> ReplyStream:
        timer = ReplyTimer(request.deadline, self.timeout)
        while True:
            payload, body = form.build()
            try:
                stream = await self._clients.aopen(payload.endpoint, body, timer)
            except Exception as error:  # noqa: BLE001
                form.change_after(error)
            else:
                return self._reply(stream, self._reader(payload, turn, request), timer)

    def _limitations(self, form: RequestForm) -> Iterator[Limitation]:
        for words in form.limitations():
            yield Limitation(f"{self.name} at {self._safe_url}: {words}")

    def _negotiate(self, deadline: Deadline) -> None:
        """Find out what the server is and how it continues a turn, unless another turn found out meanwhile."""
        questions, found = self.profile.questions(), None
        with suppress(StopIteration):
            while True:
                question = questions.send(found)
                try:
                    for attempt in retrying(self._retries(question), deadline):
                        with attempt:
                            timer = ReplyTimer(deadline, min(question.seconds, self.timeout))
                            found = question.read(question.send(self._clients.client, timer.timeout()))
                except Exception as error:  # noqa: BLE001 - the question decides which errors are answers
                    deadline.require()  # a turn without time learns nothing about the server
                    found = question.failed(error)
        self._warn()

    async def _anegotiate(self, deadline: Deadline) -> None:
        """Do the same as `_negotiate`, on an event loop."""
        client = await self._clients.async_client()
        questions, found = self.profile.questions(), None
        with suppress(StopIteration):
            while True:
                question = questions.send(found)
                try:
                    async for attempt in aretrying(self._retries(question), deadline):
                        with attempt:
                            timer = ReplyTimer(deadline, min(question.seconds, self.timeout))
                            async with in_time(timer):
                                found = question.read(await question.send(client, timer.timeout()))
                except Exception as error:  # noqa: BLE001
                    deadline.require()
                    found = question.failed(error)
        self._warn()

    @contextmanager
    def _negotiating(self, deadline: Deadline) -> Iterator[None]:
        """Let only one turn ask the server, but wait for another turn no longer than the deadline allows."""
        seconds = min(max(deadline.left(), 0.0), threading.TIMEOUT_MAX)
        if not self._negotiation.acquire(timeout=seconds):
            raise TurnTimeoutError(deadline.seconds)
        try:
            yield
        finally:
            self._negotiation.release()

    def _retries(self, question: Question) -> int:
        return self._max_retries if question.retries is None else question.retries

    def _warn(self) -> None:
        if limitation := self.capabilities.limitation:
            _LOGGER.warning("%s", limitation)

    def _require_key(self) -> None:
        if not self._api_key.get_secret_value():
            msg = f"{self.name} at {self._safe_url}: no API key. Pass `api_key` or set OPENAI_API_KEY."
            raise ContinuationError(msg)

    def _reply(
        self, stream: openai.Stream[Any] | openai.AsyncStream[Any], reader: ChunkReader, timer: ReplyTimer
    ) -> ReplyStream:
        return ReplyStream(stream, reader, timer, name=self.name, place=self._safe_url, redactor=self._redactor)

    def _reader(self, payload: Payload, turn: Turn, request: Request) -> ChunkReader:
        count = self._count_piece if self.template else None
        numbered = self.profile.engine.counts_tokens_per_chunk
        return ChunkReader(payload, turn, request.max_tokens, count, self.profile.reasoning_use, numbered=numbered)

    def _count_piece(self, text: str) -> int:
        """Count the tokens of a piece. Short pieces are cached, because the tokenizer takes most of the time."""
        return self._count_short_piece(text) if len(text) <= _CACHED_PIECE_MAX else self._count_after_text(text)

    def _count_after_text(self, text: str) -> int:
        """Count the tokens of a piece that follows other text.

        SentencePiece tokenizers such as Llama 2's add a space to the beginning of a text. It would be one more token
        for nearly every piece.
        """
        if not self._adds_space:
            return self.count_tokens(text)
        return self.count_tokens(_BEFORE_PIECE + text) - self.count_tokens(_BEFORE_PIECE)

    @cached_property
    def _adds_space(self) -> bool:
        """Whether the tokenizer adds a space to the beginning of a text."""
        return self.count_tokens(f"{_BEFORE_PIECE} a") < self.count_tokens(_BEFORE_PIECE) + self.count_tokens(" a")

    def _estimate(self, turn: Turn) -> Usage:
        """Count the tokens of the prompt here, each part once. A stream that is closed early reports no usage."""
        text = turn.body()
        characters, tokens = self._counted_prompts.get(turn, (0, 0))
        if not characters:
            tokens = sum(self.count_tokens(m.content) for m in turn.history)
        tokens += self.count_tokens(text[characters:])
        if not turn.pending:  # pending text belongs to this request only
            self._counted_prompts[turn] = (len(text), tokens)
        return Usage(prompt_tokens=tokens)

    # -- names

    @property
    def _safe_url(self) -> str:
        """The server's address without the parts that may contain a secret."""
        return public_url(self._url)

    def _secrets(self) -> Iterator[str]:
        key = self._api_key.get_secret_value()
        yield from () if key.lower() in _PLACEHOLDERS else (key,)
        yield from secrets_in_url(self._url)
        yield from secrets_in_settings(self._extra)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        callers = sys.exception()  # an error that the caller is handling may be the context of ours
        try:
            yield
        except BackendError as error:
            for cause in (error.__cause__, error.__context__):
                if cause is not None:
                    remove_secrets(cause, self._redactor, except_for=callers)
            raise
        except Exception as error:
            from langchain_spec_thinking.backends.openai.errors import translate  # noqa: PLC0415 - imports openai

            remove_secrets(error, self._redactor, except_for=callers)
            raise translate(error, name=self.name, url=self._safe_url) from error


def _fixed_strategy(url: str, continuation: Continuation, template: ChatTemplate | None) -> Strategy | None:
    """Return the only strategy to use, or None if the server decides."""
    if continuation == "auto":
        return None
    return named_strategy(continuation, template, (hosted_engine(url) or UNKNOWN).strategies)


def _checked_key(key: SecretStr | str) -> SecretStr:
    """Return the key without white space around it. Raise an error that does not show the key if it is invalid."""
    text = (key.get_secret_value() if isinstance(key, SecretStr) else key).strip()
    if not (text.isascii() and text.isprintable()):  # a header cannot hold it, and the error would quote it
        wrong = next(i for i, character in enumerate(text) if not (character.isascii() and character.isprintable()))
        msg = f"api_key: expected printable ASCII characters, got another character at position {wrong}"
        raise ValueError(msg)
    return SecretStr(text)


def _require_url(url: str) -> None:
    """Raise an error if the address is invalid. The message does not show the address, which may contain a secret."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in urlunsplit(parts._replace(netloc="")):
        msg = "base_url: expected an address such as http://127.0.0.1:8000/v1; quote special characters in a password"
        raise ValueError(msg)


def _template(
    tokenizer: str | os.PathLike[str] | PreTrainedTokenizerBase | None,
    thinking: bool | None,  # noqa: FBT001 - the same argument as in the class
) -> ChatTemplate | None:
    if tokenizer is None:
        return None
    if isinstance(tokenizer, (str, os.PathLike)):
        try:
            from langchain_spec_thinking.backends.local.backend import load_tokenizer  # noqa: PLC0415

            tokenizer = load_tokenizer(os.fspath(tokenizer))
        except ImportError as e:
            msg = (
                "tokenizer: rendering a chat template needs transformers. Install it with "
                "`pip install 'langchain-spec-thinking[huggingface]'`."
            )
            raise ImportError(msg) from e
    return ChatTemplate(tokenizer, thinking=thinking)
