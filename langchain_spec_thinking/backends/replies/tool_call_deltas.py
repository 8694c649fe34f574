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
"""Most characters of the id, the name and the arguments of one call."""
CALLS_MAX = 1000
"""Most calls of one reply. Each one takes memory, also if it is empty."""


@dataclass
class _CallParts:
    call_id: str = ""
    name: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    characters: int = 0

    def add(self, call_id: str, name: str, arguments: str) -> None:
        """Add a fragment. Empty texts are not kept, because a server may send any number of them."""
        self.call_id = self.call_id or call_id
        self.name += [name] if name else []
        self.arguments += [arguments] if arguments else []
        self.characters += len(call_id) + len(name) + len(arguments)


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
            TypeError: A field has another type.
            OversizedReplyError: The call is too long, or there are too many calls.
        """
        if not isinstance(index, int | str | None):
            msg = f"index: expected a number, got {index!r}"
            raise TypeError(msg)
        for text in (call_id, name, arguments):
            if not isinstance(text, str | None):
                msg = f"tool_calls: expected text, got {text!r}"
                raise TypeError(msg)
        parts = self._calls.setdefault(f"{len(self._calls)} whole" if index is None else index, _CallParts())
        parts.add(call_id or "", name or "", arguments or "")
        if parts.characters > ARGUMENTS_CHARACTERS_MAX:
            what = "a tool call"
            raise OversizedReplyError(what, f"{ARGUMENTS_CHARACTERS_MAX:,} characters")
        if len(self._calls) > CALLS_MAX:
            what = "the list of tool calls in a reply"
            raise OversizedReplyError(what, f"{CALLS_MAX:,} calls")

    def drop_incomplete(self) -> None:
        """Drop the last call, because the stream was closed within it."""
        if self._calls:
            self._calls.popitem()

    def finished_calls(self) -> Iterator[ToolCall]:
        """Yield the calls in order."""
        for parts in self._calls.values():
            name, arguments = "".join(parts.name), "".join(parts.arguments)
            if name or arguments:
                yield make_call(name, arguments, parts.call_id or None)
