"""Tool calls that a server streams in a field of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.call_formats import call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_spec_thinking.tools import ToolCall


@dataclass
class _Parts:
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class NativeCalls:
    """Joins the fragments of calls. A call is given out when it is whole: none is acted on that broke off."""

    def __init__(self) -> None:
        self._calls: dict[int, _Parts] = {}

    def add(self, fragments: Iterable[Any]) -> None:
        """Take in fragments, as the SDK or LangChain reads them.

        Raises:
            TypeError: There is no text where text should be.
        """
        for fragment in fragments:
            function = fragment.function
            index = getattr(fragment, "index", None)
            # Some servers number nothing and send each call whole.
            parts = self._calls.setdefault(len(self._calls) if index is None else index, _Parts())
            parts.call_id = parts.call_id or getattr(fragment, "id", None) or ""
            parts.name += getattr(function, "name", None) or ""
            parts.arguments += getattr(function, "arguments", None) or ""

    def made(self) -> Iterator[ToolCall]:
        """Yield the calls, in order."""
        for parts in self._calls.values():
            yield call(parts.name, parts.arguments, parts.call_id or None)
