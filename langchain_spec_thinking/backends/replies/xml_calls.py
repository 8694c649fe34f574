"""Calls that a model writes as XML, with a tag for each argument (Qwen3-Coder, Qwen 3.5)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.replies.argument_types import read_argument
from langchain_spec_thinking.backends.replies.call_format import AnswerGrammar, AnswerPlan, CallFormat
from langchain_spec_thinking.backends.replies.call_parser import CallParser, make_call

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_spec_thinking.tools import ToolCall, Tools

_OPENS = "<tool_call>"
_CLOSES = "</tool_call>"
_FUNCTION = "<function="
_FUNCTION_END = "</function>"
_LAST_TAGS = f"{_FUNCTION_END}\n{_CLOSES}"
_NAME = re.compile(rf"{_FUNCTION}([^<>\n]+)>")
_CALL = re.compile(rf"(?:{_OPENS})?\s*{_FUNCTION}([^<>\n]+)>(.*){_FUNCTION_END}\s*(?:{_CLOSES})?\s*", re.DOTALL)
_CALL_END = re.compile(rf"{_FUNCTION_END}\s*(?:{_CLOSES}|(?={_OPENS}|{_FUNCTION}))")
"""The end of a call. Some models omit `</tool_call>` before the next call."""


@dataclass(frozen=True, slots=True)
class XmlCallFormat(CallFormat):
    r"""A format whose calls have one tag for each argument.

    ```xml
    <tool_call>
    <function=add>
    <parameter=a>
    1
    </parameter>
    </function>
    </tool_call>
    ```

    A string is written without quotes and without escapes. All other values are JSON. Only the tool's schema tells the
    string `1` from the number 1.
    """

    @property
    def marks(self) -> frozenset[str]:
        """The marks around a call. The other tags are never control tokens."""
        return frozenset({_OPENS, _CLOSES})

    def plan_required_call(self, tools: Tools) -> AnswerPlan:
        """Begin the call. The grammar covers the rest up to the last tag."""
        prefix = f"{_OPENS}\n{_FUNCTION}"
        if name := tools.required_tool:
            return AnswerPlan(self, tools, f"{prefix}{name}>\n", _tag_grammar(_call_tag("", tools.parameters[name])))
        tags = [_call_tag(f"{name}>\n", schema) for name, schema in tools.parameters.items()]
        grammar = _tag_grammar({"type": "or", "elements": tags}) if tools.choice == "required" else None
        return AnswerPlan(self, tools, prefix, grammar)

    def parser(self, plan: AnswerPlan) -> CallParser:
        """Return a parser that also reads calls without `<tool_call>`, because models sometimes omit it."""
        return _XmlCallParser(plan)

    def write(self, calls: Sequence[ToolCall]) -> str:
        """Return calls as XML, like the chat templates of the models."""
        return "\n".join(self._written(call) for call in calls)

    def _written(self, call: ToolCall) -> str:
        values = {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in self.template_arguments(call).items()
        }
        parameters = "".join(f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in values.items())
        return f"{_OPENS}\n{_FUNCTION}{call.name}>\n{parameters}{_LAST_TAGS}"

    def template_arguments(self, call: ToolCall) -> dict[str, Any]:
        """Return the arguments by name. Text that could not be parsed gets a name, because templates need one."""
        arguments = call.parsed()
        return arguments if isinstance(arguments, dict) else {"arguments": arguments}


class _XmlCallParser(CallParser):
    """Reads calls with one tag for each argument.

    Values may contain any text except the tags that end them. Some models forget `</parameter>`. A value therefore also
    ends before the tag of another argument of the tool, and before `</function>`.

    Args:
        plan: The tools, and the prefix that the model was given.
    """

    def __init__(self, plan: AnswerPlan) -> None:
        super().__init__(plan.prefix)
        self._schemas = plan.tools.parameters if plan.tools else {}
        self._begins = (_OPENS, *(f"{_FUNCTION}{name}>" for name in self._schemas))

    def _tool_name(self, text: str) -> str:
        name = _NAME.search(text)
        return name[1] if name else ""

    def _read_text(self, *, final: bool) -> Iterator[str]:
        return self._pass_text(self._begins, final=final)

    def _read_calls(self, *, final: bool) -> Iterator[ToolCall]:
        end = self._end()
        if end is None and not final:
            self._wait = _WaitForCallEnd(self._held)
            return
        if end is None and _FUNCTION_END in self._held:
            end = self._held.rfind(_FUNCTION_END) + len(_FUNCTION_END)
            if _CLOSES.startswith(self._held[end:].strip()):  # the last tag is cut off or missing
                self._held = self._held[:end]
        text, self._held = self._held[:end], "" if end is None else self._held[end:]
        self._inside = False
        yield self._parse_call(text) or self._invalid_call(text)

    def _end(self) -> int | None:
        """Return where the held call ends. None if the end has not come yet."""
        ends = [found.end()] if (found := _CALL_END.search(self._held)) else []
        closed = self._held.find(_CLOSES)
        if closed >= 0 and _FUNCTION not in self._held[:closed]:  # no call between the tags
            ends.append(closed + len(_CLOSES))
        return min(ends, default=None)

    def _parse_call(self, text: str) -> ToolCall | None:
        found = _CALL.fullmatch(text)
        if not found:
            return None
        name, body = found[1], found[2]
        schema = self._schemas.get(name, {})
        arguments = _read_parameters(body, schema)
        return None if arguments is None else make_call(name, json.dumps(arguments, ensure_ascii=False))


class _WaitForCallEnd:
    """Waits for the end of a call.

    Args:
        held: The beginning of the call, which does not contain its end.
    """

    def __init__(self, held: str) -> None:
        self._function = False  # the text so far contains the tag of a function
        self._end = ""  # the end of the text, which may contain the beginning of the end of the call
        self.arrives(held)

    def arrives(self, text: str) -> bool:
        """Return whether the end of the call has come."""
        seen = self._end + text
        closed = seen.find(_CLOSES)
        function = self._function
        self._function = function or _FUNCTION in seen
        _, last_tag, rest = seen.rpartition(_FUNCTION_END)
        after = rest.lstrip()
        self._end = seen[-len(_CLOSES) :]
        if last_tag and len(after) < len(_CLOSES):  # one white space stands for all
            self._end = f"{last_tag}{rest[:1] if after != rest else ''}{after}"
        without_function = closed >= 0 and not function and _FUNCTION not in seen[:closed]
        return without_function or _CALL_END.search(seen) is not None


def _read_parameters(body: str, schema: dict[str, Any]) -> dict[str, Any] | None:
    """Return the arguments by name. None if there is other text between the tags."""
    properties = schema.get("properties", {})
    known = "|".join(map(re.escape, properties)) or "(?!)"
    parameter = re.compile(
        rf"\s*<parameter=([^>\n]+)>(.*?)(?:</parameter>(?=\s*(?:<parameter=|\Z))|(?=\n<parameter=(?:{known})>)|\Z)",
        re.DOTALL,
    )
    arguments, place = {}, 0
    while found := parameter.match(body, place):
        name, text = found[1], found[2].removeprefix("\n").removesuffix("\n")
        arguments[name] = read_argument(text, properties.get(name, {}), schema)
        place = found.end()
    return None if body[place:].strip() else arguments


def _call_tag(begin: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return xgrammar's description of a call, from its name on."""
    # White space is limited because it would become a part of strings.
    parameters = {"type": "json_schema", "json_schema": schema, "style": "qwen_xml", "max_whitespace_cnt": 1}
    return {"type": "tag", "begin": begin, "content": parameters, "end": _LAST_TAGS}


def _tag_grammar(tag: dict[str, Any]) -> AnswerGrammar:
    return AnswerGrammar("structural_tag", tag)
