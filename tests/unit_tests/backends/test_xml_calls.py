"""Calls in the format of Qwen3-Coder: one tag for each argument, and no quotes around strings."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from langchain_spec_thinking.backends.base import Call, Piece, Request
from langchain_spec_thinking.backends.replies.answer_plan import plan_answer
from langchain_spec_thinking.backends.replies.argument_types import read_argument
from langchain_spec_thinking.backends.replies.call_formats import CALL_FORMATS
from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
from langchain_spec_thinking.backends.replies.continuation import Raw
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import ToolCall, Tools
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends import tiny

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.replies.call_format import AnswerPlan

QWEN_XML = CALL_FORMATS["qwen_xml"]
HI = (Message("user", "hi"),)
PROPERTIES: dict[str, Any] = {
    "path": {"type": "string"},
    "text": {"type": "string"},
    "lines": {"type": "integer"},
    "deep": {"type": "object"},
    "tags": {"type": "array"},
    "sure": {"type": "boolean"},
    "part": {"type": ["number", "null"]},
}
WRITE = {"type": "function", "function": {"name": "write", "parameters": {"type": "object", "properties": PROPERTIES}}}
NOW = {"type": "function", "function": {"name": "now"}}
TEMPLATE = (
    "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for call in m.tool_calls or [] %}\n<tool_call>\n"
    "<function={{ call.function.name }}>\n{% for name, value in call.function.arguments | items %}"
    "<parameter={{ name }}>\n{{ value if value is string else value | tojson }}\n</parameter>\n{% endfor %}"
    "</function>\n</tool_call>{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def xml(**values: str) -> str:
    """Return a call of `write` as models write it."""
    tags = "".join(f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in values.items())
    return f"<tool_call>\n<function=write>\n{tags}</function>\n</tool_call>"


def plan(choice: str = "auto", tools: tuple[Any, ...] = (WRITE, NOW)) -> AnswerPlan:
    return plan_answer(Turn(HI, tools=Tools(tools, choice)), QWEN_XML)


def read(pieces: list[str], planned: AnswerPlan | None = None) -> list[Any]:
    """Return the joined text and the calls as (name, arguments), in order."""
    parser = (planned or plan()).parser()
    assert parser
    parsed: list[Any] = []
    for part in [*(part for piece in pieces for part in parser.feed(piece)), *parser.rest()]:
        if isinstance(part, ToolCall):
            parsed.append((part.name, part.parsed()))
        elif parsed and isinstance(parsed[-1], str):
            parsed[-1] += part
        else:
            parsed.append(part)
    return parsed


def cut(text: str, data: st.DataObject) -> list[str]:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})
    return [text[a:b] for a, b in pairwise(cuts)]


A = xml(path="a")
CALL = ("write", {"path": "a"})
BARE = A.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
CODE = "if a < b:\n\n    print('</parameter> </function> and <tool_call>')\n"
CASES = [
    pytest.param(A, [CALL], id="one call"),
    pytest.param(f"I write.\n\n{A}\n", ["I write.", CALL], id="text before a call"),
    pytest.param(f"{A}\n{A}", [CALL, CALL], id="two calls"),
    pytest.param(f"{A} So.", [CALL, " So."], id="text after a call"),
    pytest.param("<tool_call><function=now></function></tool_call>", [("now", {})], id="no arguments"),
    pytest.param(A.replace("\n", ""), [CALL], id="no line breaks"),
    pytest.param(xml(text=CODE, path="a"), [("write", {"text": CODE, "path": "a"})], id="a value that quotes tags"),
    pytest.param(xml(text="\n  x \n"), [("write", {"text": "\n  x \n"})], id="white space of a value is kept"),
    pytest.param(xml(text=""), [("write", {"text": ""})], id="an empty string"),
    pytest.param(xml(new="b"), [("write", {"new": "b"})], id="an argument that the tool does not have"),
    pytest.param(A.replace("write", "read"), [("read", {"path": "a"})], id="a tool that does not exist"),
    pytest.param(BARE, [CALL], id="without tool_call tags"),
    pytest.param(f"{BARE}\n{BARE}", [CALL, CALL], id="two calls without tool_call tags"),
    pytest.param(f"{BARE}\n</tool_call>", [CALL], id="without the first tag"),
    pytest.param(f"<tool_call>\n{BARE}\n{A}", [CALL, CALL], id="without the last tag"),
    pytest.param(
        xml(path="a", text="b").replace("a\n</parameter>", "a"),
        [("write", {"path": "a", "text": "b"})],
        id="an argument whose last tag is missing",
    ),
    pytest.param(A.replace("\n</parameter>", ""), [CALL], id="the last argument has no last tag"),
    pytest.param("2 < 3 <tool> <function=f> <tool_ca", ["2 < 3 <tool> <function=f> <tool_ca"], id="no call"),
    pytest.param("Five. \n", ["Five. \n"], id="white space at the end"),
    pytest.param(A[:-4], [CALL], id="a call whose last tag is cut off leaves no text"),
    pytest.param(A[:-30], [("write", A[:-30].strip())], id="a call that is cut off has no arguments"),
    pytest.param(
        xml(path="a").replace("<parameter", "b <parameter"),
        [("write", A.replace("<parameter", "b <parameter"))],
        id="text between tags makes the call invalid",
    ),
    pytest.param(
        f'<tool_call>{{"name": "now"}}</tool_call>{A}',
        [("", '<tool_call>{"name": "now"}</tool_call>'), CALL],
        id="JSON between tags is an invalid call, and the next call is read",
    ),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_calls_are_read_from_pieces_of_any_size(text: str, expected: list[Any]) -> None:
    assert read([text]) == expected
    assert read(list(text)) == expected


@given(st.data(), st.sampled_from([case.values for case in CASES]))
def test_any_split_gives_the_same_calls(data: st.DataObject, case: tuple[Any, ...]) -> None:
    text, expected = case
    assert read(cut(text, data)) == expected


TEXTS = st.lists(
    st.sampled_from(["<", "</parameter>", "</function>", "\n", " ", "1", "null", "é", '"', "{", "</tool_call>"])
    | st.text(max_size=3),
    max_size=6,
).map("".join)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "path": TEXTS,
        "text": TEXTS,
        "lines": st.integers(),
        "deep": st.dictionaries(st.text(max_size=3), TEXTS | st.integers(), max_size=3),
        "tags": st.lists(TEXTS | st.booleans(), max_size=3),
        "sure": st.booleans(),
        "part": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    },
)
AMBIGUOUS = re.compile(r"</parameter>\s*(<parameter=|</function>)|</function>\s*</?tool_call>")
"""Tags in a value that end it, as if they were not part of it."""


@given(st.data(), st.lists(ARGUMENTS, min_size=1, max_size=3))
def test_written_calls_are_read_again_from_any_pieces(data: st.DataObject, made: list[dict[str, Any]]) -> None:
    values = [value for arguments in made for value in arguments.values() if isinstance(value, (str, list, dict))]
    quoted = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
    assume(not any(AMBIGUOUS.search(f"{value}\n</parameter>\n") for value in quoted))
    written = QWEN_XML.write([ToolCall("", "write", json.dumps(arguments)) for arguments in made])
    assert read(cut(written, data)) == [("write", arguments) for arguments in made]


ROOT = {"$defs": {"Colour": {"enum": ["red", "1"]}, "Loop": {"anyOf": [{"$ref": "#/$defs/Loop"}]}}}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        pytest.param({"type": "string"}, "1", "1", id="a string that looks like a number"),
        pytest.param({"type": "string"}, '"a"', '"a"', id="a string with quotes keeps them"),
        pytest.param({"type": "string"}, "null", "null", id="a string that looks like null"),
        pytest.param({"type": "integer"}, " 1\n", 1, id="an integer"),
        pytest.param({"type": "integer"}, "1.5", "1.5", id="a fraction is no integer"),
        pytest.param({"type": "number"}, "1", 1, id="an integer is a number"),
        pytest.param({"type": "number"}, "NaN", "NaN", id="not a number"),
        pytest.param({"type": "array"}, "[1e999]", "[1e999]", id="a number that JSON cannot hold"),
        pytest.param({"type": "boolean"}, "True", True, id="a boolean as Python writes it"),
        pytest.param({"type": "boolean"}, "yes", "yes", id="no boolean"),
        pytest.param({"type": "object"}, '{"a": [1]}', {"a": [1]}, id="an object"),
        pytest.param({"type": "object"}, "[" * 100_000, "[" * 100_000, id="brackets without end"),
        pytest.param({"type": ["string", "null"]}, "None", None, id="a string or null: null"),
        pytest.param({"type": ["string", "null"]}, "1", "1", id="a string or null: a string"),
        pytest.param({"oneOf": [{"$ref": "#/$defs/Colour"}, {"type": "integer"}]}, "red", "red", id="one of two"),
        pytest.param({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "2", 2, id="an optional integer"),
        pytest.param({"allOf": [{"type": "string"}, {"minLength": 1}]}, "2", "2", id="a string with a limit"),
        pytest.param({"allOf": [True, {"type": "string"}]}, "2", "2", id="a part of allOf that allows everything"),
        pytest.param({"enum": ["1", "2"]}, "1", "1", id="one of several strings"),
        pytest.param({"enum": ["a", "b"]}, "\n a", "a", id="white space around one of several strings"),
        pytest.param({"enum": [1, 2]}, "1", 1, id="one of several numbers"),
        pytest.param({"const": 7}, "7", 7, id="a constant"),
        pytest.param({"$ref": "#/$defs/Colour"}, "1", "1", id="a reference"),
        pytest.param({"$ref": "#/$defs/Loop"}, "1", "1", id="a reference to itself"),
        pytest.param({"$ref": "#/$defs/Lost"}, "1", 1, id="a reference that leads nowhere"),
        pytest.param({}, "1", 1, id="any value: JSON"),
        pytest.param(True, "one", "one", id="any value: text"),
    ],
)
def test_the_schema_decides_what_a_value_is(schema: Any, text: str, value: Any) -> None:
    found = read_argument(text, schema, ROOT)
    assert (found, type(found)) == (value, type(value))


def chat_template() -> ChatTemplate:
    return ChatTemplate(tiny.byte_tokenizer(TEMPLATE))


def test_the_chat_template_of_the_model_writes_calls_like_the_format() -> None:
    call = ToolCall("c1", "write", '{"path": "a", "lines": 2, "tags": ["x"], "sure": true}')
    turn = Turn((*HI, Message("assistant", "", (call,))), tools=Tools((WRITE,)))
    assert QWEN_XML.write([call]) in chat_template().prompt_text(turn)


def test_an_invalid_call_in_the_conversation_is_shown_to_the_model() -> None:
    """These templates go through the arguments by name, and refuse text."""
    call = ToolCall("c1", "write", '"<function=write>\\n<parameter=path>\\na"')
    shown = chat_template().prompt_text(Turn((*HI, Message("assistant", "", (call,)))))
    assert "<parameter=arguments>\n<function=write>\n<parameter=path>\na\n</parameter>" in shown


@pytest.mark.parametrize(
    ("choice", "prefix", "rest"),
    [
        pytest.param("write", "<tool_call>\n<function=write>\n", "<parameter=path>\na\n</parameter>\n", id="one tool"),
        pytest.param("required", "<tool_call>\n<function=", "write>\n<parameter=path>a</parameter>", id="any tool"),
    ],
)
def test_a_required_call_is_begun_for_the_model(choice: str, prefix: str, rest: str) -> None:
    planned = plan(choice)
    assert planned.prefix == prefix
    assert read(list(f"{rest}</function>\n</tool_call>"), planned) == [CALL]
    payload = Raw(chat_template()).payload(Turn(HI, tools=Tools((WRITE, NOW), choice)))
    assert payload.body["prompt"].endswith(f"<|assistant|>{prefix}")
    assert "extra_body" not in payload.body  # servers get JSON schemas only, and these calls are no JSON


def test_a_scripted_model_can_write_its_calls_in_this_format() -> None:
    script = xml(path="a.txt", lines="3")
    model = ScriptedBackend(script, call_format=QWEN_XML)
    turn = Turn(HI, tools=Tools((WRITE, NOW), "auto"))
    events = list(model.continue_turn(turn, Request(99)))
    calls = [(event.call.name, json.loads(event.call.arguments)) for event in events if isinstance(event, Call)]
    assert calls == [("write", {"path": "a.txt", "lines": 3})]
    assert not any(isinstance(event, Piece) for event in events)
