"""Tests that every server must pass. All servers run SmolLM2, and llama.cpp's own server runs Gemma too."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.exceptions import ModelAuthenticationError
from openai import OpenAI
from transformers import AutoTokenizer

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.backends.base import End, Piece, Request, Usage
from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
from langchain_spec_thinking.backends.replies.continuation import ChatFlag, Raw
from langchain_spec_thinking.turn import Message, Turn
from tests.integration_tests import gemma
from tests.integration_tests.conftest import SMALL
from tests.integration_tests.servers import ENGINES, KEY, Server

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_spec_thinking import OpenAIBackend
    from langchain_spec_thinking.backends.base import Event
    from langchain_spec_thinking.backends.replies.continuation import StrategyName
    from tests.integration_tests.servers import Servers

EXACT_STRATEGIES: list[tuple[str, StrategyName, str]] = [
    *((engine.name, strategy, SMALL) for engine in ENGINES.values() for strategy in engine.exact),
    ("llama-server", "raw", gemma.NAME),  # its file has no chat template, so the server cannot render its prompt
]
COUNT = "Count from 1 to 60."
COUNTED = "1, 2, 3, 4,"
TIME_LIMIT = 10.0
"""Time limit in seconds. One token takes less on a busy machine, the thousands of cancelled tokens would take more."""


@pytest.fixture(params=ENGINES, scope="session")
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    return servers.get(request.param, SMALL)


@pytest.fixture(params=EXACT_STRATEGIES, ids="-".join, scope="session")
def exact(request: pytest.FixtureRequest, servers: Servers) -> tuple[Server, OpenAIBackend]:
    """A server, and a backend that continues turns on it with an exact strategy."""
    engine, strategy, model = request.param
    server = servers.get(engine, model)
    return server, server.backend_for(strategy)


def turn_with(question: str, reply: str) -> Turn:
    turn = Turn((Message("user", question),))
    if reply:
        turn.append("speculative", reply)
    return turn


def greedy(max_tokens: int, **settings: Any) -> Request:
    return Request(max_tokens, temperature=0, **settings)


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Piece))


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("Hello!", ""),
        ("Count.", "One, two,"),
        ("Count.", "One, two, three, fo"),
        ("Two paragraphs, please.", "The first.\n\n"),
        ("Write it down.", "  def f():\n"),
        ("用中文回答。", "你好世界。🎉"),
    ],
)
def test_the_server_reads_the_prompt_unchanged(exact: tuple[Server, OpenAIBackend], question: str, reply: str) -> None:
    """The server adds no second template and no second start token, and loses no part of the reply."""
    server, backend = exact
    tokenizer = AutoTokenizer.from_pretrained(server.tokenizer)
    turn = turn_with(question, reply)
    raw = Raw(ChatTemplate(tokenizer)).payload(turn)
    with OpenAI(base_url=server.url, api_key=KEY) as client:
        if backend.describe()["continuation"] == "raw":
            usage = client.completions.create(model=server.model, max_tokens=1, **raw.body).usage
        else:
            body = ChatFlag().payload(turn).body
            usage = client.chat.completions.create(model=server.model, max_tokens=1, **body).usage
    assert usage
    assert usage.prompt_tokens == len(tokenizer.encode(raw.body["prompt"]))


def test_half_a_word_is_finished(exact: tuple[Server, OpenAIBackend]) -> None:
    _, backend = exact
    turn = turn_with("Name the days of the week, in order.", "Monday, Tuesday, Wednes")
    assert text_of(backend.continue_turn(turn, greedy(4))).startswith("day")


def test_hand_overs_do_not_change_the_text(exact: tuple[Server, OpenAIBackend]) -> None:
    """The model is certain of this text, so differences in rounding do not change it."""
    _, backend = exact
    alone = text_of(backend.continue_turn(turn_with(COUNT, COUNTED), greedy(50)))
    turn = turn_with(COUNT, COUNTED)
    while len(turn.answer) < len(COUNTED + alone):
        written = text_of(backend.continue_turn(turn, greedy(13)))
        kept = written[: written.rindex(",") + 1]
        turn.append("speculative", kept)
    assert turn.answer.startswith(COUNTED + alone)
    assert len(turn.spans) >= 5


async def test_text_is_streamed_and_counted(exact: tuple[Server, OpenAIBackend]) -> None:
    server, backend = exact
    turn, request = turn_with(COUNT, COUNTED), greedy(20)
    events = list(backend.continue_turn(turn, request))
    pieces, end = [event for event in events if isinstance(event, Piece)], events[-1]
    assert len(pieces) > 10
    assert sum(piece.tokens or 0 for piece in pieces) == 20
    assert isinstance(events[0], Usage)  # comes before any text, because a cancelled request reports no usage later
    assert isinstance(end, End)
    assert end.reason == "length"
    tokenizer = AutoTokenizer.from_pretrained(server.tokenizer)
    prompt = Raw(ChatTemplate(tokenizer)).payload(turn).body["prompt"]
    if server.engine.reports_usage:
        assert end.usage
        assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (len(tokenizer.encode(prompt)), 20)
        assert (end.usage.cached_tokens is not None) == server.engine.reports_cached_tokens
    else:
        assert end.usage is None
    assert text_of([event async for event in backend.acontinue_turn(turn, request)]) == text_of(events)


def test_a_stop_string_ends_the_text(exact: tuple[Server, OpenAIBackend]) -> None:
    server, backend = exact
    events = list(backend.continue_turn(turn_with(COUNT, COUNTED), greedy(60, stop=(" 9,",))))
    written, end = text_of(events), events[-1]
    assert isinstance(end, End)
    assert end.reason == "stop"
    assert written == " 5, 6, 7, 8," + (" 9," if server.engine.keeps_stop_string else "")


def test_stop_strings_of_the_user_are_left_out(exact: tuple[Server, OpenAIBackend]) -> None:
    _, backend = exact
    model = ChatSpeculativeThinking(speculative=backend, target=backend, temperature=0, max_tokens=40)
    whole = model.invoke(COUNT).text
    stop = whole[20:24]
    message = model.invoke(COUNT, stop=[stop])
    assert message.text == whole[: whole.index(stop)]
    assert message.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("question", "reply", "expected"),
    [("Repeat these: 🎉🌍", "🎉🌍 🎉🌍 🎉🌍 ", "🎉🌍"), ("Repeat: 你好世界。", "你好世界。" * 3 + "你好", "世界")],
)
def test_characters_of_several_tokens_are_not_split(
    exact: tuple[Server, OpenAIBackend], question: str, reply: str, expected: str
) -> None:
    """A limit may cut the text anywhere, but half a character is never shown. Gemma, a base model, may not repeat."""
    server, backend = exact
    texts = [text_of(backend.continue_turn(turn_with(question, reply), greedy(n))) for n in (1, 2, 3, 5, 6, 12)]
    assert expected in texts[-1] or server.model == gemma.NAME
    assert "\ufffd" not in "".join(texts)
    if server.engine.greedy_is_repeatable:
        assert all(longer.startswith(shorter) for shorter, longer in pairwise(texts))


def test_a_seed_repeats_the_sample(exact: tuple[Server, OpenAIBackend]) -> None:
    """A first request puts the prompt into the cache: llama.cpp rounds differently if it reads the whole prompt."""
    server, backend = exact
    turn = turn_with("Tell me a story.", "")

    def sampled(seed: int) -> str:
        return text_of(backend.continue_turn(turn, Request(16, temperature=1.0, seed=seed)))

    sampled(0)
    texts = [sampled(seed) for seed in (1, 2, 3)]
    assert texts == [sampled(seed) for seed in (1, 2, 3)]
    assert len(set(texts)) == (3 if server.engine.samples else 1)


async def test_a_closed_stream_frees_the_server(exact: tuple[Server, OpenAIBackend]) -> None:
    server, backend = exact
    turn, endless = turn_with("Write a long story.", ""), Request(3000, temperature=1.0, seed=1)
    for _ in range(3):
        events = backend.continue_turn(turn, endless)
        next(event for event in events if isinstance(event, Piece))
        events.close()
    for _ in range(3):
        asynchronous = backend.acontinue_turn(turn, endless)
        async for event in asynchronous:
            if isinstance(event, Piece):
                break
        await asynchronous.aclose()
    closed = time.monotonic()
    if server.engine.name == "vllm":
        while server.metric("num_requests_running"):
            assert time.monotonic() - closed < TIME_LIMIT
            await asyncio.sleep(0.05)
    assert text_of(backend.continue_turn(turn_with(COUNT, COUNTED), greedy(4)))
    assert time.monotonic() - closed < TIME_LIMIT


def test_auto_finds_the_best_strategy(server: Server) -> None:
    """Without a tokenizer, `auto` uses the flag if it works. Otherwise it uses the emulation, as the report says."""
    backend = server.backend(tokenizer=None)
    policy = DelegationPolicy.non_reasoning(opening_tokens=8)  # the small model continues the opening of the large one
    pair = ChatSpeculativeThinking(speculative=backend, target=backend, policy=policy, max_tokens=24)
    message = pair.invoke("Tell me a story about a fox and a hen.")
    assert message.text
    assert backend.describe()["continuation"] == server.engine.auto
    degraded = message.response_metadata["speculative_thinking"]["degraded"]
    assert bool(degraded) == (server.engine.auto == "chat_instruct")


def test_errors_name_the_cause_and_hide_the_key(server: Server) -> None:
    """Servers that check the key or the model name report an error. The error never contains the key."""
    turn = turn_with("hi", "")
    if server.engine.checks_key:
        wrong = server.backend(api_key="sk-another-secret")
        with pytest.raises(ModelAuthenticationError, match=r"at http://127.0.0.1:\d+/v1: .*Check `api_key`") as caught:
            list(wrong.continue_turn(turn, greedy(1)))
        assert "secret" not in str(caught.value) + repr(caught.value.__cause__)
    nonesuch = server._replace(model="nonesuch").backend()
    if server.engine.unknown_model:
        with pytest.raises(server.engine.unknown_model, match=r"nonesuch at http://127.0.0.1:\d+/v1: .*nonesuch"):
            list(nonesuch.continue_turn(turn, greedy(1)))
    else:
        assert text_of(nonesuch.continue_turn(turn, greedy(4)))
