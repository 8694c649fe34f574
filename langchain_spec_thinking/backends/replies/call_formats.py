"""The formats in which models write tool calls into their text, and a parser that reads the calls from a stream."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain_spec_thinking.tools import ToolCall, Tools

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_DECODER = json.JSONDecoder()
_PYTHON_TAG = "<|python_tag|>"
_FENCE = "```"
_ARGUMENTS = ("arguments", "parameters")


@dataclass(frozen=True, slots=True)
class CallFormat:
    """A format of tool calls in text.

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
    def marks(self) -> set[str]:
        """Texts of the format that some vocabularies contain as control tokens. They are allowed in an answer."""
        marks = {mark for mark in (self.opens.strip(), self.closes) if mark}
        return marks | {_PYTHON_TAG} if self.unmarked else marks

    def beginning(self, tools: Tools) -> str:
        """Return the text that begins the answer if a tool must be called. The model continues after it."""
        if tools.choice in {"auto", "none"}:
            return ""
        prefix = f"{self.opens}{'[' if self.as_list else ''}"
        if tools.required_tool:
            return f'{prefix}{{"name": "{tools.required_tool}", "{self.arguments}": '
        # An unmarked call is recognizable only by its beginning.
        return f'{prefix}{{"name": "' if self.unmarked else prefix

    def ending(self, tools: Tools) -> str:
        """Return the text that ends the JSON of a call, if the model writes only what `schema` describes."""
        return f"{'}' if tools.required_tool or self.unmarked else ''}{']' if self.as_list else ''}"

    def schema(self, tools: Tools) -> dict[str, Any] | None:
        """Return the JSON schema of the text after `beginning`: the arguments, or a call of any tool.

        Returns None if that text is not complete JSON, or if no tool must be called.
        """
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


HERMES = CallFormat("<tool_call>\n", "</tool_call>")
"""The format of Hermes, Qwen 2.5 and Qwen 3. Models without a known format get it too."""
MISTRAL = CallFormat("[TOOL_CALLS]", as_list=True)
LLAMA = CallFormat("", arguments="parameters", unmarked=True)
"""The format of Llama 3.1 and later: the call is the whole answer, after an optional `<|python_tag|>`."""


def format_of(template: str) -> CallFormat:
    """Return the format in which a model with this chat template writes tool calls."""
    if "[TOOL_CALLS]" in template:
        return MISTRAL
    if "<tool_call>" not in template and _PYTHON_TAG in template:
        return LLAMA
    return HERMES


