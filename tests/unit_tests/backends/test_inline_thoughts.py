"""Thoughts that come in the text of an answer, because no reasoning parser took them out."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import Call, Limitation, Piece
from langchain_spec_thinking.backends.replies.answer_plan import plan_reading
from langchain_spec_thinking.backends.replies.call_formats import HERMES
from langchain_spec_thinking.backends.replies.call_reader import CallReader
from langchain_spec_thinking.backends.replies.thought_formats import THOUGHT_FORMATS, ThoughtFormat, thought_format_of
from langchain_spec_thinking.backends.replies.thought_reader import SHOWN_THOUGHT, ThoughtDelivery, ThoughtReader
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import Tools
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends.test_chat_model import Streaming
from tests.unit_tests.wire import Server, delta, sse

if TYPE_CHECKING:
    import httpx2

HI = (Message("user", "hi"),)
ADD: dict[str, Any] = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {}}}
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
THOUGHT = "<think>\nBonn is meant.\n</think>\n\n"
CITY = '{"city": "Bonn"}'


class Place(BaseModel):
    """A place."""

    city: str


def cut(written: str, size: int) -> list[str]:
    return [written[at : at + size] for at in range(0, len(written), size)]


def server(written: str, size: int, **settings: Any) -> Any:
    """Return a backend whose server leaves thoughts in the content, in pieces of `size` characters."""

    def answer() -> httpx2.Response:
        return sse(*(delta(content=piece) for piece in cut(written, size)), delta("stop"))

    return Server(answer).backend(tokenizer=None, continuation="chat_flag", **settings)


BACKENDS = pytest.mark.parametrize(
    "connect",
    [
        pytest.param(lambda text: server(text, 1), id="a server, letter by letter"),
        pytest.param(lambda text: server(text, 999), id="a server, in one piece"),
        pytest.param(lambda text: server(text, 7, thinking=True), id="a server whose model thinks"),
        pytest.param(lambda text: ChatModelBackend(Streaming(says=text)), id="a chat model"),
        pytest.param(lambda text: ChatModelBackend(Streaming(says=text), thinking=True), id="a chat model that thinks"),
        pytest.param(ScriptedBackend, id="a script"),
        pytest.param(lambda text: ScriptedBackend(text, thinks=True), id="a script that thinks"),
    ],
)
BOTH = pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])


async def asked(model: Any, *, asynchronously: bool) -> Any:
    return await model.ainvoke("Where?") if asynchronously else model.invoke("Where?")


def reasoning(message: Any) -> str:
    return "".join(block["reasoning"] for block in message.content_blocks if block["type"] == "reasoning")


@BOTH
@BACKENDS
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
async def test_a_form_after_an_inline_thought_is_parsed(connect: Any, method: Any, asynchronously: bool) -> None:
    pair = ChatSpeculativeThinking(speculative=connect(THOUGHT + CITY), target=ScriptedBackend())
    form = pair.with_structured_output(Place, method=method, include_raw=True)
    found = await asked(form, asynchronously=asynchronously)
    assert (found["parsed"], found["parsing_error"]) == (Place(city="Bonn"), None)
    assert (found["raw"].text.strip(), reasoning(found["raw"]).strip()) == (CITY, "Bonn is meant.")


@BOTH
@BACKENDS
@pytest.mark.parametrize("call", [CALL, '{"name": "add", "arguments": {"a": 1}}'], ids=["marked", "without marks"])
async def test_a_call_after_an_inline_thought_is_read(connect: Any, call: str, asynchronously: bool) -> None:
    pair = ChatSpeculativeThinking(speculative=connect(THOUGHT + call), target=ScriptedBackend())
    message = await asked(pair.bind_tools([ADD]), asynchronously=asynchronously)
    assert [(made["name"], made["args"]) for made in message.tool_calls] == [("add", {"a": 1})]
    assert (message.text.strip(), reasoning(message).strip()) == ("", "Bonn is meant.")


@pytest.mark.parametrize("think_before_tools", [False, True])
def test_a_call_inside_a_thought_is_not_made(think_before_tools: bool) -> None:
    script = ScriptedBackend(f"<think>\nI could write {CALL} now.\n</think>\n\nI will not.")
    pair = ChatSpeculativeThinking(speculative=script, target=ScriptedBackend(), think_before_tools=think_before_tools)
    message = pair.bind_tools([ADD]).invoke("Where?")
    assert (message.tool_calls, message.text, CALL in reasoning(message)) == ([], "I will not.", True)


def test_streamed_and_whole_answers_are_the_same() -> None:
    model = ChatSpeculativeThinking(speculative=server(THOUGHT + CALL, 3), target=ScriptedBackend()).bind_tools([ADD])
    chunks: Any = list(model.stream("Where?"))
    whole: Any = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    message = model.invoke("Where?")
    assert (whole.content, whole.text) == (message.content, message.text)
    assert [c["args"] for c in whole.tool_calls] == [c["args"] for c in message.tool_calls]


def test_one_request_brings_the_thought_and_the_form() -> None:
    small = ScriptedBackend(THOUGHT + CITY)
    message = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend()).invoke(
        "Where?", response_format={"type": "json_object"}
    )
    assert len(small.requests) == 1
    report = message.response_metadata["speculative_thinking"]
    assert "".join(s["channel"][0] for s in report["segments"]) == "ta"
    assert report["degraded"] == []


@BOTH
@pytest.mark.parametrize("connect", [case for case in BACKENDS.args[1] if "thinks" not in case.id])
@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        pytest.param({"response_format": {"type": "json_object"}}, CITY, id="a form"),
        pytest.param({}, "In Bonn.", id="text"),
    ],
)
async def test_the_second_author_of_an_answer_may_begin_with_an_inline_thought(
    connect: Any, settings: dict[str, Any], answer: str, asynchronously: bool
) -> None:
    pair = ChatSpeculativeThinking(speculative=ScriptedBackend(""), target=connect(THOUGHT + answer))
    message = await asked(pair.bind(**settings), asynchronously=asynchronously)
    assert message.text.strip() == answer
    assert reasoning(message).strip() == "Bonn is meant."


def test_one_request_to_the_second_author_brings_the_thought_and_the_form() -> None:
    small, large = ScriptedBackend(" "), ScriptedBackend(THOUGHT + CITY)
    pair = ChatSpeculativeThinking(speculative=small, target=large)
    message = pair.invoke("Where?", response_format={"type": "json_object"})
    assert (message.text.strip(), reasoning(message).strip()) == (CITY, "Bonn is meant.")
    assert (len(small.requests), len(large.requests)) == (1, 1)


def test_reasoning_in_its_own_field_is_kept_if_the_turn_has_no_other_thought() -> None:
    stream = sse(delta(reasoning_content="Bonn is meant."), delta("stop", content=CITY))
    small = Server(stream).backend(tokenizer=None, continuation="chat_flag")
    pair = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend())
    message = pair.invoke("Where?", response_format={"type": "json_object"})
    assert (message.text, reasoning(message).strip()) == (CITY, "Bonn is meant.")


# -- the reader


def turn(*, thinks: bool = False, closed: bool = False, **settings: Any) -> Turn:
    half = Turn(HI, thinks=thinks, **settings)
    if closed:
        half.append("speculative", "Hm.\n")
        half.closing = "</think>\n\n"
    return half


def read(half: Turn, pieces: list[str], **settings: Any) -> tuple[str, str, list[str]]:
    """Return the thought, the answer and the notes that a reader finds."""
    if "known" in settings:
        settings["delivery"] = ThoughtDelivery(**settings.pop("known"))
    reader = ThoughtReader(half, **settings)
    parts = [part for piece in pieces for part in reader.feed(piece)] + list(reader.rest())
    assert not reader.holds
    thought = "".join(part.text for part in parts if part.thought)
    return thought, "".join(part.text for part in parts if not part.thought), [p.note for p in parts if p.note]


def written(answer: str) -> Turn:
    half = turn()
    half.append("speculative", answer)
    return half


def says(**delivery: Any) -> Any:
    """Return the settings of a reader for what is known about the model. Each reader gets its own."""
    return {"known": delivery}


def learned(**delivery: Any) -> Any:
    return says(opened_by_prompt=True, **delivery)


JSON_TURN: dict[str, Any] = {"schema": {}}
CODE = "It is:\n```\n</think>\n```\nUse it.\n</think>\n"
ELEMENTS = "<thought>A</thought> <act>B</act>"
CASES = [
    pytest.param(turn(), {}, "Five.", ("", "Five.", []), id="no thought"),
    pytest.param(turn(), {}, "<think>A</think>B", ("<think>A</think>", "B", []), id="a thought"),
    pytest.param(turn(), {}, " \n<think>A</think>\n\nB", ("<think>A</think>", "\n\nB", []), id="white space before it"),
    pytest.param(turn(), {}, "<think>A", ("<think>A", "", []), id="a thought that is cut off"),
    pytest.param(turn(), {}, "<thin", ("", "<thin", []), id="half a marker"),
    pytest.param(turn(), {}, "A<think>B</think>", ("", "A<think>B</think>", []), id="a marker inside the answer"),
    pytest.param(turn(), {}, " " * 70 + "<think>", ("", " " * 70 + "<think>", []), id="much white space"),
    pytest.param(turn(), {}, "[THINK]A[/THINK]B", ("<think>A</think>", "B", []), id="Magistral"),
    pytest.param(turn(), {}, "[THINK]A</think>B", ("<think>A</think>", "B", []), id="the common closing marker"),
    pytest.param(turn(), {}, "[THINK]A]</thinB", ("<think>A]</thinB", "", []), id="halves of markers"),
    pytest.param(turn(), {}, "◁think▷A◁/think▷B", ("<think>A</think>", "B", []), id="Kimi"),
    pytest.param(turn(), {}, "A\n</think>\n\nB", ("", "A\n\n\nB", [SHOWN_THOUGHT]), id="a lone closing marker"),
    pytest.param(turn(), {}, "A.</think>\n\nB", ("", "A.\n\nB", [SHOWN_THOUGHT]), id="one before a blank line"),
    pytest.param(turn(), {}, "Write </think>\n\nB", ("", "Write </think>\n\nB", []), id="the end of a lead-in"),
    pytest.param(turn(), {}, "It ends with </think>\nB", ("", "It ends with </think>\nB", []), id="a line about it"),
    pytest.param(turn(), {}, "It ends with </think>", ("", "It ends with </think>", []), id="an answer about it"),
    pytest.param(turn(), {}, CODE, ("", CODE, []), id="one in a block of code"),
    pytest.param(written("The tag is "), {}, "</think>, B", ("", "</think>, B", []), id="a half answer about it"),
    pytest.param(written("It is:\n"), {}, "</think>\nB", ("", "\nB", [SHOWN_THOUGHT]), id="one in the next request"),
    pytest.param(written("```\n"), {}, "</think>\n```", ("", "</think>\n```", []), id="code of two requests"),
    pytest.param(turn(), says(thinking=False), "A\n</think>\n\nB", ("", "A\n</think>\n\nB", []), id="no thoughts"),
    pytest.param(turn(), learned(), "A\n</think>\n\nB", ("<think>A\n</think>", "\n\nB", []), id="one was seen"),
    pytest.param(turn(), learned(), "Paris.", ("", "Paris.", []), id="one was seen, but this is an answer"),
    pytest.param(turn(), learned(), "It ends with </think>", ("", "It ends with </think>", []), id="and is about it"),
    pytest.param(turn(), learned(), CODE, ("", CODE, []), id="and has it in code"),
    pytest.param(
        turn(), learned(thinking=False), "A\n</think>\nB", ("", "A\n</think>\nB", []), id="one was seen, no thoughts"
    ),
    pytest.param(
        turn(),
        learned(in_field=True),
        "A\n</think>\nB",
        ("", "A\n\nB", [SHOWN_THOUGHT]),
        id="one was seen, and a field",
    ),
    pytest.param(turn(), {}, ELEMENTS, ("", ELEMENTS, []), id="an element of the answer"),
    pytest.param(turn(), says(thinking=True), ELEMENTS, ("<think>A</think>", " <act>B</act>", []), id="EXAONE"),
    pytest.param(turn(), {}, "`</think>` ends it", ("", "`</think>` ends it", []), id="a quoted closing marker"),
    pytest.param(turn(), {"opened": True}, "A</think>B", ("<think>A</think>", "B", []), id="opened by the prompt"),
    pytest.param(turn(), {"opened": True}, "<think>A</think>B", ("<think>A</think>", "B", []), id="opened twice"),
    pytest.param(turn(thinks=True), {}, "A</think>B", ("A</think>", "B", []), id="an expected thought"),
    pytest.param(
        turn(thinks=True), {}, "<think>A</think>B", ("<think>A</think>", "B", []), id="an expected thought, marked"
    ),
    pytest.param(turn(**JSON_TURN), {}, f"A\n</think>\n{CITY}", ("<think>A\n</think>", f"\n{CITY}", []), id="JSON"),
    pytest.param(turn(**JSON_TURN), {}, f"Here: {CITY}", ("", f"Here: {CITY}", []), id="words before JSON"),
    pytest.param(turn(**JSON_TURN), {}, CITY, ("", CITY, []), id="only JSON"),
    pytest.param(
        turn(thinks=True, closed=True), {"drops": True}, "<think>A</think>B", ("", "B", []), id="a second thought"
    ),
    pytest.param(turn(thinks=True, closed=True), {"drops": True}, "B", ("", "B", []), id="no second thought"),
    pytest.param(
        turn(thinks=True, closed=True),
        {"drops": True, "opened": True},
        "A</think>B",
        ("", "B", []),
        id="a second one, opened",
    ),
    pytest.param(
        turn(thinks=True, closed=True),
        {"drops": True, "opened": True},
        "Five.",
        ("", "Five.", []),
        id="opened, but none came",
    ),
    pytest.param(
        turn(thinks=True, closed=True, **JSON_TURN),
        {"drops": True},
        f"A</think>{CITY}",
        ("", CITY, []),
        id="before JSON",
    ),
    pytest.param(turn(thinks=True, closed=True), {}, "<think>B", ("", "<think>B", []), id="the answer after a thought"),
]


@pytest.mark.parametrize(("half", "settings", "written", "expected"), CASES)
def test_a_reader_splits_a_reply(half: Turn, settings: Any, written: str, expected: Any) -> None:
    assert read(half, [written], **settings) == expected
    assert read(half, list(written), **settings) == expected


TEXTS = st.lists(
    st.sampled_from(
        [mark for form in THOUGHT_FORMATS.values() for mark in (form.opens, form.closes)]
        + ["<", "<think", "</", "[", "◁", "\n", " ", " " * 40, "a", "{", '"', "<|", "`"]
    ),
    max_size=9,
).map("".join)


@given(st.data(), st.sampled_from([case.values for case in CASES]), TEXTS)
def test_the_cut_of_a_text_changes_nothing(data: st.DataObject, case: tuple[Any, ...], written: str) -> None:
    half, settings = case[0], case[1]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(written)))) | {0, len(written)})
    pieces = [written[a:b] for a, b in pairwise(cuts)]
    assert read(half, pieces, **settings) == read(half, [written], **settings)


MARKS = [mark for form in THOUGHT_FORMATS.values() for mark in (*form.marks, form.opens, form.closes)]


def without_marks(text: str) -> str:
    """Remove marks, parts of marks, and white space, of which a reader may remove some."""
    longest_first = sorted(MARKS, key=len, reverse=True)
    return re.sub("|".join([*map(re.escape, longest_first), r"\s+"]), "", text)


@given(TEXTS)
def test_no_text_is_lost_if_no_thought_is_dropped(written: str) -> None:
    thought, answer, _ = read(turn(), [written])
    assert without_marks(thought + answer) == without_marks(written)


def test_a_lone_closing_marker_is_expected_from_then_on() -> None:
    delivery = ThoughtDelivery()
    assert read(turn(), ["A\n</think>\n\nB"], delivery=delivery)[2] == [SHOWN_THOUGHT]
    assert read(turn(), ["A\n</think>\n\nB"], delivery=delivery) == ("<think>A\n</think>", "\n\nB", [])
    assert read(turn(), ["A\n</think>\n\nB"], delivery=delivery) == ("<think>A\n</think>", "\n\nB", [])


def test_a_reply_without_a_closing_marker_ends_this() -> None:
    delivery = ThoughtDelivery()
    read(turn(), ["A\n</think>\n\nB"], delivery=delivery)
    assert read(turn(), ["Paris."], delivery=delivery) == ("", "Paris.", [])
    reader = ThoughtReader(turn(), delivery=delivery)
    assert "".join(part.text for part in reader.feed("Paris.")) == "Paris."  # at once


@pytest.mark.parametrize("thinking", [None, False])
@pytest.mark.parametrize("says", ["It is closed by </think>", "It is closed by\n</think>\nand nothing else."])
def test_one_answer_about_the_closing_tag_changes_no_other_turn(says: str, thinking: bool | None) -> None:
    replies = [says, "Paris is the capital of France."]
    small = Server(*(sse(delta(content=text), delta("stop")) for text in replies))
    backend = small.backend(tokenizer=None, continuation="chat_flag", thinking=thinking)
    pair = ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend())
    first, second = pair.invoke("Which tag?"), pair.invoke("Which city?")
    if thinking is False:
        assert first.text == says
    assert (second.text, reasoning(second), len(small.requests)) == (replies[1], "", 2)
    assert second.response_metadata["speculative_thinking"]["degraded"] == []


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}, id="another field"),
        pytest.param({"thinking": False}, id="the user says no"),
    ],
)
def test_what_one_use_of_a_hybrid_model_shows_does_not_hold_for_another_use(settings: Any) -> None:
    answer = sse(delta(content="Bonn."), delta("stop"))
    reasoned = sse(delta(reasoning_content="Hm."), delta(content="Five."), delta("stop"))
    unmarked = sse(delta(content="A sum.\n</think>\n\nFour."), delta("stop"))
    hybrid = Server(unmarked, reasoned, answer)
    thinking = hybrid.backend(tokenizer=None, continuation="chat_flag")
    plain = hybrid.backend(tokenizer=None, continuation="chat_flag", **settings)
    for backend in (thinking, thinking, plain):
        pair = ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend())
        message = pair.invoke("Where?")
    assert (thinking.thinks, plain.thinks) == (True, False)
    assert (message.text, reasoning(message)) == ("Bonn.", "")
    assert len(hybrid.requests) == 3


def test_the_second_turn_shows_a_thought_that_nothing_marked_in_the_first_turn() -> None:
    pair = ChatSpeculativeThinking(speculative=server("A sum.\n</think>\n\nFour.", 4), target=ScriptedBackend())
    first, second = pair.invoke("2 + 2?"), pair.invoke("2 + 2?")
    [said] = first.response_metadata["speculative_thinking"]["degraded"]
    assert said == f"big at http://server.test/v1: {SHOWN_THOUGHT}."
    assert "</think>" not in first.text
    assert (second.text, reasoning(second).strip()) == ("Four.", "A sum.")
    assert second.response_metadata["speculative_thinking"]["degraded"] == []


@pytest.mark.parametrize("form", THOUGHT_FORMATS.values(), ids=THOUGHT_FORMATS)
def test_a_chat_template_leads_to_its_format(form: ThoughtFormat) -> None:
    assert thought_format_of(f"{{{{ '{form.opens}' }}}}") is form
    assert thought_format_of(f"{{{{ '{form.closes}' }}}}") is form
    assert thought_format_of("{{ messages }}") is None


def test_log_probabilities_belong_to_the_first_token_of_a_piece() -> None:
    half = turn(thinks=True)
    reader = CallReader(plan_reading(half, HERMES), ThoughtReader(half))
    top: dict[str, Any] = {"x": (-1.0,), "<": (-2.0,), "b": (-3.0,), "c": (-4.0,)}
    events: list[Any] = [event for piece in "x<bc" for event in reader.read(piece, 1, top[piece])]
    assert events == [Piece("x", 1, (-1.0,)), Piece("<b", 2, (-2.0,)), Piece("c", 1, (-4.0,))]


def test_tokens_of_markers_are_counted_once() -> None:
    half = Turn(HI, tools=Tools((ADD,)))
    reader = CallReader(plan_reading(half, HERMES), ThoughtReader(half), "small")
    written = f"{THOUGHT}{CALL}A"
    events: list[Any] = [event for piece in written for event in reader.read(piece, 1)] + [*reader.rest()]
    counted = sum(event.tokens or 0 for event in events if isinstance(event, (Piece, Call)))
    assert counted == len(written)
    assert [json.loads(event.call.arguments) for event in events if isinstance(event, Call)] == [{"a": 1}]
    assert not [event for event in events if isinstance(event, Limitation)]
