"""The common part of all fake providers: HTTP in, a text for the model to continue, a stream of events out."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import httpx2

from langchain_spec_thinking.testing import words
from langchain_spec_thinking.turn import OPENING, THINK_CLOSE
from tests.unit_tests.backends import tiny
from tests.unit_tests.providers.model import Reciter, reply_so_far, shown_closed
from tests.unit_tests.wire import Handler, delta, event, streamed, text, usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from langchain_spec_thinking.backends.replies.continuation import StrategyName

SOURCES = ("documented", "recorded", "guessed")
OPENAI_FIELDS = frozenset(
    ["model", "messages", "max_tokens", "stream", "stream_options", "temperature", "top_p", "seed", "stop"]
)


class RefusalError(Exception):
    """The provider answers with an error."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = {"error": {"message": body}} if isinstance(body, str) else body


class Behaviour(NamedTuple):
    """Something that a provider does, and how this is known.

    Documented: in the vendor's documentation or the engine's source. Recorded: seen on a real server, by us or in a bug
    report. Guessed: not confirmed.
    """

    source: str
    does: str


class Provider(Handler):
    """One engine or service, as far as continuing a reply is concerned.

    The docstring of each subclass lists what the provider does and how this is known. The first line describes how a
    reply is continued.

    Attributes:
        name: The usual name.
        checked: When the first line of the docstring was last compared with a source, how, and with which source.
        auto: The strategy that `auto` selects without a tokenizer.
        raw: Whether its completions endpoint shows the prompt unchanged to the model.
        owner: `owned_by` in its list of models. None if the field is missing.
        about: Further fields of a model in the list.
        reasoning_field: The field in which its reasoning parser puts the thought. None if it has no parser and the text
            contains think tags.
        usage_streams: Whether a stream ends with its usage.
        done: Whether a stream ends with `[DONE]`.
        bills_on: Whether it continues to write and bill if the client hangs up.
        completions_max_tokens: The limit of a completion without a limit. None: there is no limit.
        limit_field: The field of the token limit.
        billed: Tokens written so far.
        accepted: Bodies of the streaming requests that were answered.
    """

    name: ClassVar[str]
    checked: ClassVar[str]
    url: ClassVar[str]
    auto: ClassVar[StrategyName]
    raw: ClassVar[bool] = False
    owner: ClassVar[str | None] = None
    about: ClassVar[dict[str, Any]] = {}
    reasoning_field: ClassVar[str | None] = None
    usage_streams: ClassVar[bool] = True
    done: ClassVar[bool] = True
    bills_on: ClassVar[bool] = False
    completions_max_tokens: ClassVar[int | None] = None
    limit_field: ClassVar[str] = "max_tokens"

    def __init__(self, text: str) -> None:
        self.reciter: Callable[[str], str] = Reciter(text)
        self.billed = 0
        self.accepted: list[dict[str, Any]] = []

    # -- what differs between providers

    def refuse(self, body: dict[str, Any]) -> None:
        """Raise an error if the provider refuses a chat request."""

    def shown(self, body: dict[str, Any]) -> str:
        """Return the text that the model sees for a chat request."""
        return shown_closed(body["messages"])

    def prompt(self, body: dict[str, Any]) -> str:
        """Return the text that the model sees for a completions request."""
        if not self.raw:
            raise RefusalError(404, "Not Found")
        return str(body["prompt"])

    def echo(self, body: dict[str, Any]) -> str:
        """Return the repeated text at the beginning of a reply."""
        return ""

    def deltas(self, shown: str, written: str) -> Iterator[dict[str, Any]]:
        """Yield the fields of each event's delta. Each event has one token."""
        thought, answer = self.split(shown, written)
        yield from ({str(self.reasoning_field): token} for token in words(thought))
        yield from ({"content": token} for token in words(answer))

    def split(self, shown: str, written: str) -> tuple[str, str]:
        """Split the text into thought and answer, like a reasoning parser."""
        open_thought = OPENING in reply_so_far(shown) and THINK_CLOSE not in reply_so_far(shown)
        if self.reasoning_field is None or not (open_thought or written.startswith(OPENING)):
            return "", written
        thought, tag, answer = written.removeprefix(OPENING).partition(THINK_CLOSE)
        return (thought.removesuffix("\n"), answer.lstrip("\n")) if tag else (thought, "")

    def models(self) -> dict[str, Any]:
        """Return the list of models."""
        owner = {} if self.owner is None else {"owned_by": self.owner}
        return {"object": "list", "data": [{"id": self.model, "object": "model", **owner, **self.about}]}

    def properties(self) -> dict[str, Any]:
        """Return what the server tells about itself apart from its models."""
        raise RefusalError(404, "Not Found")

    def between(self) -> bytes:
        """Return the bytes that keep a stream alive."""
        return b""

    def last(self, prompt: int, completion: int) -> dict[str, Any]:
        """Return the event that contains the usage."""
        return usage(prompt, completion)

    # -- what all providers share

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix(httpx2.URL(self.url).path)
        try:
            if request.method == "GET" and path == "/models":
                return httpx2.Response(200, json=self.models())
            if request.method == "GET":
                return httpx2.Response(200, json=self.properties())
            body = json.loads(request.content)
            chat = path.startswith("/chat")
            if chat:
                self.refuse(body)
            return self._reply(body, chat=chat)
        except RefusalError as e:
            return httpx2.Response(e.status, json=e.body)

    def _reply(self, body: dict[str, Any], *, chat: bool) -> httpx2.Response:
        shown = self.shown(body) if chat else self.prompt(body)
        rest = words(self.reciter(shown))
        most = body.get(self.limit_field, len(rest) if chat else self.completions_max_tokens)
        tokens, reason = rest[:most], "stop" if most is None or len(rest) <= most else "length"
        written = "".join(tokens)
        prompt = len(tiny.byte_tokenizer().encode(shown))
        if not body.get("stream"):
            self.billed += len(tokens)
            thought, answer = self.split(shown, written)
            said = {"role": "assistant", "content": self.echo(body) + answer or None}
            message = {**said, self.reasoning_field: thought} if self.reasoning_field and thought else said
            choice = {"index": 0, "message": message, "finish_reason": reason}
            return httpx2.Response(200, json={**usage(prompt, len(tokens)), "choices": [choice]})
        self.accepted.append(body)
        if chat:
            chunks = [delta(role="assistant", content=self.echo(body))]
            chunks += [delta(**fields) for fields in self.deltas(shown, written)]
            chunks += [delta(reason)]
        else:
            chunks = [text(token) for token in tokens] + [text("", reason)]
        if self.usage_streams and (body.get("stream_options") or {}).get("include_usage"):
            chunks.append(self.last(prompt, len(tokens)))
        events = [self.between() + event(chunk) for chunk in chunks] + [event("[DONE]")] * self.done
        return streamed(_Stream(self, events, len(tokens)))


class _Stream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A stream with one token in each event. The provider counts the tokens when it writes them."""

    def __init__(self, provider: Provider, events: list[bytes], tokens: int) -> None:
        self.provider, self.events, self.tokens = provider, events, tokens

    def __iter__(self) -> Iterator[bytes]:
        for part in self.events:
            self._write(1)
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part

    def close(self) -> None:
        self._write(self.tokens if self.provider.bills_on else 0)

    async def aclose(self) -> None:
        self.close()

    def _write(self, most: int) -> None:
        written = min(most, self.tokens)
        self.tokens -= written
        self.provider.billed += written


def behaviours(provider: type[Provider]) -> list[Behaviour]:
    """Read from a provider's docstring what the provider does and how this is known."""
    lines = re.findall(rf"^ *- ({'|'.join(SOURCES)}): (.+)$", provider.__doc__ or "", re.MULTILINE)
    return [Behaviour(*line) for line in lines]


def unknown(body: dict[str, Any], known: frozenset[str] = OPENAI_FIELDS) -> list[str]:
    """Return the fields that a provider does not know, sorted."""
    return sorted(set(body) - known)
