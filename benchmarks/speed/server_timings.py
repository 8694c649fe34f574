"""What a real server says about its own work: how long it read and wrote for each request."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LLAMA_FIELDS: Final = {"timings_per_token": True}
"""Field of a request that makes llama.cpp's server send its timings with every token.

Without this field, a stream that is closed early has no timings.
"""
_TIMINGS = re.compile(rb'"timings": ?(\{[^{}]*\})')


@dataclass(frozen=True, slots=True)
class ServerWork:
    """What a server did for one model of a turn, by its own clock.

    Attributes:
        read: Number of prompt tokens that it read.
        needed: Number of prompt tokens that were new to it: those that it neither read nor wrote before.
        read_seconds: Time in which it read them.
        written: Number of tokens that it wrote.
        write_seconds: Time in which it wrote them.
        readings: Number of requests.
    """

    read: int
    needed: int
    read_seconds: float
    written: int
    write_seconds: float
    readings: int

    @property
    def seconds(self) -> float:
        """Time for all of its work."""
        return self.read_seconds + self.write_seconds

    @property
    def read_again(self) -> int:
        """Number of prompt tokens that it read although it had read or written them before."""
        return max(0, self.read - self.needed)

    def ideal_seconds(self, kept: int) -> float:
        """Return how long the server needs at its own speed, if it reads each token once.

        Args:
            kept: Number of its tokens that the turn has kept.
        """
        reading = self.read_seconds * min(1.0, self.needed / self.read) if self.read else 0.0
        return reading + (self.write_seconds * kept / self.written if self.written else 0.0)


@dataclass(slots=True)
class _Reply:
    """A reply of llama.cpp's server.

    Attributes:
        conversation: The user's message, which tells the turns of a run apart.
        timings: The last timings that the server sent.
    """

    conversation: str
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def prompt(self) -> int:
        """Number of tokens of the prompt."""
        return int(self.timings["cache_n"] + self.timings["prompt_n"])

    @property
    def held(self) -> int:
        """Number of tokens that the server holds after the reply. It has not read its own last token yet."""
        return self.prompt + int(self.timings["predicted_n"]) - 1


class LlamaClock(httpx2.BaseTransport):
    """A transport that notes the timings in the replies of llama.cpp's server.

    Args:
        inner: The transport that does the work.
    """

    def __init__(self, inner: httpx2.BaseTransport | None = None) -> None:
        self._inner = inner or httpx2.HTTPTransport()
        self._replies: list[_Reply] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and note what the reply says."""
        response = self._inner.handle_request(request)
        body: dict[str, Any] = json.loads(request.content) if request.method == "POST" else {}
        if body.get("timings_per_token"):
            reply = _Reply(_conversation(body))
            self._replies.append(reply)
            assert isinstance(response.stream, httpx2.SyncByteStream)  # noqa: S101 - of a blocking transport
            response.stream = _Noted(response.stream, reply)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    def clear(self) -> None:
        """Forget all replies."""
        self._replies.clear()

    def work(self, others: Sequence[str] = ()) -> ServerWork:  # noqa: ARG002 - `VllmClock` needs the texts
        """Return what the server did since the last `clear`. Turns may run at the same time if their questions differ.

        A token that was dropped counts as held by the server, although it is not part of the next prompt. So `needed`
        may be too small, but never too large.
        """
        replies = [reply for reply in self._replies if reply.timings]
        new = sum(reply.prompt for reply in _firsts(replies))
        new += sum(max(1, after.prompt - before.held) for before, after in _neighbours(replies))
        total: Counter[str] = Counter()
        for reply in replies:
            total.update({name: value for name, value in reply.timings.items() if name.endswith(("_n", "_ms"))})
        cached_before = sum(int(reply.timings["cache_n"]) for reply in _firsts(replies))
        return ServerWork(
            read=int(total["prompt_n"]),
            needed=new - cached_before,
            read_seconds=total["prompt_ms"] / 1e3,
            written=int(total["predicted_n"]),
            write_seconds=total["predicted_ms"] / 1e3,
            readings=len(replies),
        )


class _Noted(httpx2.SyncByteStream):
    """Passes a reply on, and notes its last timings."""

    def __init__(self, inner: httpx2.SyncByteStream, reply: _Reply) -> None:
        self._inner = inner
        self._reply = reply

    def __iter__(self) -> Iterator[bytes]:
        tail = b""  # an event may be cut in two
        for part in self._inner:
            seen = tail + part
            for found in _TIMINGS.finditer(seen):
                self._reply.timings = json.loads(found[1])
            tail = seen[seen.rfind(b"\n") + 1 :]
            yield part

    def close(self) -> None:
        self._inner.close()


def _conversation(body: dict[str, Any]) -> str:
    """Return the first message of the user, or an empty text if there is none."""
    messages = body.get("messages", ())
    return next((str(message["content"]) for message in messages if message["role"] == "user"), "")


def _firsts(replies: Sequence[_Reply]) -> list[_Reply]:
    return list({reply.conversation: reply for reply in reversed(replies)}.values())


def _neighbours(replies: Sequence[_Reply]) -> Iterator[tuple[_Reply, _Reply]]:
    for conversation in {reply.conversation for reply in replies}:
        yield from pairwise(reply for reply in replies if reply.conversation == conversation)


class VllmClock:
    """What vLLM's metrics say about the work since the last `clear`. Only one turn may run in this time.

    Args:
        client: A client whose base address is the server's, without `/v1`.
    """

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client
        self._requests: list[dict[str, Any]] = []
        self._before = self._counters()

    def note(self, request: httpx2.Request) -> None:
        """Note a request of the turn. This is a hook for a client."""
        if request.method == "POST":
            self._requests.append(json.loads(request.content))

    def clear(self) -> None:
        """Begin anew."""
        self._requests.clear()
        self._before = self._counters()

    def work(self, others: Sequence[str]) -> ServerWork:
        """Return what the server did.

        Args:
            others: The texts of the other model that the server had to read.
        """
        now = self._counters()
        grown = {name: now[name] - self._before[name] for name in now}
        new = self._tokens(self._requests[0]) if self._requests else 0
        model = self._requests[0]["model"] if self._requests else ""
        new += sum(self._tokens({"model": model, "prompt": text, "add_special_tokens": False}) for text in others)
        return ServerWork(
            read=int(grown["prompt_tokens_total"] - grown["prefix_cache_hits_total"]),
            needed=new,
            read_seconds=grown["time_to_first_token_seconds_sum"],
            written=int(grown["generation_tokens_total"]),
            write_seconds=grown["inter_token_latency_seconds_sum"],
            readings=int(grown["time_to_first_token_seconds_count"]),
        )

    def _counters(self) -> dict[str, float]:
        counters: dict[str, float] = defaultdict(float)
        for line in self._client.get("/metrics").raise_for_status().text.splitlines():
            name, _, value = line.partition("{")
            if name.startswith("vllm:"):
                counters[name.removeprefix("vllm:")] += float(value.rpartition(" ")[2])
        return counters

    def _tokens(self, body: dict[str, Any]) -> int:
        """Return the number of tokens of a prompt."""
        names = ("model", "prompt", "messages", "continue_final_message", "add_generation_prompt", "add_special_tokens")
        sent = {name: body[name] for name in names if name in body}
        return int(self._client.post("/tokenize", json=sent).raise_for_status().json()["count"])
