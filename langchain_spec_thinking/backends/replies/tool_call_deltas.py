"""Tool calls that a server streams in a separate field."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.replies.call_parser import make_call
from langchain_spec_thinking.backends.replies.waiting import WaitForJsonEnd
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
    position: int
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    characters: int = 0
    whole: bool = False  # the arguments are a whole JSON object
    _wait: WaitForJsonEnd = field(default_factory=WaitForJsonEnd)

    def add(self, call_id: str, name: str, arguments: str) -> str:
        """Add a fragment, and return its text that is new. Empty texts are not kept, because there may be many."""
        self.call_id = self.call_id or call_id
        self.characters += len(call_id) + len(name) + len(arguments)
        # Some servers send the name in pieces before the arguments. Others repeat it in each fragment.
        new_name = name if not self.name or (name != self.name and not self.arguments) else ""
        self.name += new_name
        if arguments:
            self.arguments.append(arguments)
            self.whole = self.whole or self._wait.arrives(arguments)
        return new_name + arguments


class ToolCallDeltas:
    """Joins the fragments of calls.

    Servers number the fragments of a call by an index, by an id, by both or by neither. So a fragment belongs to the
    last call with its index, or else to the call with its id, or else to the last call. It opens a call in these cases:

    - There is no such call.
    - It has a new id, and a name or no arguments. A new id with only arguments belongs to the call: some servers send
      another id with each piece of the arguments.
    - The arguments of that call are complete, and the fragment has a name, with arguments or other than that call's.
    - It has another name than that call, and no index.

    The calls are returned only when the stream is complete, so that no partial call is run.

    Attributes:
        position: The position of the call to which the last fragment belongs.
    """

    def __init__(self) -> None:
        self.position = 0
        self._calls: list[_CallParts] = []
        self._by_index: dict[int | str, _CallParts] = {}
        self._by_id: dict[str, _CallParts] = {}
        self._empty = 0  # number of fragments that brought nothing and have no index

    def add(self, index: int | str | None, call_id: str | None, name: str | None, arguments: object) -> str:
        """Add a fragment.

        Args:
            index: The call's index.
            call_id: The call's id.
            name: The tool's name, or a piece of it.
            arguments: A piece of the arguments as text, or the whole arguments as an object.

        Returns:
            What the fragment adds to the name and the arguments of its call.

        Raises:
            TypeError: A field has another type.
            OversizedReplyError: The call is too long, or there are too many calls.
        """
        if not isinstance(index, int | str | None):
            msg = f"index: expected a number, got {index!r}"
            raise TypeError(msg)
        if isinstance(arguments, dict):
            arguments = json.dumps(arguments, ensure_ascii=False)
        for text in (call_id, name, arguments):
            if not isinstance(text, str | None):
                msg = f"tool_calls: expected text, got {text!r}"
                raise TypeError(msg)
        call_id, name, arguments = call_id or "", name or "", str(arguments or "")
        parts = self._parts_of(index, call_id)
        if parts is None or _opens_call(parts, call_id, name, arguments, numbered=index is not None):
            parts = self._open(index, call_id)
        self.position = parts.position
        new = parts.add(call_id, name, arguments)
        if parts.characters > ARGUMENTS_CHARACTERS_MAX:
            what = "a tool call"
            raise OversizedReplyError(what, f"{ARGUMENTS_CHARACTERS_MAX:,} characters")
        self._empty += not new and index is None
        if max(len(self._calls), self._empty) > CALLS_MAX:
            what = "the list of tool calls in a reply"
            raise OversizedReplyError(what, f"{CALLS_MAX:,} calls")
        return new

    def drop_incomplete(self) -> None:
        """Drop the last call, because the stream was closed within it."""
        del self._calls[-1:]

    def finished_calls(self) -> Iterator[ToolCall]:
        """Yield the calls in order. If two calls have one id, the second one gets another, so that results match."""
        for _, call in self.finished():
            yield call

    def finished(self) -> Iterator[tuple[int, ToolCall]]:
        """Yield the calls as `finished_calls` does, each with its position."""
        seen = {""}
        for parts in self._calls:
            if parts.name or parts.arguments:
                call_id = None if parts.call_id in seen else parts.call_id
                yield parts.position, make_call(parts.name, "".join(parts.arguments), call_id)
                seen.add(parts.call_id)

    def _parts_of(self, index: int | str | None, call_id: str) -> _CallParts | None:
        if index is not None:
            return self._by_index.get(index)
        return self._by_id.get(call_id) or (self._calls[-1] if self._calls else None)

    def _open(self, index: int | str | None, call_id: str) -> _CallParts:
        parts = _CallParts(len(self._calls))
        self._calls.append(parts)
        if index is not None:
            self._by_index[index] = parts
        if call_id:
            self._by_id[call_id] = parts
        return parts


def _opens_call(parts: _CallParts, call_id: str, name: str, arguments: str, *, numbered: bool) -> bool:
    """Return whether a fragment is the first one of a call, although it could belong to an earlier call.

    Args:
        parts: The earlier call.
        call_id: The id of the fragment.
        name: Its name.
        arguments: Its arguments.
        numbered: Whether it has the index of the earlier call.
    """
    if call_id and parts.call_id and call_id != parts.call_id:
        return bool(name) or not arguments  # some servers send another id with each piece of the arguments
    if parts.whole and name and (arguments.strip() or parts.name not in {"", name}):
        return True
    return bool(name and parts.name) and name != parts.name and not numbered
