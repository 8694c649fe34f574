"""An OpenAI-compatible server on the loopback interface that costs almost no time: it caches its encoded events.

The server continues one endless story from any place that a reply has reached, so several models can write in turn. The
URL contains the server's settings, so one process serves every measurement.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL, LARGE = "small", "large"
"""Names of the models. Both write the same story, but only the small model writes cues."""
MODELS = json.dumps({"object": "list", "data": [{"id": name} for name in (SMALL, LARGE)]}).encode()
"""Response to a request for the list of models."""
STEP = 100
"""Tokens from one blank line to the next."""
_WORDS = [f" {first}{second}" for first in "abcdefghijklm" for second in ("dd", "ome", "ight", "oat", "ures")]
_TOKEN = re.compile(r"</think>|\n\n| ?[^\s<]+")
_THOUGHT = 0.9
"""Share of the text that is reasoning."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How the server writes.

    Attributes:
        tokens: Length of the story, in tokens. Every event of a stream contains one token.
        cue_every: Number of steps from one cue of the small model to the next. 0 means no cues.
        rate: Tokens per second in each stream. 0 means all tokens at once.
        thinks: Whether most of the story is reasoning.
    """

    tokens: int = 2000
    cue_every: int = 0
    rate: float = 0.0
    thinks: bool = True

    def token(self, index: int, model: str) -> str:
        """Return one token of the story."""
        if self.thinks and index == int(self.tokens * _THOUGHT):
            return "</think>"
        step, place = divmod(index, STEP)
        if step and place == 0:
            return "\n\n"
        if place == 1 and self.cue_every and step and step % self.cue_every == 0 and model == SMALL:
            return "Wait"
        return _WORDS[(index * 7 + step) % len(_WORDS)]

    def story(self, model: str = SMALL) -> str:
        """Return the whole story as one model would write it."""
        return "".join(self.token(index, model) for index in range(self.tokens))

    def url(self, server: str) -> str:
        """Return the URL at which a server writes with these settings."""
        return f"{server}/{urlencode({key: value for key, value in asdict(self).items() if value})}/v1"

    @classmethod
    def of(cls, path: str) -> StreamSettings:
        """Parse the settings from the path of a URL."""
        query = dict(parse_qsl(path.split("/")[1]))
        rate, tokens, cue_every = (float(query.get(name, 0)) for name in ("rate", "tokens", "cue_every"))
        return cls(int(tokens), int(cue_every), rate, "thinks" in query)


@contextmanager
def serving() -> Iterator[str]:
    """Run the server in its own process inside this context. The context value is its URL."""
    command = [sys.executable, "-m", "benchmarks.speed.loopback"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
        try:
            assert process.stdout  # noqa: S101 - it is a pipe
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


class _Connection(asyncio.Protocol):
    """A client connection, which sends one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._writing:
            self._writing.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if not found or len(body) < (int(length[1]) if length else 0):
            return
        self._received = b""
        path = head.split(b" ", 2)[1].decode()
        if head.startswith(b"GET"):
            self._transport.write(_head("application/json", b"Content-Length: %d" % len(MODELS)) + MODELS)
        else:
            self._answer(path, json.loads(body))

    def _answer(self, path: str, request: dict[str, Any]) -> None:
        self._transport.write(_head("text/event-stream", b"Transfer-Encoding: chunked"))
        stream_settings, parts = StreamSettings.of(path), _framed(events(path, request))
        if stream_settings.rate:
            self._pace(parts, 0, 1 / stream_settings.rate, asyncio.get_running_loop().time())
        else:
            self._transport.write(b"".join(parts))

    def _pace(self, parts: tuple[bytes, ...], index: int, seconds: float, due: float) -> None:
        loop = asyncio.get_running_loop()
        while index < len(parts) and due <= loop.time():
            self._transport.write(parts[index])
            index, due = index + 1, due + seconds
        if index < len(parts):
            self._writing = loop.call_at(due, self._pace, parts, index, seconds, due)


def _head(kind: str, framing: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n\r\n" % (kind.encode(), framing)


@lru_cache(maxsize=4096)
def _framed(parts: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return the body as HTTP chunks, one per event, as real servers send them."""
    return (*(b"%x\r\n%s\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n")


def events(path: str, request: dict[str, Any]) -> tuple[bytes, ...]:
    """Return the events that answer a request.

    Args:
        path: Path of the request.
        request: JSON body of the request.
    """
    stream_settings, chat = StreamSettings.of(path), path.endswith("/chat/completions")
    begin = _position(request)
    end = min(begin + (request.get("max_tokens") or stream_settings.tokens), stream_settings.tokens)
    return _events(stream_settings, request["model"], chat, begin, end)


def _position(request: dict[str, Any]) -> int:
    """Return the number of story tokens in the reply that the request continues."""
    if "prompt" in request:
        reply = request["prompt"]
    else:
        last = request["messages"][-1]
        reply = last["content"] if last["role"] == "assistant" else ""
    return position(reply) if "<think>" in reply else 0


def position(reply: str) -> int:
    """Return how many tokens of the story a reply contains, which may begin with `<think>`."""
    return len(_TOKEN.findall(reply.rpartition("<think>")[2]))


@lru_cache(maxsize=4096)
def _events(stream_settings: StreamSettings, model: str, chat: bool, begin: int, end: int) -> tuple[bytes, ...]:  # noqa: FBT001 - a cache key
    """Return one event per token, then the finish reason, then the usage."""
    tokens = [_event(model, chat, stream_settings.token(index, model), None) for index in range(begin, end)]
    usage = {"prompt_tokens": 10 + begin, "completion_tokens": end - begin, "total_tokens": 10 + end}
    usage_event = _server_sent_event(json.dumps({**_chunk(model, chat), "choices": [], "usage": usage}))
    return (
        *tokens,
        _event(model, chat, "", "stop" if end == stream_settings.tokens else "length"),
        usage_event,
        _server_sent_event("[DONE]"),
    )


@lru_cache(maxsize=4096)
def _event(model: str, chat: bool, text: str, reason: str | None) -> bytes:  # noqa: FBT001
    content: dict[str, Any] = {"delta": {"content": text}} if chat else {"text": text}
    choice = {"index": 0, **content, "logprobs": None, "finish_reason": reason}
    return _server_sent_event(json.dumps({**_chunk(model, chat), "choices": [choice]}))


def _chunk(model: str, chat: bool) -> dict[str, Any]:  # noqa: FBT001
    kind, name = ("chat.completion.chunk", "chatcmpl-") if chat else ("text_completion", "cmpl-")
    return {"id": f"{name}7f3a9c", "object": kind, "created": 1700000000, "model": model}


def _server_sent_event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve())
