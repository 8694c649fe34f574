"""What a server sends along with tool calls, and wants back with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.openai.fields import field
from langchain_spec_thinking.backends.replies.returned_reasoning import CALL_FIELDS, MESSAGE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_spec_thinking.tools import ToolCall

_JOINED = ("text", "summary", "data")
"""Fields of a part whose texts are joined if the part comes in several events."""
_CHARACTERS_MAX = 1_000_000
"""Most characters that are kept of a reply. Beyond that, nothing is kept. An incomplete signature cannot be used."""


class ReplyFieldsReader:
    """Collects the reasoning and the signatures of a reply.

    Args:
        keeps_reasoning: Whether the reasoning of the reply belongs to no turn, so that it would be lost.
    """

    def __init__(self, *, keeps_reasoning: bool) -> None:
        self._keeps_reasoning = keeps_reasoning
        self._reasoning: list[str] = []
        self._parts: dict[str, list[dict[str, Any]]] = {}
        self._calls: dict[int, dict[str, Any]] = {}  # by position
        self._characters = 0

    def read(self, delta: object, reasoning: str) -> None:
        """Read the delta of an event, whose reasoning is known already."""
        if self._keeps_reasoning and reasoning:
            self._add_characters(reasoning)
            self._reasoning.append(reasoning)
        for name in MESSAGE_FIELDS:
            for part in _dicts(field(delta, name)):
                self._add_characters(str(part))
                self._add_part(self._parts.setdefault(name, []), part)

    def read_call(self, fragment: object, position: int) -> None:
        """Read a fragment of a call.

        Args:
            fragment: The fragment.
            position: The position of its call in the reply.
        """
        for name in CALL_FIELDS:
            if isinstance(value := field(fragment, name), dict):
                self._add_characters(str(value))
                self._calls.setdefault(position, {})[name] = value

    def fields(self, calls: Mapping[int, ToolCall]) -> dict[str, Any]:
        """Return what goes back with these calls. Nothing without calls: then no loop runs.

        Args:
            calls: The calls by position. Their ids may differ from those of the server.
        """
        if not calls or self._characters > _CHARACTERS_MAX:
            return {}
        of_calls = {calls[position].id: value for position, value in self._calls.items() if position in calls}
        reasoning = {"reasoning_content": "".join(self._reasoning)} if self._reasoning else {}
        return {**reasoning, **self._parts, **({"calls": of_calls} if of_calls else {})}

    def _add_characters(self, text: str) -> None:
        self._characters += len(text)

    @staticmethod
    def _add_part(parts: list[dict[str, Any]], part: dict[str, Any]) -> None:
        """Add a part, or join it with the last one if it is the rest of it."""
        last = parts[-1] if parts else {}
        same = last and all(last.get(name) == part.get(name) for name in ("index", "type")) and "index" in part
        if not same:
            parts.append(dict(part))
            return
        for name, value in part.items():
            joined = name in _JOINED and isinstance(value, str) and isinstance(last.get(name), str)
            if value is not None:
                last[name] = f"{last[name]}{value}" if joined else value


def _dicts(values: object) -> Iterator[dict[str, Any]]:
    for value in values if isinstance(values, list) else ():
        if isinstance(value, dict):
            yield value
