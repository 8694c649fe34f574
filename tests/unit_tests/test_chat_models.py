"""Tests of the chat model with scripted backends."""

from __future__ import annotations

import asyncio
import itertools
import operator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    HumanMessage,
    SystemMessage,
)
from pydantic import ValidationError

from langchain_spec_thinking import Agreement, ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.backends.base import Backend, End, Event, Piece, Request, Usage
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.turn import Turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable

STEPS = ["I add 2 and 3.\n\n", "Wait, is it so?\n\n", "So it is 5.\n", "</think>\n\n", "It is 5, STOP, I say."]


def small(turn: Turn) -> str:
    """Write the text of a small model that reflects, unless the target has already taken over."""
    if turn.channel == "answer" and turn.thinks:
        return STEPS[4]
    return "".join(STEPS[2:] if "Hm" in turn.thinking else STEPS)


def pair(**kwargs: Any) -> ChatSpeculativeThinking:
    fields: dict[str, Any] = {
        "speculative": ScriptedBackend(small, name="small", thinks=True),
        "target": ScriptedBackend("Hm, two and three make five indeed. " * 9, name="large"),
        "policy": DelegationPolicy(takeover_tokens=7),
    }
    return ChatSpeculativeThinking(**{**fields, **kwargs})


def plain(text: str = "One. Two.", **kwargs: Any) -> ChatSpeculativeThinking:
    """Return a pair that writes no thought."""
    return pair(speculative=ScriptedBackend(text, name="small"), **kwargs)


def merged(chunks: Iterable[AIMessageChunk]) -> AIMessageChunk:
    first, *rest = chunks
    for chunk in rest:
        first += chunk
    return first


def test_a_message_has_reasoning_by_author_and_one_answer() -> None:
    message = pair().invoke("2 + 3?")
    assert message.content == [
        block("I add 2 and 3.\n\n", 0, "speculative", "draft"),
        block("Hm, two and three make five indeed.", 1, "target", "reflection"),
        block("So it is 5.\n", 2, "speculative", "draft"),
        {"type": "text", "text": "It is 5, STOP, I say.", "index": 3},
    ]
    assert message.text == "It is 5, STOP, I say."
    assert [b["type"] for b in message.content_blocks] == ["reasoning"] * 3 + ["text"]


def block(text: str, index: int, author: str, kind: str) -> dict[str, Any]:
    extras = {"author": author, "kind": kind, "type": "speculative_thinking"}
    return {"type": "reasoning", "reasoning": text, "index": index, "extras": extras}


def test_the_report_holds_authors_and_usage() -> None:
    metadata = pair().invoke("2 + 3?").response_metadata
    report = metadata["speculative_thinking"]
    assert metadata["model_name"] == "small + large"
    assert metadata["finish_reason"] == "stop"
    seconds = [segment.pop("seconds") for segment in report["segments"]]
    assert all(second >= 0 for second in seconds)
    draft = {"author": "speculative", "channel": "thinking", "kind": "draft", "cue": None}
    assert report["segments"] == [
        {**draft, "start": 0, "end": 16, "tokens": 6},
        {"author": "target", "channel": "thinking", "kind": "reflection", "start": 16, "end": 51, "tokens": 7}
        | {"cue": "wait"},
        {**draft, "start": 51, "end": 63, "tokens": 5},
        {**draft, "channel": "answer", "kind": "answer", "start": 0, "end": 21, "tokens": 6},
    ]
    assert report["takeovers"] == 1
    assert report["target_share"] == pytest.approx(7 / 24)
    assert report["usage"]["speculative"] == {
        "requests": 2,
        "prompt_tokens": 2 * (3 + 2) + 6 + 7,  # "2 + 3?" and the opening tag twice, then the text before request 2
        "cached_tokens": 0,
        "completion_tokens": 6 + 1 + 5 + 2 + 6,  # the draft stops at its first word, which is a cue
        "discarded_tokens": 1,
        "cost": None,
    }
    assert report["usage"]["target"]["discarded_tokens"] == 0
    assert report["degraded"] == []


