"""A server in this process that speaks a dialect and follows a script. It needs no model, no socket and no time."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.faults.faults import Ending
from benchmarks.faults.model_text import FURTHER, Given, ModelText, given_by, token_limit
from benchmarks.faults.scripts import REPEATING, Behaviour, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from benchmarks.faults.dialects import Dialect, Endpoint, Part
    from benchmarks.faults.scripts import Step
    from tests.unit_tests.fake_time import FakeTime

STEPS_MAX = 20_000
"""Most steps of all streams of a turn. A client that reads further does not come to an end."""
_REPETITION_MIN = 16
"""Shortest reply that a server repeats, in characters. A client cannot tell a shorter repetition from the model's."""
_ELSEWHERE = "http://elsewhere.test/v1"
_ENDINGS: dict[Behaviour, Callable[[str], httpx2.Response]] = {
    Behaviour.REDIRECT: lambda path: httpx2.Response(307, headers={"location": f"{_ELSEWHERE}{path}"}),
    Behaviour.RATE_LIMIT: lambda _: httpx2.Response(429, json={"error": {}}, headers={"retry-after": "15"}),
    Behaviour.ERROR: lambda _: httpx2.Response(500, json={"error": {"message": "engine died"}}),
}


class HungError(BaseException):
    """A client reads a stream without end. It is no `Exception`, so that the client cannot handle it."""