class CallParser:
    """Reads tool calls from text that arrives in pieces. Other text is passed on as soon as it is certainly no call.

    Many small models omit the marks. An answer is therefore a call too if it is a JSON object with a tool's name and
    arguments. The object may be in a code block.

    Args:
        form: The format of the calls.
        beginning: The part of the answer that the model was given.
        names: The tools' names.

    Attributes:
        beginning: The part of the answer that the model was given.
    """

    def __init__(self, form: CallFormat, beginning: str = "", names: Collection[str] = ()) -> None:
        self._form = form
        self._names = names
        self._mark = form.opens.strip()
        self.beginning = beginning
        self._held = beginning
        self._inside = False
        self._passed_on = False  # text or a call was passed on
        self._called = False
        self._fenced = False

    def feed(self, text: str) -> Iterator[str | ToolCall]:
        """Read more text. Yield the text and the calls that are certain now."""
        self._held += text
        yield from self._advance(final=False)

    def rest(self, call_suffix: str = "") -> Iterator[str | ToolCall]:
        """Yield what is still held when no more text comes.

        Args:
            call_suffix: Text that may be missing at the end of a call's JSON, completely or in part. A model that is
                constrained to the arguments writes nothing after them. Other models may write all or some of the ending
                themselves.
        """
        yield from self._advance(final=False)
        if self._inside:
            lacking = (call_suffix[start:] for start in range(len(call_suffix), -1, -1))
            self._held += next((end for end in lacking if _is_json(_json_start(self._held) + end)), "")
        yield from self._advance(final=True)
        if self._inside and self._held.strip():
            yield make_invalid_call(self._held)
        elif self._held and not self._called:
            yield self._held
        self._held = ""

    def _advance(self, *, final: bool) -> Iterator[str | ToolCall]:
        state = None
        while state != (state := (self._inside, len(self._held))):
            for part in self._calls(final=final) if self._inside else self._text(final=final):
                self._passed_on = True
                self._called |= isinstance(part, ToolCall)
                yield part

    def _text(self, *, final: bool) -> Iterator[str | ToolCall]:
        """Pass text on up to where a call begins or may begin. White space before a call belongs to the call."""
        if self._names and not self._form.unmarked and (not self._passed_on or self._called):
            unmarked = self._unmarked_call(final=final)
            if isinstance(unmarked, ToolCall):
                yield unmarked
            if unmarked:
                return
        if self._form.unmarked and (not self._passed_on or self._called):
            start = _json_start(self._held)
            self._inside = start.startswith("{")
            if self._inside or not start or _PYTHON_TAG.startswith(start):
                return
        found = self._held.find(self._mark) if self._mark else -1
        if found >= 0:
            end, rest = found, found + len(self._mark)
            self._inside = True
        else:
            end = rest = len(self._held) - (0 if final else _partial_mark_length(self._held, self._mark))
        text = self._held[:end].rstrip()
        self._held = self._held[rest if self._inside else len(text) :]
        if text:
            yield text

    def _unmarked_call(self, *, final: bool) -> ToolCall | bool:
        """Return the unmarked call at the start of the held text. Without one, return whether one may still come."""
        text = self._held.lstrip()
        if self._fenced and (final or len(text) >= len(_FENCE)):  # end of the call's code block
            text = self._held = text.removeprefix(_FENCE).lstrip()
            self._fenced = False
        if not final and (not text or _FENCE.startswith(text) or (text.startswith(_FENCE) and "\n" not in text)):
            return True
        data = (text.partition("\n")[2] if text.startswith(_FENCE) else text).lstrip()
        key = data[1:].lstrip()[:6]
        if not final and (not data or (data.startswith("{") and '"name"'.startswith(key) and key != '"name"')):
            return True
        if not (data.startswith("{") and key == '"name"'):
            return False
        try:
            item, end = _DECODER.raw_decode(data)
        except ValueError:
            return not final
        found = self._parse_call(item) if item.get("name") in self._names and item.keys() & {*_ARGUMENTS} else None
        if found:
            self._held, self._fenced = data[end:], text.startswith(_FENCE)
        return found or False

    def _calls(self, *, final: bool) -> Iterator[ToolCall]:
        """Read the calls if their text is complete."""
        if self._form.closes:
            inside, closed, after = self._held.partition(self._form.closes)
            if not closed and not final:
                return
        else:
            data = _json_start(self._held)
            try:
                _, end = _DECODER.raw_decode(data)
            except ValueError:
                if not final:
                    return
                end = len(data)
            inside, after = data[:end], data[end:]
        self._held, self._inside = after, False
        try:
            data = json.loads(inside)
        except ValueError:
            if inside.strip():
                yield make_invalid_call(inside)
            return
        for item in data if isinstance(data, list) else [data]:
            yield self._parse_call(item) or make_invalid_call(json.dumps(item, ensure_ascii=False))

    def _parse_call(self, item: Any) -> ToolCall | None:  # noqa: ANN401 - any JSON value
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            return None
        given: Any = next((item[key] for key in _ARGUMENTS if key in item), {})
        return make_call(item["name"], given if isinstance(given, str) else json.dumps(given, ensure_ascii=False))


def make_call(name: str, arguments: str, call_id: str | None = None) -> ToolCall:
    """Make a call from the name and the arguments that a model wrote.

    LangChain repairs JSON that was cut off, so that a tool would run with half of its arguments. Therefore incomplete
    arguments are stored as a JSON string, which cannot be taken for arguments.
    """
    arguments = arguments.strip() or "{}"
    try:
        complete = isinstance(json.loads(arguments), dict)
    except ValueError:
        complete = False
    quoted = arguments if complete else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(call_id or f"call_{uuid4().hex[:24]}", name, quoted)


def make_invalid_call(text: str) -> ToolCall:
    """Make a call from text that looks like a call but cannot be parsed."""
    name = re.search(r'"name"\s*:\s*"([^"]+)"', text)
    return ToolCall(f"call_{uuid4().hex[:24]}", name[1] if name else "", json.dumps(text.strip(), ensure_ascii=False))


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
        json.loads(text)
    except ValueError:
        return False
    return True


def _json_start(text: str) -> str:
    """Remove what may stand before a call or between two calls."""
    return text.lstrip("; \n").removeprefix(_PYTHON_TAG).lstrip()


def _partial_mark_length(text: str, mark: str) -> int:
    """Return how many characters at the end of the text may be the beginning of a mark."""
    return next((size for size in range(min(len(text), len(mark) - 1), 0, -1) if mark.startswith(text[-size:])), 0)
