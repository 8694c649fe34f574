"""Tool calls that a server streams in a separate field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.replies.call_parser import make_call
from langchain_spec_thinking.errors import OversizedReplyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_spec_thinking.tools import ToolCall

ARGUMENTS_CHARACTERS_MAX = 1_000_000
"""Most characters of the name and the arguments of one call."""


@dataclass
class _CallParts:
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    characters: int = 0


class ToolCallDeltas:
    """Joins the fragments of calls.

    The calls are returned only when the stream is complete, so that no partial call is run.
    """

    def __init__(self) -> None:
        self._calls: dict[int | str, _CallParts] = {}

    def add(self, index: int | str | None, call_id: str | None, name: str | None, arguments: str | None) -> None:
        """Add a fragment.

        Args:
            index: The call's index. Servers that send no index send each call whole.
            call_id: The call's id, which one of its fragments contains.
            name: A piece of the tool's name.
            arguments: A piece of the arguments.

        Raises:
            TypeError: A field that should contain text has another type.
            OversizedReplyError: The call is too long.
        """
        parts = self._calls.setdefault(f"{len(self._calls)} whole" if index is None else index, _CallParts())
        parts.call_id = parts.call_id or call_id or ""
        parts.name += name or ""
        parts.arguments.append("" + (arguments or ""))
        parts.characters += len(name or "") + len(arguments or "")
        if parts.characters > ARGUMENTS_CHARACTERS_MAX:
            what = "a tool call"
            raise OversizedReplyError(what, f"{ARGUMENTS_CHARACTERS_MAX:,} characters")

    def drop_incomplete(self) -> None:
        """Drop the last call, because the stream was closed within it."""
        if self._calls:
            self._calls.popitem()

    def finished_calls(self) -> Iterator[ToolCall]:
        """Yield the calls in order."""
        for parts in self._calls.values():
            yield make_call(parts.name, "".join(parts.arguments), parts.call_id or None)
