"""Every call format is complete, listed once, and found by its chat template."""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from inspect import isabstract
from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking.backends import replies
from langchain_spec_thinking.backends.replies.answer_plan import plan_answer
from langchain_spec_thinking.backends.replies.call_format import FREE_TEXT, AnswerPlan, CallFormat
from langchain_spec_thinking.backends.replies.call_formats import CALL_FORMATS, DEFAULT_FORMAT, format_of
from langchain_spec_thinking.backends.replies.call_parser import CallParser
from langchain_spec_thinking.backends.replies.tool_prompts import with_tool_prompt
from langchain_spec_thinking.tools import ToolCall, Tools
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

ADD = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
HI = (Message("user", "hi"),)
EACH = pytest.mark.parametrize("call_format", CALL_FORMATS.values(), ids=CALL_FORMATS)


def turn(**settings: Any) -> Turn:
    return Turn(HI, tools=Tools((ADD,), **settings))


@EACH
def test_the_chat_template_of_a_format_leads_to_it(call_format: CallFormat) -> None:
    assert format_of(f"{{{{ '{''.join(call_format.template_marks)}' }}}}") is call_format


@EACH
def test_a_format_reads_what_it_writes(call_format: CallFormat) -> None:
    written = call_format.write([ToolCall("", "add", '{"a": 1}'), ToolCall("", "add", '{"a": 2}')])
    parser = plan_answer(turn(), call_format).parser()
    assert parser
    parts: list[Any] = [*parser.feed(written), *parser.rest()]
    assert [(part.name, part.parsed()) for part in parts] == [("add", {"a": 1}), ("add", {"a": 2})]


@EACH
def test_a_prompt_teaches_the_format(call_format: CallFormat) -> None:
    [system, _] = with_tool_prompt(HI, turn().tools, now=True, call_format=call_format)
    assert "an argument" in system.content.split("To call one, write")[1]
    assert "its value" in system.content


@EACH
@pytest.mark.parametrize("choice", ["required", "add"])
def test_a_required_call_is_begun_and_its_text_is_constrained(call_format: CallFormat, choice: str) -> None:
    planned = plan_answer(turn(choice=choice), call_format)
    assert "add" in planned.prefix
    assert planned.grammar
    assert planned.single_call


def test_models_without_a_known_format_get_the_default() -> None:
    assert format_of("{{ messages }}") is DEFAULT_FORMAT
    assert DEFAULT_FORMAT in CALL_FORMATS.values()


def test_every_class_of_formats_is_listed() -> None:
    modules = [import_module(f"{replies.__name__}.{module.name}") for module in pkgutil.iter_modules(replies.__path__)]
    classes = {thing for module in modules for thing in vars(module).values() if isinstance(thing, type)}
    formats = {thing for thing in classes if issubclass(thing, CallFormat) and not isabstract(thing)}
    assert formats == {type(call_format) for call_format in CALL_FORMATS.values()}


class Parser(CallParser):
    """A parser without `_read_calls`."""

    def _read_text(self, *, final: bool) -> Any:
        return iter(())

    def _tool_name(self, text: str) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Complete(CallFormat):
    """A format whose parser can be exchanged."""

    parser_class: Any = None

    @property
    def marks(self) -> frozenset[str]:
        return frozenset({"<call>"})

    def plan_required_call(self, tools: Tools) -> AnswerPlan:
        return AnswerPlan(self, tools, "<call>")

    def parser(self, plan: AnswerPlan) -> CallParser:
        return self.parser_class() if self.parser_class else DEFAULT_FORMAT.parser(plan)

    def write(self, calls: Sequence[ToolCall]) -> str:
        return "<call>"


class WithoutWriter(Complete):
    """A format that lacks a method."""

    write = CallFormat.write
    __abstractmethods__ = frozenset({"write"})


def test_a_complete_format_is_accepted() -> None:
    assert Complete(("<call>",), "a mark").is_written_by("{{ '<call>' }}")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda: WithoutWriter(("<call>",), "a mark"), "write", id="a method"),
        pytest.param(lambda: Complete(("<call>",), "", Parser), "_read_calls", id="a method of the parser"),
        pytest.param(lambda: Complete((), "a mark"), "template_marks", id="marks of its chat template"),
        pytest.param(lambda: Complete(("",), "a mark"), "template_marks", id="text in such a mark"),
        pytest.param(lambda: Complete(("<call>",)), "description", id="a description"),  # type: ignore[call-arg]
    ],
)
def test_a_format_that_lacks_a_part_cannot_be_created(make: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        make()


@pytest.mark.parametrize(
    "half",
    [
        pytest.param(Turn(HI), id="no tools"),
        pytest.param(turn(choice="none"), id="no call is allowed"),
        pytest.param(Turn(HI, thinks=True, tools=Tools((ADD,), "required")), id="a thought"),
    ],
)
def test_text_without_calls_is_free(half: Turn) -> None:
    assert plan_answer(half, DEFAULT_FORMAT) == FREE_TEXT
    assert FREE_TEXT.parser() is None


def test_a_call_is_not_begun_in_the_middle_of_an_answer() -> None:
    half = turn(choice="required")
    half.append("speculative", "I call.")
    assert plan_answer(half, DEFAULT_FORMAT) == AnswerPlan(DEFAULT_FORMAT, half.tools)


def test_the_plan_of_a_structured_answer_continues_what_is_written() -> None:
    half = Turn(HI, schema={"name": "Sum", "schema": {"type": "object"}}, pending=' {"total"')
    planned = plan_answer(half, DEFAULT_FORMAT)
    assert planned.grammar
    assert (planned.grammar.kind, planned.grammar.definition) == ("json_schema", {"type": "object"})
    assert (planned.begun, planned.prefix, planned.parser()) == ('{"total"', "", None)
