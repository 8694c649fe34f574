"""Models behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, NoReturn, get_args
from weakref import WeakKeyDictionary

from pydantic import SecretStr

from langchain_spec_thinking.backends.base import Backend, Event, Limitation, Request, Usage, not_picklable
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.backends.clean_errors import remove_secrets
from langchain_spec_thinking.backends.listed_prices import price_at
from langchain_spec_thinking.backends.openai.address import OPENAI_URL, Address, address_in_environment
from langchain_spec_thinking.backends.openai.api_key import NO_KEY, ApiKey, KeyFunction, checked_key, is_secret
from langchain_spec_thinking.backends.openai.breaker import CircuitBreaker
from langchain_spec_thinking.backends.openai.capabilities import ServerProfile, thought_delivery
from langchain_spec_thinking.backends.openai.clients import Clients, in_time
from langchain_spec_thinking.backends.openai.diagnosis import ServedModel, diagnose_server
from langchain_spec_thinking.backends.openai.engines import UNKNOWN, hosted_engine
from langchain_spec_thinking.backends.openai.reply_stream import ReplyStream
from langchain_spec_thinking.backends.openai.reply_timer import ReplyTimer, seconds_of
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
from langchain_spec_thinking.installing import require_modules
from langchain_spec_thinking.owned_stream import OwnedStream
from langchain_spec_thinking.price import Price, require_price

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
    from concurrent.futures import Future

    import httpx2
    import openai
    from transformers import PreTrainedTokenizerBase

    from langchain_spec_thinking.backends.diagnosis import Diagnosis
    from langchain_spec_thinking.backends.openai.probes import Question
    from langchain_spec_thinking.backends.openai.reply_timer import HTTPTimeout
    from langchain_spec_thinking.backends.replies.thought_reader import ThoughtDelivery
    from langchain_spec_thinking.deadline import Deadline
    from langchain_spec_thinking.turn import Turn

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
        base_url: The server's address, which usually ends in `/v1`. None means the address in `OPENAI_API_BASE` or
            `OPENAI_BASE_URL`, and without these variables OpenAI. It may contain a user and a password
            (`https://user:password@host/v1`) and a query, which are sent but never shown. Redirects to other addresses
            are not followed.
        api_key: The API key, or a function that returns it and is asked for each request. The function may be
            asynchronous, but only asynchronous calls can ask such a function. By default, OpenAI and the address in the
            environment get the key in `OPENAI_API_KEY`, and other servers get none.
        continuation: The strategy.
        tokenizer: Hub id, folder, or a loaded tokenizer of the model.
        thinking: Whether the model reasons between `<think>` and `</think>`. If None, the chat template decides. If
            there is no tokenizer either, the first words of each reply decide. If the server once sends reasoning in a
            field of its own, the model counts as one that reasons.
        timeout: Longest time until the first text and between two pieces of text, in seconds. Comments and empty events
            do not count as text. Reasoning and the parts of a tool call do. Raise it for a model that reasons without
            sending its reasoning. More than a day counts as a day. None means 120 seconds. Of an `httpx.Timeout`, the
            value `read` counts.
        max_retries: How often to repeat a request that failed before its first token. A request is also sent again,
            once, if the server closes its idle connection within two seconds.
        default_headers: Further headers of every request, for example for a gateway.
        default_query: Further fields of the query of every request. They replace those in `base_url`.
        extra_body: Further fields for every request that generates text, for example OpenRouter's `provider`.
        http_client: Your own HTTP client, for example for a proxy or certificates.
        http_async_client: Your own HTTP client for asynchronous calls.
        price: The price of the model's tokens. None: the price that the library `genai-prices` lists (the extra
            `[prices]`), if `base_url` is the address of the provider; otherwise the price is not known.

    Attributes:
        model: The model's name on the server. `name` is the last part of it if the name is a path.
        profile: What the server is and what it supports.
        template: The model's chat template. None without a tokenizer.
        timeout: Longest time without text, in seconds.

    Raises:
        ValueError: A setting cannot work.
        BackendError: The tokenizer cannot be loaded.
    """

    def __init__(  # noqa: PLR0913 - settings, which are passed by keyword
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: SecretStr | str | KeyFunction | None = None,
        continuation: Continuation = "auto",
        tokenizer: str | os.PathLike[str] | PreTrainedTokenizerBase | None = None,
        thinking: bool | None = None,
        timeout: float | HTTPTimeout | None = 120.0,
        max_retries: int = 2,
        default_headers: Mapping[str, str] | None = None,
        default_query: Mapping[str, object] | None = None,
        extra_body: dict[str, Any] | None = None,
        http_client: httpx2.Client | None = None,
        http_async_client: httpx2.AsyncClient | None = None,
        price: Price | None = None,
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
        require_price(price)
        self.name = public_name(model)
        self.model = model
        self._url = base_url or address_in_environment() or OPENAI_URL
        self._address = Address(self._url, dict(default_headers or {}), dict(default_query or {}))
        if api_key is None:
            gets_key = base_url is None or base_url.rstrip("/") == OPENAI_URL
            api_key = os.environ.get("OPENAI_API_KEY", "") if gets_key else NO_KEY
        self._api_key = api_key if callable(api_key) else checked_key(api_key)
        self.timeout = seconds_of(timeout)
        self._extra = extra_body or {}
        self._extra_key = fingerprint(json.dumps(self._extra, default=str))
        self._redactor = Redactor(self._secrets())
        self._key = ApiKey(self._api_key, self._redactor, f"{self.name} at {self._safe_url}")
        self._max_retries = max_retries
        self.template = _template(tokenizer, thinking)
        self._thinking = thinking if self.template is None else self.template.thinks
        strategy = _fixed_strategy(self._url, continuation, self.template)
        self.profile = ServerProfile(self._url, model, strategy, self.template, self._address.key)
        self._negotiation = threading.Lock()
        self._breaker = CircuitBreaker(f"{self.name} at {self._safe_url}")
        # tenacity retries: retries in two layers would multiply
        settings: dict[str, Any] = {"timeout": self.timeout, "max_retries": 0}
        self._clients = Clients(self._address, self._key, settings, http_client, http_async_client)
        self._price = price
        self._is_listed = price is None and price_at(self._url, model) is not None
        self._counted_prompts: WeakKeyDictionary[Turn, tuple[int, int]] = WeakKeyDictionary()  # characters, tokens
        self._count_short_piece = lru_cache(maxsize=4096)(self._count_after_text)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Stream the continuation. Closing the generator closes the connection."""
        with self._errors():
            self._key.require()
            with self._breaker.watch(request.deadline):
                begins = request.whole and not turn.is_begun
                if not self.profile.is_ready(begins=begins):
                    with self._negotiating(request.deadline):
                        self._negotiate(request.deadline, begins=begins)
                form = RequestForm(self.profile, turn, request, self._extra, partial(self._count_prompt, turn))
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
            self._key.require()
            with self._breaker.watch(request.deadline):
                begins = request.whole and not turn.is_begun
                if not self.profile.is_ready(begins=begins):
                    async with self._clients.lock():
                        await self._anegotiate(request.deadline, begins=begins)
                form = RequestForm(self.profile, turn, request, self._extra, partial(self._count_prompt, turn))
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
    def thinks(self) -> bool:
        """Whether the model reasons. If no setting says so, the model's replies show it."""
        return self._thought_delivery.in_field if self._thinking is None else self._thinking

    @thinks.setter
    def thinks(self, thinks: bool) -> None:
        self._thinking = thinks

    @property
    def _thought_delivery(self) -> ThoughtDelivery:
        """How the model's thoughts arrive. Other backends with the same settings learn it too."""
        return thought_delivery(self._address.key, self.model, self._extra_key, self._thinking)

    @property
    def thinking_is_known(self) -> bool:
        """Whether a setting or a reply has shown whether the model reasons."""
        return self._thinking is not None or self.thinks

    @property
    def client(self) -> openai.OpenAI:
        """The SDK's client for blocking calls."""
        return self._clients.client

    def prefetch(self, turn: Turn) -> Future[Usage] | None:
        """Request one token, so that the server's prefix cache holds the turn."""
        if self._clients.asynchronous_only:  # the blocking client lacks the user's proxy or certificates
            return None
        return prefetch_by_request(self, turn)

    def connect_ahead(self) -> None:
        """Open a connection in the background, if the next request would have to wait for one."""
        self._clients.connect_ahead()

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
            request_tokens_max=profile.output_max,
            stopped_tokens_max=_BILLED_TOKENS_MAX if stops is False else None,
            top_logprobs_max=profile.top_logprobs,
            stops_on_cancel=stops,
            tool_calls=profile.tool_calls,
            counts_exactly=self.template is not None,
            billed=not on_own_network(self._url),
            prefetches=not self._clients.asynchronous_only,
        )

    @property
    def price(self) -> Price | None:
        """The price of the model's tokens: the given one, or the listed one now. None if it is not known."""
        return price_at(self._url, self.model) if self._is_listed else self._price

    def diagnose(self, found: Diagnosis) -> Diagnosis:
        """Add what the server lists, and what further requests show."""
        return diagnose_server(ServedModel(self.model, self, self.client, self.profile, self.timeout), found)

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text with the model's tokenizer. Estimate them if there is no tokenizer."""
        if self.template is None:
            return super().count_tokens(text)
        return len(self.token_ids(text) or ())

    def token_ids(self, text: str) -> list[int] | None:
        """Return the token ids of a text in the model's vocabulary. None without a tokenizer."""
        if self.template is None:
            return None
        ids: list[int] = self.template.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def __reduce__(self) -> NoReturn:
        """Refuse to pickle the key and the connection."""
        raise not_picklable(self)

    def describe(self) -> dict[str, Any]:
        """Return the model, the server's address, the strategy, further fields and headers, without secrets.

        A text of the fields and headers that may be a secret, and the query of the address, are replaced by a
        fingerprint.
        """
        strategy = self.profile.strategy
        described = {
            **super().describe(),
            "thinks": bool(self._thinking),
            **self._address.described(),
            "continuation": strategy and strategy.name,
        }
        if self._extra:
            described["extra_body"] = public_settings(self._extra)
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

    def _negotiate(self, deadline: Deadline, *, begins: bool) -> None:
        """Find out what the server is and how it continues a turn, unless another turn found out meanwhile."""
        questions, found = self.profile.questions(begins=begins), None
        with suppress(StopIteration):
            while True:
                question = questions.send(found)
                try:
                    for attempt in retrying(self._retries(question), deadline):
                        with attempt:
                            timer = ReplyTimer(deadline, min(question.seconds, self.timeout))
                            found = question.read(question.send(self._clients.client, timer.timeout()))
                except ContinuationError:  # there is no key to ask with
                    raise
                except Exception as error:  # noqa: BLE001 - the question decides which errors are answers
                    deadline.require()  # a turn without time learns nothing about the server
                    found = question.failed(error)
        self._warn()

    async def _anegotiate(self, deadline: Deadline, *, begins: bool) -> None:
        """Do the same as `_negotiate`, on an event loop."""
        client = await self._clients.async_client()
        questions, found = self.profile.questions(begins=begins), None
        with suppress(StopIteration):
            while True:
                question = questions.send(found)
                try:
                    async for attempt in aretrying(self._retries(question), deadline):
                        with attempt:
                            timer = ReplyTimer(deadline, min(question.seconds, self.timeout))
                            async with in_time(timer):
                                found = question.read(await question.send(client, timer.timeout()))
                except ContinuationError:
                    raise
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

    def _reply(
        self, stream: openai.Stream[Any] | openai.AsyncStream[Any], reader: ChunkReader, timer: ReplyTimer
    ) -> ReplyStream:
        return ReplyStream(stream, reader, timer, name=self.name, place=self._safe_url, redactor=self._redactor)

    def _reader(self, payload: Payload, turn: Turn, request: Request) -> ChunkReader:
        count = self._count_piece if self.template else None
        numbered = self.profile.engine.counts_tokens_per_chunk
        return ChunkReader(
            payload,
            turn,
            request.max_tokens,
            count,
            self._thought_delivery,
            hidden_tokens=request.hidden_tokens,
            model=self.profile.key,
            reasoning_in_total=self.profile.engine.reasoning_in_total,
            numbered=numbered,
            name=f"{self.name} at {self._safe_url}",
        )

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
        """Estimate the usage of the prompt. A stream that is closed early reports none."""
        return Usage(prompt_tokens=self._count_prompt(turn))

    def _count_prompt(self, turn: Turn) -> int:
        """Count the tokens of the prompt here, each part once."""
        text = turn.body()
        characters, tokens = self._counted_prompts.get(turn, (0, 0))
        if not characters:
            tokens = sum(self.count_tokens(m.content) for m in turn.history)
        tokens += self.count_tokens(text[characters:])
        if not turn.pending:  # pending text belongs to this request only
            self._counted_prompts[turn] = (len(text), tokens)
        return tokens

    # -- names

    @property
    def _safe_url(self) -> str:
        """The server's address without the parts that may contain a secret."""
        return public_url(self._url)

    def _secrets(self) -> Iterator[str]:
        if isinstance(self._api_key, SecretStr) and is_secret(key := self._api_key.get_secret_value()):
            yield key
        yield from self._address.secrets()
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


def _template(
    tokenizer: str | os.PathLike[str] | PreTrainedTokenizerBase | None,
    thinking: bool | None,  # noqa: FBT001 - the same argument as in the class
) -> ChatTemplate | None:
    if tokenizer is None:
        return None
    if isinstance(tokenizer, (str, os.PathLike)):
        require_modules("The chat template of `tokenizer`", "huggingface", "transformers")
        from langchain_spec_thinking.backends.local.loading import load_tokenizer  # noqa: PLC0415

        tokenizer = load_tokenizer(os.fspath(tokenizer))
    return ChatTemplate(tokenizer, thinking=thinking)
