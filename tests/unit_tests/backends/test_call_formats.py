"""Tool calls in models' text, split in any way."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk, ToolCallChunk

from langchain_spec_thinking.backends.replies.answer_plan import plan_answer
from langchain_spec_thinking.backends.replies.call_formats import CALL_FORMATS, HERMES, format_of
from langchain_spec_thinking.tools import ToolCall, Tools
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.replies.call_format import AnswerPlan, CallFormat

MISTRAL, LLAMA = CALL_FORMATS["mistral"], CALL_FORMATS["llama"]
ADD = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {}}}
TOOLS = (ADD, {"type": "function", "function": {"name": "mul", "parameters": {}}})
A = '{"name": "add", "arguments": {"a": 1}}'
P = '{"name": "add", "parameters": {"a": 1}}'
CALL = ("add", '{"a": 1}')


def plan(form: CallFormat, choice: str = "auto", tools: tuple[Any, ...] = TOOLS) -> AnswerPlan:
    return plan_answer(Turn((Message("user", "2 + 3?"),), tools=Tools(tools, choice)), form)


def read(planned: AnswerPlan, pieces: list[str]) -> list[Any]:
    """Return the joined text and the calls, in order. The calls have no ids."""
    parser = planned.parser()
    if parser is None:
        return ["".join(pieces)]
    parts = [part for piece in pieces for part in parser.feed(piece)] + list(parser.rest())
    parsed: list[Any] = []
    for part in parts:
        if isinstance(part, ToolCall):
            assert part.id
            parsed.append((part.name, part.arguments))
        elif parsed and isinstance(parsed[-1], str):
            parsed[-1] += part
        else:
            parsed.append(part)
    return parsed


CASES = [
    pytest.param(HERMES, f"<tool_call>\n{A}\n</tool_call>", [CALL], id="one call"),
    pytest.param(HERMES, f"Let me add.\n\n<tool_call>{A}</tool_call>\n", ["Let me add.", CALL], id="text before it"),
    pytest.param(HERMES, 2 * f"<tool_call>\n{A}\n</tool_call>\n", [CALL, CALL], id="two calls"),
    pytest.param(HERMES, "2 < 3 <tool> <tool_ca", ["2 < 3 <tool> <tool_ca"], id="no call"),
    pytest.param(HERMES, "Five.\n", ["Five.\n"], id="white space at the end"),
    pytest.param(HERMES, "  Five. \n\n Six.", ["  Five. \n\n Six."], id="white space inside"),
    pytest.param(HERMES, f"<tool_call>{A}", [CALL], id="not closed, but whole"),
    pytest.param(HERMES, '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>', [CALL], id="a string"),
    pytest.param(HERMES, '<tool_call>{"name": "now"}</tool_call>', [("now", "{}")], id="no arguments"),
    pytest.param(HERMES, f"<tool_call>{A}</tool_call> So.", [CALL, " So."], id="text after it"),
    pytest.param(MISTRAL, f"[TOOL_CALLS][{A}, {A}]", [CALL, CALL], id="Mistral: a list"),
    pytest.param(MISTRAL, f"I add.[TOOL_CALLS] [{A}]", ["I add.", CALL], id="Mistral: text before it"),
    pytest.param(MISTRAL, "[TOOL_", ["[TOOL_"], id="Mistral: no call"),
    pytest.param(LLAMA, P, [CALL], id="Llama"),
    pytest.param(LLAMA, f"<|python_tag|>{P}; {P}", [CALL, CALL], id="Llama: two, marked"),
    pytest.param(LLAMA, 'Five {"name": "add"}', ['Five {"name": "add"}'], id="Llama: no call"),
    pytest.param(LLAMA, "<|py five", ["<|py five"], id="Llama: no mark"),
    pytest.param(LLAMA, "", [], id="nothing"),
    pytest.param(HERMES, A, [CALL], id="no mark"),
    pytest.param(HERMES, f"```json\n{A}\n```", [CALL], id="in a code block"),
    pytest.param(HERMES, f"```json\n{A}\n```\n```\n{A}\n```", [CALL, CALL], id="in two code blocks"),
    pytest.param(HERMES, P, [CALL], id="parameters"),
    pytest.param(HERMES, '{"name": "Ann", "arguments": {}}', ['{"name": "Ann", "arguments": {}}'], id="no tool"),
    pytest.param(HERMES, '{"name": "add"}', ['{"name": "add"}'], id="no arguments, no call"),
    pytest.param(HERMES, '{"a": 1}', ['{"a": 1}'], id="other JSON"),
    pytest.param(HERMES, '{"name": "ad', ['{"name": "ad'], id="half of it"),
    pytest.param(HERMES, "```python\nadd(1)\n```", ["```python\nadd(1)\n```"], id="code"),
    pytest.param(HERMES, "{} ", ["{} "], id="empty JSON"),
]


@pytest.mark.parametrize(("form", "text", "expected"), CASES)
def test_calls_are_read_from_pieces_of_any_size(form: CallFormat, text: str, expected: list[Any]) -> None:
    assert read(plan(form), [text]) == expected
    assert read(plan(form), list(text)) == expected


@given(st.data(), st.sampled_from([case.values for case in CASES]))
def test_any_split_gives_the_same_calls(data: st.DataObject, case: tuple[Any, ...]) -> None:
    form, text, expected = case
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})
    assert read(plan(form), [text[a:b] for a, b in pairwise(cuts)]) == expected


@pytest.mark.parametrize(
    ("form", "text", "name"),
    [
        (HERMES, '<tool_call>{"name": "add", "arguments": {"a": 1</tool_call>', "add"),
        (HERMES, '<tool_call>{"name": "add", "arguments": {"a": 1', "add"),
        (HERMES, '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1"}</tool_call>', "add"),
        (HERMES, '<tool_call>{"name": "add", "arguments": [1, 2]}</tool_call>', "add"),
        (HERMES, "<tool_call>add(1)</tool_call>", ""),
        (HERMES, '<tool_call>{"tool": 1}</tool_call>', ""),
        (HERMES, "<tool_call>7</tool_call>", ""),
        (MISTRAL, '[TOOL_CALLS][{"name": "add", "arguments": {', "add"),
        (LLAMA, '{"name": "add", "parameters": {"a": ', "add"),
    ],
)
def test_text_that_is_no_valid_call_becomes_an_invalid_call(form: CallFormat, text: str, name: str) -> None:
    """LangChain repairs JSON that was cut off. Even LangChain must not take this text for a call."""
    [(found, arguments)] = read(plan(form), list(text))
    assert found == name
    chunk = ToolCallChunk(name=found, args=arguments, id="1", index=0, type="tool_call_chunk")
    message = AIMessageChunk(content="", tool_call_chunks=[chunk])
    assert not message.tool_calls
    assert len(message.invalid_tool_calls) == 1


@pytest.mark.parametrize(
    ("form", "choice", "rest", "expected"),
    [
        (HERMES, "add", '{"a": 1}}\n</tool_call>', [CALL]),
        (HERMES, "required", '{"name": "add", "arguments": {"a": 1}}\n</tool_call>', [CALL]),
        (MISTRAL, "required", '{"name": "add", "arguments": {"a": 1}}]', [CALL]),
        (MISTRAL, "add", '{"a": 1}}]', [CALL]),
        (LLAMA, "add", '{"a": 1}}', [CALL]),
        (LLAMA, "required", 'add", "parameters": {"a": 1}}', [CALL]),
        (HERMES, "auto", "Five.", ["Five."]),
        (HERMES, "none", "Five.", ["Five."]),
    ],
)
def test_the_beginning_of_a_required_call_is_given_to_the_model(
    form: CallFormat, choice: str, rest: str, expected: list[Any]
) -> None:
    planned = plan(form, choice)
    assert bool(planned.prefix) == (choice not in {"auto", "none"})
    assert read(planned, list(rest)) == expected


@pytest.mark.parametrize(
    ("form", "choice", "written", "ends"),
    [
        (HERMES, "add", '{"a": 1}', ["", "}", "}</tool_call>"]),
        (MISTRAL, "add", '{"a": 1}', ["", "}", "}]"]),
        (LLAMA, "add", '{"a": 1}', ["", "}"]),
        (HERMES, "required", '{"name": "add", "arguments": {"a": 1}}', ["", "</tool_call>"]),
        (MISTRAL, "required", '{"name": "add", "arguments": {"a": 1}}', ["", "]"]),
        (LLAMA, "required", 'add", "parameters": {"a": 1}', ["", "}"]),
    ],
)
def test_a_missing_call_suffix_is_added(form: CallFormat, choice: str, written: str, ends: list[str]) -> None:
    """A model that is constrained to a schema writes only the JSON. Other models may write part of the ending."""
    for end in ends:
        assert read(plan(form, choice), [written + end]) == [CALL], end


@pytest.mark.parametrize(
    ("template", "form"),
    [("{{ '<tool_call>' }}", HERMES), ("[TOOL_CALLS]", MISTRAL), ("<|python_tag|>", LLAMA), ("{{ x }}", HERMES)],
)
def test_the_format_is_detected_from_the_template(template: str, form: CallFormat) -> None:
    assert format_of(template) is form


@given(st.lists(st.tuples(st.text(min_size=1), st.dictionaries(st.text(), st.integers() | st.text())), max_size=3))
def test_written_calls_can_be_parsed(made: list[tuple[str, dict[str, Any]]]) -> None:
    written = HERMES.write([ToolCall("1", name, json.dumps(arguments)) for name, arguments in made])
    assume("</tool_call>" not in written.replace("\n</tool_call>", ""))
    assert [(name, json.loads(arguments)) for name, arguments in read(plan(HERMES), list(written))] == made
