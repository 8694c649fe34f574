"""How models write tool calls into their text, and how the calls are read out of it as it comes."""

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
    """A way of writing tool calls.

    Attributes:
        opens: What a call begins with.
        closes: What ends it; empty where the JSON ends by itself.
        arguments: What the arguments are called, beside `name`.
        listed: Several calls stand in one JSON list.
        bare: Nothing marks a call but that the whole answer is JSON.
    """

    opens: str
    closes: str = ""
    arguments: str = "arguments"
    listed: bool = False
    bare: bool = False

    @property
    def marks(self) -> set[str]:
        """Texts that are tokens with a meaning in some vocabularies, and belong into an answer."""
        return {mark for mark in (self.opens.strip(), self.closes) if mark} | ({_PYTHON_TAG} if self.bare else set())

    def beginning(self, tools: Tools) -> str:
        """Return how the answer begins where a tool must be called: a model goes on from it."""
        if tools.choice in {"auto", "none"}:
            return ""
        begun = f"{self.opens}{'[' if self.listed else ''}"
        if tools.forced:
            return f'{begun}{{"name": "{tools.forced}", "{self.arguments}": '
        return f'{begun}{{"name": "' if self.bare else begun  # without it, nothing would say that it is to be a call

    def ending(self, tools: Tools) -> str:
        """Return what ends the JSON of a call that was begun, where the model writes no more than `schema` says."""
        return f"{'}' if tools.forced or self.bare else ''}{']' if self.listed else ''}"

    def schema(self, tools: Tools) -> dict[str, Any] | None:
        """Return the JSON schema of what follows a beginning: the arguments, or a call of any tool.

        None where it is no JSON by itself, or where no tool must be called.
        """
        if tools.forced:
            return tools.parameters[tools.forced]
        if tools.choice != "required" or self.bare:
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
            "$defs": {name: _moved(given, f"#/$defs/{name}") for name, given in tools.parameters.items()},
        }


HERMES = CallFormat("<tool_call>\n", "</tool_call>")
"""Hermes, Qwen 2.5 and 3, and all models that know no other."""
MISTRAL = CallFormat("[TOOL_CALLS]", listed=True)
LLAMA = CallFormat("", arguments="parameters", bare=True)
"""Llama 3.1 and later: the call is all of the answer, after an optional `<|python_tag|>`."""


def format_of(template: str) -> CallFormat:
    """Tell from a chat template how its model writes tool calls."""
    if "[TOOL_CALLS]" in template:
        return MISTRAL
    if "<tool_call>" not in template and _PYTHON_TAG in template:
        return LLAMA
    return HERMES


