"""Calls that a model writes as JSON: a name and arguments, mostly between marks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.replies.call_format import AnswerGrammar, AnswerPlan, CallFormat
from langchain_spec_thinking.backends.replies.call_parser import CallParser, make_call
from langchain_spec_thinking.backends.replies.waiting import WaitForMark, WaitForText, wait_for_json
from langchain_spec_thinking.json_values import read_json, read_json_at_start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_spec_thinking.tools import ToolCall, Tools

_PYTHON_TAG = "<|python_tag|>"
_FENCE = "```"
_NAME = re.compile(r'"name"\s*:\s*"([^"]+)"')
_ARGUMENTS = ("arguments", "parameters")


@dataclass(frozen=True, slots=True)
class JsonCallFormat(CallFormat):
    """A format whose calls are JSON objects with a name and arguments.

    Attributes:
        opens: Text that begins a call.
        closes: Text that ends a call. Empty if the end of the JSON ends the call.
        arguments: Name of the field with the arguments, beside `name`.
        as_list: Whether several calls are written as one JSON list.
        unmarked: Whether a call has no mark, so that the whole answer is JSON.
    """

    opens: str
    closes: str = ""
    arguments: str = "arguments"
    as_list: bool = False
    unmarked: bool = False

    @property
    def marks(self) -> frozenset[str]:
        """The marks that begin and end a call."""
        return frozenset(mark for mark in (self.opens.strip(), self.closes) if mark)

    @property
    def optional_marks(self) -> frozenset[str]:
        """Llama's `<|python_tag|>` in a format without marks."""
        return frozenset({_PYTHON_TAG} if self.unmarked else ())

    def plan_required_call(self, tools: Tools) -> AnswerPlan:
        """Begin the call, and constrain the rest to the arguments, or to a call of any tool."""
        schema = self._schema(tools)
        grammar = None if schema is None else AnswerGrammar("json_schema", schema)
        ending = f"{'}' if tools.required_tool or self.unmarked else ''}{']' if self.as_list else ''}"
        return AnswerPlan(self, tools, self._prefix(tools), grammar, ending)

    def parser(self, plan: AnswerPlan) -> CallParser:
        """Return a parser that also reads calls without marks, because many small models omit the marks."""
        return _JsonCallParser(self, plan)

    def write(self, calls: Sequence[ToolCall]) -> str:
        """Return calls as JSON between the format's marks."""
        written = [json.dumps({"name": call.name, self.arguments: call.parsed()}, ensure_ascii=False) for call in calls]
        if self.as_list:
            return f"{self.opens}[{', '.join(written)}]"
        if not self.closes:
            return "; ".join(written)
        return "\n".join(f"{self.opens}{call}\n{self.closes}" for call in written)

    def _prefix(self, tools: Tools) -> str:
        prefix = f"{self.opens}{'[' if self.as_list else ''}"
        if tools.required_tool:
            return f'{prefix}{{"name": "{tools.required_tool}", "{self.arguments}": '
        # An unmarked call is recognizable only by its beginning.
        return f'{prefix}{{"name": "' if self.unmarked else prefix

    def _schema(self, tools: Tools) -> dict[str, Any] | None:
        """Return the JSON schema of the text after the prefix. None if that text is not complete JSON."""
        if tools.required_tool:
            return tools.parameters[tools.required_tool]
        if tools.choice != "required" or self.unmarked:
            return None
        return {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"name": {"const": name}, self.arguments: {"$ref": f"#/$defs/{name}"}},
                    "required": ["name", self.arguments],
                    "additionalProperties": False,
                }
                for name in tools.parameters
            ],
            "$defs": {name: _rebase_refs(given, f"#/$defs/{name}") for name, given in tools.parameters.items()},
        }