def test_usage_metadata_counts_the_prompt_once_and_the_text_kept() -> None:
    usage = pair().invoke("2 + 3?").usage_metadata
    assert usage is not None
    assert usage["output_tokens"] == 24
    assert usage["input_tokens"] == 5  # includes the opening tag and its line break
    assert usage.get("output_token_details") == {"reasoning": 18}


@pytest.mark.parametrize("make", [pair, plain])
@pytest.mark.parametrize("output_version", ["v0", "v1"])
async def test_streaming_and_invoking_give_the_same_message(make: Any, output_version: str) -> None:
    model = make(output_version=output_version)
    invoked = [model.invoke("2 + 3?"), await model.ainvoke("2 + 3?")]
    streamed = [merged(model.stream("2 + 3?")), merged([chunk async for chunk in model.astream("2 + 3?")])]
    expected = dump(invoked[0])
    for message in [*invoked[1:], *streamed]:
        assert dump(message) == expected


def dump(message: AIMessage) -> dict[str, Any]:
    metadata = {**message.response_metadata}
    for segment in metadata["speculative_thinking"]["segments"]:
        segment.pop("seconds", None)
    blocks = [message.content] if isinstance(message.content, str) else message.content
    for block in blocks:
        if isinstance(block, dict):
            block.pop("index", None)  # LangChain adds this number only if plain text is streamed
    return {"content": blocks, "usage": message.usage_metadata, "metadata": metadata}


TEXTS = st.lists(
    st.sampled_from(["\n\n", "\n", "Wait", " check", " so", "yes ", "</think>", "x", " STOP", ". "]), max_size=30
).map("".join)


@given(TEXTS, TEXTS, st.booleans(), st.sampled_from([None, ["STOP"]]), st.integers(1, 60))
@settings(deadline=None)
def test_streamed_text_only_grows_into_the_final_text(
    written: str, taken_over: str, thinks: bool, stop: list[str] | None, max_tokens: int
) -> None:
    models = ScriptedBackend(written, thinks=thinks), ScriptedBackend(taken_over)
    model = ChatSpeculativeThinking(speculative=models[0], target=models[1], max_tokens=max_tokens)
    final = model.invoke("hi", stop=stop)
    shown = ""
    for chunk in model.stream("hi", stop=stop):
        shown += chunk.text
        assert final.text.startswith(shown)
    assert shown == final.text
    segments = final.response_metadata["speculative_thinking"]["segments"]
    texts = {"answer": final.text, "thinking": reasoning(final)}
    for channel, text in texts.items():
        spans = [(s["start"], s["end"]) for s in segments if s["channel"] == channel]
        assert spans == list(itertools.pairwise([0, *(end for _, end in spans)]))
        assert "".join(text[start:end] for start, end in spans) == text
    assert sum(s["tokens"] for s in segments) <= max_tokens


def reasoning(message: AIMessage) -> str:
    return "".join(str(b["reasoning"]) for b in message.content_blocks if b["type"] == "reasoning")


def test_text_is_streamed_before_the_turn_ends() -> None:
    model = pair()
    with_text = next(chunk for chunk in model.stream("2 + 3?") if chunk.content)
    assert with_text.content == [block("I", 0, "speculative", "draft")]


@pytest.mark.parametrize("stop", ["STOP", ["STOP"], ["five", "STOP"]])
def test_stop_strings_end_the_answer_and_are_left_out(stop: Any) -> None:
    assert pair(stop=stop).invoke("2 + 3?").text == "It is 5, "
    assert plain("A STOP B", stop=stop).invoke("x").text == "A "


def test_as_many_and_as_long_stop_strings_as_allowed_are_used() -> None:
    stop = [f"{number:02}" * 500 for number in range(63)] + ["STOP"]
    assert plain("A STOP B", stop=stop).invoke("x").text == "A "