@dataclass
class ScriptedServer:
    """Answers the requests of one turn.

    Attributes:
        dialect: How the server writes its streams.
        script: What it does wrong.
        time: The clock of the client.
        bodies: The bodies of the requests that ask for text.
        texts: Number of events with text that were sent, for each request.
        elsewhere: Number of requests that came to another address than the server's.
    """

    dialect: Dialect
    script: Script
    time: FakeTime
    bodies: list[dict[str, Any]] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)
    elsewhere: int = 0
    _steps: int = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request of a blocking client."""
        if request.url.host != httpx2.URL(self.address).host:
            self.elsewhere += 1
        if request.method == "GET":
            listed = [{"id": "big", "object": "model", "owned_by": self.dialect.owner}]
            return httpx2.Response(200, json={"data": listed})
        body = json.loads(request.content)
        if not body.get("stream"):  # a probe of how the server continues a reply
            said = body["messages"][-1]["content"] if self._repeats_replies else ""
            message = {"role": "assistant", "content": f"{said} yellow. The banana is yellow."}
            return httpx2.Response(200, json={"choices": [{"index": 0, "message": message}]})
        self.bodies.append(body)
        self.texts.append(0)
        if self.script.behaviour in _ENDINGS:
            return _ENDINGS[self.script.behaviour](request.url.path)
        steps = self.script.steps(self._reply(body, len(self.texts) - 1))
        limit = request.extensions.get("timeout", {}).get("read")
        stream = _Stream(self._counted(steps), self.time, limit)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)

    @property
    def address(self) -> str:
        """The address. A server that repeats replies has its own, because clients remember what is at an address."""
        return self.dialect.address.replace(".test", "-repeats.test" if self._repeats_replies else ".test")

    @property
    def _repeats_replies(self) -> bool:
        return self.script.behaviour in {Behaviour.RESTART, Behaviour.ECHO}

    async def acall(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request of an asynchronous client."""
        return self(request)

    @property
    def model(self) -> ModelText:
        """The text of the model."""
        return ModelText(self.dialect.thinks)

    def _counted(self, steps: Iterator[Step]) -> Iterator[Step]:
        for step in steps:
            self._steps += 1
            if self._steps > STEPS_MAX:
                raise HungError
            yield step

    def _reply(self, body: dict[str, Any], number: int) -> Iterator[tuple[bytes, bool]]:
        """Yield the events of a reply, each with whether it contains text."""
        endpoint: Endpoint = "completions" if "prompt" in body else "chat"
        counts = self.dialect.counts_on_request and body.get("stream_options", {}).get("continuous_usage_stats")
        given = given_by(body, self.model)
        limit = token_limit(body)
        for event in self.dialect.beginning(endpoint):
            yield event, False
        for text, part in self._repeated(given):
            yield self.dialect.event(endpoint, part, text, None), True
        written, reason = 0, "stop"
        for text, part in self._texts(given):
            if written >= limit and self.script.behaviour is not Behaviour.ENDLESS:
                reason = "length"
                break
            written += 1
            self.texts[number] += 1
            yield self.dialect.event(endpoint, part, text, written if counts else None), True
        for event in self.dialect.ending(endpoint, reason, written if counts else None):
            yield event, False

    def _texts(self, given: Given) -> Iterator[tuple[str, Part]]:
        """Yield the tokens of a reply, each with the part that it belongs to."""
        in_field = bool(self.dialect.thought) and self._splits(given)
        for token, place in self.model.rest(self._start(given)):
            part = self.model.part(place) if in_field else "text"
            if part:
                yield token, part
        if self.script.behaviour in {Behaviour.ENDLESS, Behaviour.CRUMBS}:
            yield from itertools.repeat((FURTHER, "text"))

    def _splits(self, given: Given) -> bool:
        """Return whether the server takes the thought of a reply out of the text."""
        if given.instructed or given.prompt:
            return False
        return not given.begun or given.in_field or self.dialect.continues_in_field

    def _start(self, given: Given) -> int:
        """Return where in the text the reply begins, in characters."""
        behaviour = self.script.behaviour
        text = given.text.rstrip() if behaviour is Behaviour.TRIM and self._repeats(given) else given.text
        if behaviour is not Behaviour.RESTART or not self._repeats(given):
            return self.model.place(text)
        return self._repeated_from(given) if given.instructed or given.in_field or given.prompt else 0

    def _repeated_from(self, given: Given) -> int:
        """Return where in the reply the text begins that the model was asked to continue."""
        in_answer = given.instructed and len(given.text) >= self.model.answer_start
        return self.model.answer_start if in_answer else self.model.thought_start

    def _repeated(self, given: Given) -> Iterator[tuple[str, Part]]:
        """Yield what the server repeats of the text that it was given."""
        if self.script.behaviour is not Behaviour.ECHO or not self._repeats(given):
            return
        if given.prompt:
            yield given.prompt, "text"
        elif given.in_field:
            thought, _, answer = given.text[self.model.thought_start :].partition("\n</think>\n\n")
            yield thought, "thought"
            if answer:
                yield answer, "text"
        else:
            yield given.text[self._repeated_from(given) if given.instructed else 0 :], "text"

    def _repeats(self, given: Given) -> bool:
        """Return whether the server repeats text in the reply."""
        long = len(given.text) - self._repeated_from(given) >= _REPETITION_MIN
        return self.script.behaviour in REPEATING and given.begun and not given.finished_thought and long


class _Stream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of a response. A pause takes no real time."""

    def __init__(self, steps: Iterator[Step], time: FakeTime, limit: float | None) -> None:
        self._steps = itertools.takewhile(lambda step: step is not Ending.END, steps)
        self._time = time
        self._limit = limit or 10**9

    def __iter__(self) -> Iterator[bytes]:
        for step in self._steps:
            self._time.seconds += self._pause(step)
            yield self._part(step)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._steps:
            await asyncio.sleep(self._pause(step))
            yield self._part(step)

    def _pause(self, step: Step) -> float:
        """Return how long a client waits, in seconds. It does not wait longer than its limit."""
        return min(step, self._limit) if isinstance(step, float) else 0.0

    def _part(self, step: Step) -> bytes:
        """Return the bytes of a step. Raise what a client raises if there are none."""
        if step is Ending.CLOSE:
            msg = "the connection was closed"
            raise httpx2.ReadError(msg)
        if isinstance(step, float) and step > self._limit:
            msg = "no bytes came in time"
            raise httpx2.ReadTimeout(msg)
        return step if isinstance(step, bytes) else b""
