"""The work for each streamed token: function calls, threads, characters and requests are counted, not timed."""

from __future__ import annotations

import asyncio
import gc
import json
import selectors
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import httpx2
import pytest

from benchmarks.speed import clients
from benchmarks.speed.loopback import LARGE, MODELS, SMALL, STEP, StreamSettings, events
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.policy.cues import Cue, Lexicon, SentenceClass
from langchain_spec_thinking.policy.delegation import Delegation
from langchain_spec_thinking.policy.triggers import CueTrigger
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends import tiny
from tests.unit_tests.wire import Body, Handler, streamed

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

pytestmark = pytest.mark.counts_work


@dataclass
class Storyteller(Handler):
    """The benchmarks' server of the small model, in this process."""

    url: ClassVar[str] = "http://server.test/v1"
    model: ClassVar[str] = SMALL
    stream_settings: StreamSettings
    requests: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return httpx2.Response(200, content=MODELS)
        self.requests.append(json.loads(request.content))
        path = self.stream_settings.url("") + request.url.path.removeprefix("/v1")
        return streamed(Body([*events(path, self.requests[-1])]))


class LargeStoryteller(Storyteller):
    """The benchmarks' server of the large model, in this process."""

    model = LARGE


CHAT: dict[str, Any] = {"continuation": "chat_trailing"}
RAW: dict[str, Any] = {"continuation": "raw", "tokenizer": tiny.byte_tokenizer(tiny.THINKING_TEMPLATE)}


def remote(
    stream_settings: StreamSettings, **settings: Any
) -> tuple[ChatSpeculativeThinking, Storyteller, Storyteller]:
    small, large = Storyteller(stream_settings), LargeStoryteller(stream_settings)
    backends = [server.backend(thinking=True, **settings) for server in (small, large)]
    return ChatSpeculativeThinking(speculative=backends[0], target=backends[1], max_tokens=10**6), small, large


def local(stream_settings: StreamSettings) -> ChatSpeculativeThinking:
    story = ScriptedBackend(stream_settings.story(), thinks=True)
    return ChatSpeculativeThinking(speculative=story, target=ScriptedBackend("", thinks=True), max_tokens=10**6)


PAIRS: dict[str, Callable[[StreamSettings], ChatSpeculativeThinking]] = {
    "local": local,
    "chat": lambda stream_settings: remote(stream_settings, **CHAT)[0],
    "raw": lambda stream_settings: remote(stream_settings, **RAW)[0],
}


LOOP = (str(Path(asyncio.__file__).parent), selectors.__file__, threading.__file__)
"""Files of the event loop. Their calls are not counted: how often the loop sleeps and wakes depends on the machine."""


def calls_of(act: Callable[[], object]) -> int:
    """Return the number of calls of Python and C functions, without calls inside the event loop.

    The garbage collector waits meanwhile: it would run the finalizers of what other tests have left behind.
    """
    calls = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"} and not frame.f_code.co_filename.startswith(LOOP)

    gc.collect()
    gc.disable()
    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


@pytest.mark.parametrize("way", ["stream", "invoke", "ainvoke"])
@pytest.mark.parametrize("kind", PAIRS)
def test_a_token_takes_as_many_calls_in_a_long_turn_as_in_a_short_one(kind: str, way: str) -> None:
    def calls(tokens: int) -> int:
        pair = PAIRS[kind](StreamSettings(tokens))
        acts: dict[str, Callable[[], object]] = {
            "stream": lambda: list(pair.stream("x")),
            "invoke": lambda: pair.invoke("x"),
            "ainvoke": lambda: asyncio.run(pair.ainvoke("x")),
        }
        acts[way]()
        return calls_of(acts[way])

    few, more, many = (calls(tokens) for tokens in (200, 400, 800))
    assert many - more <= 2 * (more - few) * 1.05


