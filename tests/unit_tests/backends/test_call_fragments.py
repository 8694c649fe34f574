"""Servers stream a call in fragments that they number in different ways. The same calls come out of each way."""

from __future__ import annotations

import itertools
import json
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, ToolCallChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking
from langchain_spec_thinking.backends.replies.tool_call_deltas import ToolCallDeltas
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends.test_chat_model import Plain
from tests.unit_tests.wire import Server, delta, sse

if TYPE_CHECKING:
    from collections.abc import Iterator

BOTH = pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return city


def clock() -> str:
    """Tell the time."""
    return "noon"


@dataclass(frozen=True)
class Fragment:
    """A fragment of a call. None: the field is missing."""

    index: int | None = None
    id: str | None = None
    name: str | None = None
    arguments: Any = None

    def on_wire(self) -> dict[str, Any]:
        fields = {"index": self.index, "id": self.id}
        function = {"name": self.name, "arguments": self.arguments}
        given = {name: value for name, value in fields.items() if value is not None}
        return {**given, "function": {name: value for name, value in function.items() if value is not None}}


BONN, ROME = '{"city": "Bonn"}', '{"city": "Rome"}'
CALLS = [("weather", {"city": "Bonn"}), ("weather", {"city": "Rome"})]
F = Fragment
CASES: dict[str, tuple[list[Fragment], list[Any]]] = {
    "each call has its index": ([F(0, "a", "weather", BONN), F(1, "b", "weather", ROME)], CALLS),
    "two ids on one index": ([F(0, "a", "weather", BONN), F(0, "b", "weather", ROME)], CALLS),
    "two ids on one index, in pieces": (
        [F(0, "a", "weather", ""), F(0, None, None, BONN), F(0, "b", "weather", ""), F(0, None, None, ROME)],
        CALLS,
    ),
    "the id comes before the name": (
        [F(0, "a"), F(0, None, "weather", BONN), F(0, "b"), F(0, None, "weather", ROME)],
        CALLS,
    ),
    "two whole calls on one index without ids": ([F(0, "", "weather", BONN), F(0, "", "weather", ROME)], CALLS),
    "no index": ([F(None, "a", "weather", '{"city"'), F(None, None, None, ': "Bonn"}')], CALLS[:1]),
    "no index, two calls": (
        [F(None, "a", "weather"), F(None, None, None, BONN), F(None, "b", "weather"), F(None, None, None, ROME)],
        CALLS,
    ),
    "no index, the id in each fragment": (
        [F(None, "a", "weather", '{"city"'), F(None, "b", "weather", ROME), F(None, "a", None, ': "Bonn"}')],
        CALLS,
    ),
    "neither index nor id, whole calls": ([F(None, None, "weather", BONN), F(None, None, "weather", ROME)], CALLS),
    "neither index nor id, two tools without arguments": (
        [F(None, None, "clock", ""), F(None, None, "weather", ""), F(None, None, None, BONN)],
        [("clock", {}), CALLS[0]],
    ),
    "one index and no ids, another tool after whole arguments": (
        [F(0, None, "clock", "{}"), F(0, None, "weather", ""), F(0, None, None, BONN)],
        [("clock", {}), CALLS[0]],
    ),
    "the name in each fragment": (
        [F(0, "a", "weather", '{"city"'), F(0, "a", "weather", ': "Bonn"}'), F(0, "a", "weather", "")],
        CALLS[:1],
    ),
    "the name in each fragment, before the arguments": (
        [F(0, "a", "weather", ""), F(0, None, "weather", ""), F(0, None, "weather", BONN)],
        CALLS[:1],
    ),
    "the name in pieces": ([F(0, "a", "wea", ""), F(0, None, "ther", ""), F(0, None, None, BONN)], CALLS[:1]),
    "the name after the arguments": ([F(0, "a", None, BONN), F(0, None, "weather", "")], CALLS[:1]),
    "another id with each piece of the arguments": (
        [F(0, "a", "weather", ""), F(0, "b", None, '{"city"'), F(0, "c", None, ': "Bonn"}'), F(0, "d", None, "")],
        CALLS[:1],
    ),
    "one id for both calls": ([F(0, "weather", "weather", BONN), F(1, "weather", "weather", ROME)], CALLS),
    "arguments as an object": ([F(0, "a", "weather", {"city": "Bonn"}), F(1, "b", "weather", {"city": "Rome"})], CALLS),
    "no arguments, as an object": ([F(0, "a", "clock", {})], [("clock", {})]),
}