@pytest.mark.parametrize("setting", [{"stop": ["x"] * 65}, {"stop": "x" * 1001}, {"seed": -1}, {"seed": 2**64}])
def test_an_error_names_the_bad_setting_of_a_model(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        pair(**setting)


def test_a_call_may_override_settings() -> None:
    model = pair(temperature=0.6, seed=1)
    model.invoke("2 + 3?", temperature=0, max_tokens=9, seed=7)
    request, _ = model.speculative.requests[0]  # type: ignore[attr-defined]
    assert (request.temperature, request.max_tokens, request.seed) == (0, 9, 7)


@pytest.mark.parametrize(
    "setting",
    [
        {"temperature": -1},
        {"temperature": float("inf")},
        {"temperature": float("nan")},
        {"seed": -1},
        {"seed": 2**64},
        {"stop": [""]},
        {"stop": 5},
        {"stop": ["x"] * 65},
        {"stop": "x" * 1001},
        {"stop": "half \ud83d"},
        {"tools": [{"type": "function", "function": {"name": "f", "description": "\ud83d"}}]},
        {"max_tokens": 0},
        {"top_p": 2},
        {"tools": [{"type": "web_search"}]},
        {"response_format": "xml"},
        {"nonsense": 1},
    ],
)
def test_an_error_names_the_bad_setting_of_a_call(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        pair().invoke("2 + 3?", **setting)


def test_settings_of_a_call_are_converted_like_fields() -> None:
    assert pair().invoke("2 + 3?", max_tokens="10").response_metadata["finish_reason"] == "length"


class CountingBackend(Backend):
    """A backend that reports its usage."""

    name = "counting"

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        yield Usage(prompt_tokens=100, cached_tokens=50)
        for _ in range(request.max_tokens):
            yield Piece("on ")
        yield End("length", Usage(completion_tokens=request.max_tokens))


class ReadAheadBackend(Backend):
    """A backend that records, for each piece, by how many pieces it is ahead of its reader.

    Attributes:
        read: Number of pieces that were read.
        distances: Distance to the reader at the start of each piece, in pieces.
    """

    name = "read-ahead"

    def __init__(self) -> None:
        self.read = 0
        self.distances: list[int] = []

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        for written in range(request.max_tokens):
            self.distances.append(written - self.read)
            yield Piece("on ")


async def test_a_thread_is_one_piece_ahead_at_most() -> None:
    """The thread starts to write a piece only after the reader has taken the piece before it."""
    backend = ReadAheadBackend()
    events = backend.acontinue_turn(Turn(()), Request(200))
    async for _ in events:
        backend.read += 1
    assert len(backend.distances) == 200
    assert max(backend.distances) <= 2


def test_usage_reported_in_parts_is_merged() -> None:
    usage = (
        pair(speculative=CountingBackend(), max_tokens=3).invoke("x").response_metadata["speculative_thinking"]["usage"]
    )
    assert usage["speculative"]["prompt_tokens"] == 100
    assert usage["speculative"]["cached_tokens"] == 50


def test_each_request_has_its_own_seed() -> None:
    model = pair(seed=40)
    model.invoke("2 + 3?")
    seeds = [r.seed for r, _ in [*model.speculative.requests, *model.target.requests]]  # type: ignore[attr-defined]
    assert sorted(seeds, key=str) == [40, 41, 42]


def test_max_tokens_ends_the_turn() -> None:
    message = pair(max_tokens=10).invoke("2 + 3?")
    assert message.response_metadata["finish_reason"] == "length"
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] <= 10


def test_the_answer_is_never_empty_while_tokens_are_left() -> None:
    message = pair(speculative=ScriptedBackend(lambda turn: "" if turn.thinking else "Hm.", thinks=True)).invoke("x")
    assert message.text
    assert reasoning(message) == "Hm."


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("speculative", "gpt-5"),
        ("target", None),
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("top_p", 0),
        ("top_k", 0),
        ("answer_by", "both"),
        ("stop", [""]),
    ],
)
def test_a_wrong_setting_fails_at_construction_and_is_named(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        pair(**{field: value})


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "at least one message"),
        ([ChatMessage(content="5", role="critic")], r"got ChatMessage \(chat\)"),
        ([HumanMessage([{"type": "image", "url": "x"}])], "a block of type 'image' in a human message"),
    ],
)
def test_a_message_that_cannot_be_converted_is_named(messages: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pair().invoke(messages)


def test_the_conversation_reaches_the_models_without_old_thoughts() -> None:
    model = plain()
    old = AIMessage([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Five."}, " Yes."])
    seen: list[Any] = []
    model = pair(speculative=ScriptedBackend(lambda turn: seen.append(turn.history) or "ok"))  # type: ignore[func-returns-value]
    model.invoke([SystemMessage("Be brief."), HumanMessage("2 + 3?"), old, ChatMessage(content="Sure?", role="user")])
    assert [(m.role, m.content) for m in seen[0]] == [
        ("system", "Be brief."),
        ("user", "2 + 3?"),
        ("assistant", "Five. Yes."),
        ("user", "Sure?"),
    ]


def test_models_with_different_functions_share_no_cache_entry() -> None:
    def key(compare: Any) -> dict[str, Any]:
        return plain("A", policy=DelegationPolicy.gated(escalation=Agreement(compare=compare)))._identifying_params  # noqa: SLF001

    def made(number: int) -> Any:
        return lambda a, b: a[:number] == b[:number]

    first, second = made(1), made(2)
    assert key(first)["policy"] == key(first)["policy"]
    assert key(first)["policy"] != key(second)["policy"]
    assert key(partial(operator.eq))["policy"] != key(partial(operator.ne))["policy"]
    assert key(made(1))["policy"] != key(made(1))["policy"]  # the first one is gone, and its address may be used again
    assert "functions" not in key(operator.eq)["policy"]
    assert key(operator.eq)["policy"] != key(operator.ne)["policy"]


def test_differently_configured_models_share_no_cache_entry() -> None:
    cache = InMemoryCache()
    texts = {
        plain("A", cache=cache).invoke("x").text,
        plain("B", cache=cache, policy=DelegationPolicy(takeover_tokens=5)).invoke("x").text,
        plain("C", cache=cache, seed=1).invoke("x").text,
        plain("never asked", cache=cache).invoke("x").text,
    }
    assert texts == {"A", "B", "C"}


def test_stop_strings_of_the_model_and_of_the_call_are_told_apart_in_a_cache() -> None:
    cache = InMemoryCache()

    def text(of_model: str | None, of_call: list[str] | None) -> str:
        return plain("A q r B", cache=cache, stop=of_model).invoke("x", stop=of_call).text

    assert text(None, None) == "A q r B"
    assert text("q", None) == "A "
    assert text("r", None) == "A q "
    assert text("q", ["r"]) == "A q "
    assert text(None, ["q"]) == "A "


class FailingBackend(Backend):
    """A backend whose stream breaks off."""

    name = "failing"

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        yield Piece("One. Two", 2)
        msg = "gone"
        raise BackendError(msg)


def test_an_error_carries_the_text_so_far() -> None:
    model = pair(speculative=FailingBackend())
    with pytest.raises(BackendError, match="gone") as caught:
        model.invoke("x")
    assert caught.value.answer == "One. Two"
    with pytest.raises(BackendError) as caught:
        asyncio.run(model.ainvoke("x"))
    assert caught.value.answer == "One. Two"


class EndlessBackend(Backend):
    """A backend whose streams never end, and which counts its open streams."""

    name = "endless"

    def __init__(self) -> None:
        self.open = 0
        self.started = asyncio.Event()

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        self.open += 1
        try:
            while True:
                yield Piece("on ")
        finally:
            self.open -= 1

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        self.open += 1
        self.started.set()
        try:
            yield Piece("on ")
            await asyncio.Event().wait()
        finally:
            self.open -= 1


def test_closing_a_stream_closes_the_backend() -> None:
    backend = EndlessBackend()
    stream = pair(speculative=backend).stream("x")
    next(iter(stream))
    assert backend.open == 1
    stream.close()  # type: ignore[attr-defined]
    assert backend.open == 0


async def test_cancelling_a_task_closes_the_backend() -> None:
    backend = EndlessBackend()
    task = asyncio.create_task(pair(speculative=backend, max_tokens=10**9).ainvoke("x"))
    await backend.started.wait()
    assert backend.open == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.open == 0


def test_a_stream_without_an_end_event_ends_the_turn() -> None:
    class Terse(Backend):
        name = "terse"

        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            yield Piece("Done.")

    assert pair(speculative=Terse()).invoke("x").text == "Done."
    assert asyncio.run(pair(speculative=Terse()).ainvoke("x")).text == "Done."
