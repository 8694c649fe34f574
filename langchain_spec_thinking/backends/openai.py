"""Models behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

from pydantic import SecretStr

from langchain_spec_thinking.backends.base import Backend, Event, Request, Usage
from langchain_spec_thinking.backends.breaker import CircuitBreaker
from langchain_spec_thinking.backends.chunks import ChunkReader
from langchain_spec_thinking.backends.continuation import ChatFlag, Continuation, Payload, Raw, Strategy
from langchain_spec_thinking.backends.end_mark import saw_end_mark, watch_end_mark
from langchain_spec_thinking.backends.negotiation import OPTIONAL_FIELDS, PROBE, probing, refused_fields, server_words
from langchain_spec_thinking.backends.retries import aretrying, retrying
from langchain_spec_thinking.backends.templates import ChatTemplate
from langchain_spec_thinking.errors import BackendError, ContinuationError, StreamCutError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

    import httpx2
    import openai
    from transformers import PreTrainedTokenizerBase

    from langchain_spec_thinking.turn import Turn

if TYPE_CHECKING:
    _KeptClient = tuple[openai.AsyncOpenAI, AsyncGenerator[None, None]]

OPENAI_URL = "https://api.openai.com/v1"
_NO_KEY = "none"  # the SDK insists on one
_STRATEGIES = ("auto", "raw", "chat_flag")


class OpenAIBackend(Backend):
    """A model behind an OpenAI-compatible server.

    The half-written turn is continued by one of two strategies: `"raw"` renders the chat template here and uses the
    completions endpoint (exact; needs the model's tokenizer, not its weights); `"chat_flag"` sends the turn as an open
    last message with vLLM's `continue_final_message`. `"auto"` is raw where a tokenizer is given; otherwise it tries
    the flag once, before anything is shown.

    Args:
        model: The model's name, as the server knows it.
        base_url: The server, usually ending in `/v1`; None for OpenAI.
        api_key: The key. By default `OPENAI_API_KEY` for OpenAI, and none for other servers.
        continuation: The strategy.
        tokenizer: Hub id, folder, or a loaded tokenizer of the model.
        thinking: Whether the model reasons between `<think>` and `</think>`; None: as its chat template suggests, or,
            without a tokenizer, as its first words show.
        timeout: How long to wait for a connection or for more text, in seconds.
        max_retries: How often a request is repeated that failed before its first token.
        http_client: A client of your own, for a proxy or certificates.
        http_async_client: The same for asynchronous calls.

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
        http_client: httpx2.Client | None = None,
        http_async_client: httpx2.AsyncClient | None = None,
    ) -> None:
        if continuation not in _STRATEGIES:
            msg = f"continuation: expected one of {', '.join(_STRATEGIES)}, got {continuation!r}"
            raise ValueError(msg)
        if continuation == "raw" and tokenizer is None:
            msg = (
                "tokenizer: continuation='raw' renders the chat template here and needs the model's tokenizer, got None"
            )
            raise ValueError(msg)
        if not isinstance(max_retries, int) or max_retries < 0:
            msg = f"max_retries: expected a whole number of at least 0, got {max_retries!r}"
            raise ValueError(msg)
        self.name = model
        self._url = base_url or OPENAI_URL
        if api_key is None:
            api_key = os.environ.get("OPENAI_API_KEY", "") if base_url is None else _NO_KEY
        self._api_key = api_key if isinstance(api_key, SecretStr) else SecretStr(api_key)
        self._timeout = timeout
        self._max_retries = max_retries
        self._http_client = http_client
        self._http_async_client = http_async_client
        self._template = _template(tokenizer, thinking)
        self.thinks = bool(thinking) if self._template is None else self._template.thinks
        self._strategy: Strategy | None = None
        if self._template and continuation in ("auto", "raw"):
            self._strategy = Raw(self._template)
        elif continuation == "chat_flag":
            self._strategy = ChatFlag()
        self._refused: frozenset[str] = frozenset()  # fields that this server does not take
        self._breaker = CircuitBreaker(f"{model} at {self._place}")
        self._async_clients: dict[asyncio.AbstractEventLoop, _KeptClient] = {}
        self._counted: WeakKeyDictionary[Turn, tuple[int, int]] = WeakKeyDictionary()  # characters, tokens

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Stream the continuation; closing the generator closes the connection."""
        with self._errors():
            if self._strategy is None:
                with probing(self._place, self._secret) as judge:
                    judge(self._client.chat.completions.create(**self._probe()))
                self._strategy = ChatFlag()
            payload = self._strategy.payload(turn)
            yield self._estimate(turn)
            with self._breaker.watch():
                for attempt in retrying(self._max_retries):
                    with attempt:
                        reader = self._reader(payload, turn, request)
                        stream = self._open(payload, request)
                        events = self._first_text(stream, reader)
            with stream:
                yield from events
                for chunk in stream:
                    yield from reader.read(chunk)
            yield from self._end(reader, stream.response)

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        """Stream the continuation; closing the generator closes the connection."""
        with self._errors():
            if self._strategy is None:
                with probing(self._place, self._secret) as judge:
                    client = await self._async_client()
                    judge(await client.chat.completions.create(**self._probe()))
                self._strategy = ChatFlag()
            payload = self._strategy.payload(turn)
            yield self._estimate(turn)
            with self._breaker.watch():
                async for attempt in aretrying(self._max_retries):
                    with attempt:
                        reader = self._reader(payload, turn, request)
                        stream = await self._aopen(payload, request)
                        events = await self._afirst_text(stream, reader)
            async with stream:
                for event in events:
                    yield event
                async for chunk in stream:
                    for event in reader.read(chunk):
                        yield event
            for event in self._end(reader, stream.response):
                yield event

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text with the model's tokenizer, or estimate them where there is none."""
        if self._template is None:
            return super().count_tokens(text)
        return len(self._template.tokenizer.encode(text, add_special_tokens=False))

    def describe(self) -> dict[str, Any]:
        """Return the model, the server and how it is asked; never the key."""
        return {**super().describe(), "base_url": self._place, "continuation": self._strategy and self._strategy.name}

    # -- requests

    def _open(self, payload: Payload, request: Request) -> openai.Stream[Any]:
        client = self._client
        create = client.completions.create if payload.endpoint == "completions" else client.chat.completions.create
        while True:
            body = self._body(payload, request)
            try:
                stream: openai.Stream[Any] = create(**body)
            except Exception as error:  # noqa: BLE001 - read by `_shed`, which raises what it cannot mend
                self._shed(error, body)
            else:
                watch_end_mark(stream.response)
                return stream

    async def _aopen(self, payload: Payload, request: Request) -> openai.AsyncStream[Any]:
        client = await self._async_client()
        create: Any = client.completions.create if payload.endpoint == "completions" else client.chat.completions.create
        while True:
            body = self._body(payload, request)
            try:
                stream: openai.AsyncStream[Any] = await create(**body)
            except Exception as error:  # noqa: BLE001
                self._shed(error, body)
            else:
                watch_end_mark(stream.response)
                return stream

    def _first_text(self, stream: openai.Stream[Any], reader: ChunkReader) -> list[Event]:
        """Read up to the first text: a stream that breaks before it is opened again, like one that cannot be opened."""
        try:
            for chunk in stream:
                events = list(reader.read(chunk))
                if events:
                    return events
            self._require_end(reader, stream.response)
        except BaseException:
            stream.close()
            raise
        return []

    async def _afirst_text(self, stream: openai.AsyncStream[Any], reader: ChunkReader) -> list[Event]:
        """Like `_first_text`, on an event loop."""
        try:
            async for chunk in stream:
                events = list(reader.read(chunk))
                if events:
                    return events
            self._require_end(reader, stream.response)
        except BaseException:
            await stream.close()
            raise
        return []

    def _require_end(self, reader: ChunkReader, response: httpx2.Response) -> None:
        """Tell a stream that ended from one that was cut off."""
        if reader.empty and "event-stream" not in response.headers.get("content-type", ""):
            msg = (
                f"{self.name} at {self._place}: the server answered without a single event of a stream. "
                "Check `base_url` (it usually ends in /v1)."
            )
            raise ContinuationError(msg)
        if not (reader.finished or saw_end_mark(response)):
            raise StreamCutError(self.name, self._place)

    def _end(self, reader: ChunkReader, response: httpx2.Response) -> Iterator[Event]:
        yield from reader.rest()
        if not reader.full:
            self._require_end(reader, response)
        yield reader.end()

    def _body(self, payload: Payload, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.name,
            "max_tokens": request.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stop": list(request.stop) or None,
            **payload.body,
        }
        if request.top_k is not None:
            body["extra_body"] = {**body.get("extra_body", {}), "top_k": request.top_k}
        return {key: value for key, value in body.items() if value is not None and key not in self._refused}

    def _shed(self, error: Exception, body: dict[str, Any]) -> None:
        """Remember fields that the server refuses and can do without; raise the error where there are none."""
        refused = refused_fields(error, [name for name in OPTIONAL_FIELDS if name in body])
        if not refused:
            raise error
        self._refused |= refused

    def _probe(self) -> dict[str, Any]:
        return {"model": self.name, **PROBE}

    def _reader(self, payload: Payload, turn: Turn, request: Request) -> ChunkReader:
        return ChunkReader(payload, turn, request.max_tokens, self.count_tokens if self._template else None)

    def _estimate(self, turn: Turn) -> Usage:
        """Count the prompt here, each part of it once: a stream that is closed early never tells its usage."""
        text = turn.body()
        characters, tokens = self._counted.get(turn, (0, 0))
        if not characters:
            tokens = sum(self.count_tokens(m.content) for m in turn.history)
        tokens += self.count_tokens(text[characters:])
        self._counted[turn] = (len(text), tokens)
        return Usage(prompt_tokens=tokens)

    # -- the connection

    @property
    def _settings(self) -> dict[str, Any]:
        if not self._api_key.get_secret_value():
            msg = f"{self.name} at {self._place}: no API key. Pass `api_key` or set OPENAI_API_KEY."
            raise ContinuationError(msg)
        return {
            "base_url": self._url,
            "api_key": self._api_key.get_secret_value(),
            "timeout": self._timeout,
            "max_retries": 0,  # tenacity's job: two layers would multiply
        }

    @cached_property
    def _client(self) -> openai.OpenAI:
        import openai  # noqa: PLC0415 - heavy

        return openai.OpenAI(**self._settings, http_client=self._http_client)

    async def _async_client(self) -> openai.AsyncOpenAI:
        """Return the client of the running event loop: connections cannot change loops."""
        loop = asyncio.get_running_loop()
        if loop not in self._async_clients:
            import openai  # noqa: PLC0415 - heavy

            client = openai.AsyncOpenAI(**self._settings, http_client=self._http_async_client)
            keeper = self._until_loop_ends(loop, client)
            await anext(keeper)
            self._async_clients[loop] = (client, keeper)
        return self._async_clients[loop][0]

    async def _until_loop_ends(
        self, loop: asyncio.AbstractEventLoop, client: openai.AsyncOpenAI
    ) -> AsyncGenerator[None, None]:
        """Let go of a client when its event loop ends: a loop closes the asynchronous generators that are open."""
        try:
            yield
        finally:
            self._async_clients.pop(loop, None)
            if self._http_async_client is None:  # the user's own is the user's to close
                await client.close()

    @property
    def _place(self) -> str:
        """The server's address, without the parts in which a secret may stand."""
        parts = urlsplit(self._url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))

    @property
    def _secret(self) -> str:
        key = self._api_key.get_secret_value()
        return "" if key == _NO_KEY else key

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import httpx2  # noqa: PLC0415 - comes with openai
        import openai  # noqa: PLC0415 - heavy

        try:
            yield
        except BackendError:
            raise
        except (openai.OpenAIError, httpx2.HTTPError, json.JSONDecodeError, UnicodeDecodeError) as error:
            from langchain_spec_thinking.backends.openai_errors import translate  # noqa: PLC0415 - imports openai

            secret = self._secret
            translated = translate(error, name=self.name, url=self._place, secret=secret)
            raise translated from (None if secret and secret in server_words(error) else error)


def _template(
    tokenizer: str | os.PathLike[str] | PreTrainedTokenizerBase | None,
    thinking: bool | None,  # noqa: FBT001 - as in the class
) -> ChatTemplate | None:
    if tokenizer is None:
        return None
    if isinstance(tokenizer, (str, os.PathLike)):
        try:
            from langchain_spec_thinking.backends.huggingface import load_tokenizer  # noqa: PLC0415

            tokenizer = load_tokenizer(os.fspath(tokenizer))
        except ImportError as e:
            msg = (
                "tokenizer: rendering a chat template needs transformers. Install it with "
                "`pip install 'langchain-spec-thinking[huggingface]'`."
            )
            raise ImportError(msg) from e
    return ChatTemplate(tokenizer, thinking=thinking)