class Fragments(Plain):
    """A chat model that streams the fragments of calls."""

    fragments: list[Any]

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        for one in self.fragments:
            dumped = json.dumps(one.arguments) if isinstance(one.arguments, dict) else one.arguments
            chunk = ToolCallChunk(name=one.name, args=dumped, id=one.id, index=one.index, type="tool_call_chunk")
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[chunk]))
        end = AIMessageChunk(content="", response_metadata={"finish_reason": "tool_calls"})
        yield ChatGenerationChunk(message=end)

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        return self.bind()


async def calls_of(small: Any, *, asynchronously: bool) -> list[Any]:
    pair = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend()).bind_tools([weather, clock])
    message: Any = await pair.ainvoke("x") if asynchronously else pair.invoke("x")
    ids = [call["id"] for call in message.tool_calls]
    assert all(ids)
    assert len({*ids}) == len(ids)
    assert not message.invalid_tool_calls
    return [(call["name"], call["args"]) for call in message.tool_calls]


@BOTH
@pytest.mark.parametrize(("fragments", "expected"), CASES.values(), ids=CASES)
async def test_fragments_from_a_server_make_the_calls_that_were_meant(
    fragments: list[Fragment], expected: list[Any], asynchronously: bool
) -> None:
    chunks = [delta(tool_calls=[one.on_wire()]) for one in fragments]
    small = Server(sse(*chunks, delta("tool_calls"))).backend(tokenizer=None, continuation="chat_flag")
    assert await calls_of(small, asynchronously=asynchronously) == expected


@BOTH
@pytest.mark.parametrize(("fragments", "expected"), CASES.values(), ids=CASES)
async def test_fragments_from_a_chat_model_make_the_calls_that_were_meant(
    fragments: list[Fragment], expected: list[Any], asynchronously: bool
) -> None:
    small = ChatModelBackend(Fragments(fragments=fragments))
    assert await calls_of(small, asynchronously=asynchronously) == expected


@BOTH
async def test_whole_calls_of_a_chat_model_stay_apart_without_ids(asynchronously: bool) -> None:
    class Whole(Plain):
        def _generate(self, *_: Any, **__: Any) -> ChatResult:
            calls: Any = [{"name": "clock", "args": {}, "id": None}, {"name": "clock", "args": {}, "id": None}]
            return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=calls))])

        def bind_tools(self, *_: Any, **__: Any) -> Any:
            return self.bind()

    assert await calls_of(Whole(), asynchronously=asynchronously) == [("clock", {})] * 2


def test_a_name_that_is_repeated_is_not_counted_as_text() -> None:
    """Otherwise the token limit would cut the call."""
    deltas = ToolCallDeltas()
    new = [deltas.add(0, "a", "weather", piece) for piece in ("", '{"city"', ': "Bonn"}')]
    assert "".join(new) == "weather" + BONN


CITIES = st.lists(st.text('ab{}"\\[],: ', max_size=8), min_size=1, max_size=4)
STYLES = ["index and id first", "index in each", "one index", "id first", "id in each", "name in each"]


def in_style(style: str, number: int, pieces: list[str]) -> Iterator[Fragment]:
    numbered, each_id = style.startswith("index") or style == "name in each", style == "id in each"
    index = 0 if style == "one index" else number if numbered else None
    for place, piece in enumerate(pieces):
        first = place == 0
        yield Fragment(
            index, f"c{number}" if first or each_id else None, "weather" if first or "name" in style else None, piece
        )


@given(cities=CITIES, style=st.sampled_from(STYLES), data=st.data())
def test_arguments_may_be_cut_anywhere(cities: list[str], style: str, data: st.DataObject) -> None:
    deltas = ToolCallDeltas()
    for number, city in enumerate(cities):
        arguments = json.dumps({"city": city})
        cuts = data.draw(st.lists(st.integers(0, len(arguments)), max_size=4).map(sorted))
        places = [0, *cuts, len(arguments)]
        for one in in_style(style, number, [arguments[a:b] for a, b in itertools.pairwise(places)]):
            deltas.add(*astuple(one))
    found = [(call.id, call.name, json.loads(call.arguments)) for call in deltas.finished_calls()]
    assert found == [(f"c{number}", "weather", {"city": city}) for number, city in enumerate(cities)]