class CallParser:
    """Reads tool calls out of text that comes in pieces. What is no call is passed on, as soon as that is certain.

    Args:
        form: How the model writes them.
        beginning: What the model was given of its answer.
        names: The tools. Many a small model leaves out the marks: an answer that is a JSON object, be it in a code
            block, with a tool's name and arguments, is a call of it.

    Attributes:
        beginning: The same.
    """

    def __init__(self, form: CallFormat, beginning: str = "", names: Collection[str] = ()) -> None:
        self._form = form
        self._names = names
        self._mark = form.opens.strip()
        self.beginning = beginning
        self._held = beginning
        self._inside = False
        self._begun = False  # text or a call was passed on
        self._called = False
        self._fenced = False

    def feed(self, text: str) -> Iterator[str | ToolCall]:
        """Take in more text; yields what is certain of it."""
        self._held += text
        yield from self._advance(final=False)

    def rest(self, ending: str = "") -> Iterator[str | ToolCall]:
        """Yield what is still held, when no more text comes.

        Args:
            ending: What the JSON of a call may lack at its end, all of it or the last of it: a model that is held to
                the arguments writes nothing else, and others may have ended it themselves.
        """
        yield from self._advance(final=False)
        if self._inside:
            lacking = (ending[start:] for start in range(len(ending), -1, -1))
            self._held += next((end for end in lacking if _is_json(_json_start(self._held) + end)), "")
        yield from self._advance(final=True)
        if self._inside and self._held.strip():
            yield invalid(self._held)
        elif self._held and not self._called:
            yield self._held
        self._held = ""

    def _advance(self, *, final: bool) -> Iterator[str | ToolCall]:
        state = None
        while state != (state := (self._inside, len(self._held))):
            for part in self._calls(final=final) if self._inside else self._text(final=final):
                self._begun = True
                self._called |= isinstance(part, ToolCall)
                yield part

    def _text(self, *, final: bool) -> Iterator[str | ToolCall]:
        """Pass text on, up to where a call begins or may begin. White space before a call belongs to the call."""
        if self._names and not self._form.bare and (not self._begun or self._called):
            unmarked = self._unmarked(final=final)
            if isinstance(unmarked, ToolCall):
                yield unmarked
            if unmarked:
                return
        if self._form.bare and (not self._begun or self._called):
            start = _json_start(self._held)
            self._inside = start.startswith("{")
            if self._inside or not start or _PYTHON_TAG.startswith(start):
                return
        found = self._held.find(self._mark) if self._mark else -1
        if found >= 0:
            end, rest = found, found + len(self._mark)
            self._inside = True
        else:
            end = rest = len(self._held) - (0 if final else _unsure(self._held, self._mark))
        text = self._held[:end].rstrip()
        self._held = self._held[rest if self._inside else len(text) :]
        if text:
            yield text

    def _unmarked(self, *, final: bool) -> ToolCall | bool:
        """Return the call that the held text begins with although nothing marks it; else whether it may be one."""
        text = self._held.lstrip()
        if self._fenced and (final or len(text) >= len(_FENCE)):  # the end of the code block that a call stood in
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
        found = self._understood(item) if item.get("name") in self._names and item.keys() & {*_ARGUMENTS} else None
        if found:
            self._held, self._fenced = data[end:], text.startswith(_FENCE)
        return found or False

    def _calls(self, *, final: bool) -> Iterator[ToolCall]:
        """Read calls once all of their text is there."""
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
                yield invalid(inside)
            return
        for item in data if isinstance(data, list) else [data]:
            yield self._understood(item) or invalid(json.dumps(item, ensure_ascii=False))

    def _understood(self, item: Any) -> ToolCall | None:  # noqa: ANN401 - whatever JSON holds
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            return None
        given: Any = next((item[key] for key in _ARGUMENTS if key in item), {})
        return call(item["name"], given if isinstance(given, str) else json.dumps(given, ensure_ascii=False))


def call(name: str, arguments: str, call_id: str | None = None) -> ToolCall:
    """Make a call of what a model wrote.

    LangChain mends JSON that was cut off, and a tool would then be run with half of its arguments. Arguments that are
    not whole are quoted, so that nothing can take them for arguments.
    """
    arguments = arguments.strip() or "{}"
    try:
        whole = isinstance(json.loads(arguments), dict)
    except ValueError:
        whole = False
    quoted = arguments if whole else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(call_id or f"call_{uuid4().hex[:24]}", name, quoted)


def invalid(text: str) -> ToolCall:
    """Make a call of text that was meant to be one and cannot be understood."""
    name = re.search(r'"name"\s*:\s*"([^"]+)"', text)
    return ToolCall(f"call_{uuid4().hex[:24]}", name[1] if name else "", json.dumps(text.strip(), ensure_ascii=False))


def _moved(schema: Any, place: str) -> Any:  # noqa: ANN401 - a schema, or any part of one
    """Let what refers to its root (`"$ref": "#/$defs/..."`) refer to the place where the schema now stands."""
    if isinstance(schema, list):
        return [_moved(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(item, place) for key, item in schema.items()}
    if isinstance(reference := schema.get("$ref"), str):
        moved["$ref"] = f"{place}{reference.removeprefix('#')}"
    return moved


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _json_start(text: str) -> str:
    """Leave out what may stand before a call, or between two."""
    return text.lstrip("; \n").removeprefix(_PYTHON_TAG).lstrip()


def _unsure(text: str, mark: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a mark."""
    return next((size for size in range(min(len(text), len(mark) - 1), 0, -1) if mark.startswith(text[-size:])), 0)