class _JsonCallParser(CallParser):
    """Reads calls that are JSON.

    An answer without marks is a call too if it is a JSON object with a tool's name and arguments. The object may be in
    a code block.

    Args:
        form: The format of the calls.
        plan: The tools, the prefix that the model was given, and the ending that the model may omit.
    """

    def __init__(self, form: JsonCallFormat, plan: AnswerPlan) -> None:
        super().__init__(plan.prefix)
        self._form = form
        self._names = plan.tools.names if plan.tools else ()
        self._ending = plan.ending
        self._mark = form.opens.strip()
        self._fenced = False

    def _tool_name(self, text: str) -> str:
        name = _NAME.search(text)
        return name[1] if name else ""

    def _missing_ending(self) -> str:
        lacking = (self._ending[start:] for start in range(len(self._ending), -1, -1))
        return next((end for end in lacking if _is_json(_json_start(self._held) + end)), "")

    def _read_text(self, *, final: bool) -> Iterator[str | ToolCall]:
        if self._names and not self._form.unmarked and (not self._passed_on or self._called):
            unmarked = self._unmarked_call(final=final)
            if not isinstance(unmarked, bool):
                yield unmarked
            if unmarked:
                return
        if self._form.unmarked and (not self._passed_on or self._called):
            start = _json_start(self._held)
            self._inside = start.startswith("{")
            if self._inside or not start or _PYTHON_TAG.startswith(start):
                self._wait = None if start else WaitForText(";")
                return
        yield from self._pass_text([self._mark], final=final)
        if self._inside:
            self._held = self._held.removeprefix(self._mark)

    def _unmarked_call(self, *, final: bool) -> ToolCall | bool:
        """Return the unmarked call at the start of the held text. Without one, return whether one may still come."""
        text = self._held.lstrip()
        if self._fenced and (final or len(text) >= len(_FENCE)):  # end of the call's code block
            text = self._held = text.removeprefix(_FENCE).lstrip()
            self._fenced = False
        if not final and (not text or _FENCE.startswith(text) or (text.startswith(_FENCE) and "\n" not in text)):
            if not text:
                self._wait = WaitForText()
            elif text.startswith(_FENCE):
                self._wait = WaitForMark("\n")
            return True
        data = (text.partition("\n")[2] if text.startswith(_FENCE) else text).lstrip()
        key = data[1:].lstrip()[:6]
        if not final and (not data or (data.startswith("{") and '"name"'.startswith(key) and key != '"name"')):
            self._wait = None if key else WaitForText()
            return True
        if not (data.startswith("{") and key == '"name"'):
            return False
        try:
            item, end = read_json_at_start(data)
        except ValueError:
            self._wait = wait_for_json(data)
            return not final
        found = self._parse_call(item) if item.get("name") in self._names and item.keys() & {*_ARGUMENTS} else None
        if found:
            self._held, self._fenced = data[end:], text.startswith(_FENCE)
        return found or False

    def _read_calls(self, *, final: bool) -> Iterator[ToolCall]:
        if self._form.closes:
            inside, closed, after = self._held.partition(self._form.closes)
            if not closed and not final:
                self._wait = WaitForMark(self._form.closes, after=inside)
                return
        else:
            data = _json_start(self._held)
            try:
                _, end = read_json_at_start(data)
            except ValueError:
                if not final:
                    if not _PYTHON_TAG.startswith(data):
                        self._wait = wait_for_json(data)
                    elif not data:
                        self._wait = WaitForText(";")
                    return
                end = len(data)
            inside, after = data[:end], data[end:]
        self._held, self._inside = after, False
        try:
            data = read_json(inside)
        except ValueError:
            if inside.strip():
                yield self._invalid_call(inside)
            return
        for item in data if isinstance(data, list) else [data]:
            yield self._parse_call(item) or self._invalid_call(json.dumps(item, ensure_ascii=False))

    def _parse_call(self, item: Any) -> ToolCall | None:  # noqa: ANN401 - any JSON value
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            return None
        given: Any = next((item[key] for key in _ARGUMENTS if key in item), {})
        return make_call(item["name"], given if isinstance(given, str) else json.dumps(given, ensure_ascii=False))


def _rebase_refs(schema: Any, place: str) -> Any:  # noqa: ANN401 - a schema or any part of one
    """Make references to the schema's root (`"$ref": "#/$defs/..."`) point to the schema's new place."""
    if isinstance(schema, list):
        return [_rebase_refs(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    rebased = {key: _rebase_refs(item, place) for key, item in schema.items()}
    if isinstance(reference := schema.get("$ref"), str):
        rebased["$ref"] = f"{place}{reference.removeprefix('#')}"
    return rebased


def _is_json(text: str) -> bool:
    try:
        read_json(text)
    except ValueError:
        return False
    return True


def _json_start(text: str) -> str:
    """Remove what may stand before a call or between two calls."""
    return text.lstrip("; \n").removeprefix(_PYTHON_TAG).lstrip()