class Loop(asyncio.SelectorEventLoop):
    """An event loop that counts the callbacks from other threads.

    It does not count the clean-up of generators, which uses the same method whenever the garbage collector runs.
    """

    hops = 0

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, **settings: Any
    ) -> asyncio.Handle:
        self.hops += callback != self.create_task
        return super().call_soon_threadsafe(callback, *args, **settings)


@pytest.mark.parametrize("way", ["ainvoke", "astream"])
@pytest.mark.parametrize("settings", [CHAT, RAW], ids=["chat", "raw"])
def test_no_thread_is_between_a_server_and_the_event_loop(settings: dict[str, Any], way: str) -> None:
    def hops(tokens: int) -> int:
        pair, _, _ = remote(StreamSettings(tokens), **settings)
        loop = Loop()

        async def write() -> int:
            if way == "ainvoke":
                return clients.characters(await pair.ainvoke("x"))
            return sum([clients.characters(chunk) async for chunk in pair.astream("x")])

        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            assert runner.run(write()) > tokens
        return loop.hops

    assert hops(800) == hops(200)  # the number for a request does not depend on its tokens


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize("cue_every", [0, 1, 2])
async def test_a_takeover_takes_two_requests(cue_every: int, way: str) -> None:
    stream_settings = StreamSettings(10 * STEP, cue_every=cue_every)
    pair, small, large = remote(stream_settings, **CHAT)
    chunks = list(pair.stream("x")) if way == "stream" else [chunk async for chunk in pair.astream("x")]
    report = (chunks[0] + chunks[1:]).response_metadata["speculative_thinking"]
    assert report["takeovers"] == (0 if not cue_every else 8 // cue_every)
    assert len(small.requests) == report["takeovers"] + 1
    assert len(large.requests) == report["takeovers"]
    assert report["usage"]["speculative"]["requests"] == len(small.requests)
    assert report["usage"]["target"]["requests"] == len(large.requests)


@dataclass(frozen=True)
class Watched(Lexicon):
    """A lexicon that counts the characters it looks."""

    seen: list[int] = field(default_factory=list, compare=False)

    def first(self, sentence: str, limit: int, *, final: bool) -> Cue | None:
        self.seen.append(len(sentence))
        return super().first(sentence, limit, final=final)

    def verifies(self, sentence: str, limit: int | None = None) -> str | None:
        self.seen.append(len(sentence))
        return super().verifies(sentence, limit)

    def classify(self, sentence: str) -> SentenceClass:
        self.seen.append(len(sentence))
        return super().classify(sentence)


@pytest.mark.parametrize("size", [5, 80, sys.maxsize], ids=["tokens", "lines", "all at once"])
def test_characters_are_not_read_more_often_in_a_long_text(size: int) -> None:
    def looks(tokens: int) -> float:
        text, lexicon = StreamSettings(tokens, thinks=False).story(), Watched()
        machine = Delegation(DelegationPolicy(trigger=CueTrigger(lexicon)), thinks=True, max_tokens=10**6)
        machine.start()
        for start in range(0, len(text), size):
            machine.receive(text[start : start + size])
        return sum(lexicon.seen) / len(text)

    assert looks(8000) == pytest.approx(looks(2000), rel=0.1)


def test_a_word_is_tokenized_once() -> None:
    pair, _, _ = remote(StreamSettings(2000), **RAW)
    backend: Any = pair.speculative
    counted: list[str] = []
    encode = backend.template.tokenizer.encode

    class Tokenizer:
        all_special_tokens: ClassVar[list[str]] = []

        def encode(self, text: str, **settings: Any) -> Any:
            counted.append(text)
            return encode(text, **settings)

        def __getattr__(self, name: str) -> Any:
            return getattr(RAW["tokenizer"], name)

    backend.template.tokenizer = Tokenizer()
    pair.invoke("x")
    words = [text for text in counted if len(text) < 20]
    assert len(words) < 100
    assert len(words) - len(set(words)) <= 3  # the question is encoded several times
