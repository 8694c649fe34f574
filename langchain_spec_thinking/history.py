"""Repairs of a conversation that servers or models would misread."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_spec_thinking.turn import Message


def in_order_of_calls(history: Iterable[Message]) -> tuple[Message, ...]:
    """Put the results of tools into the order of their calls.

    Tools that run at the same time may return in another order. Most chat templates show no ids, so that a model takes
    the first result for that of the first call.
    """
    ordered: list[Message] = []
    places: dict[str, int] = {}  # of the calls in the last message that is not a result
    results: list[Message] = []
    for message in history:
        if message.role == "tool":
            results.append(message)
            continue
        ordered += _sorted(results, places)
        results = []
        ordered.append(message)
        places = {call.id: place for place, call in enumerate(message.tool_calls)}
    return (*ordered, *_sorted(results, places))


def without_empty_replies(history: Sequence[Message]) -> tuple[Message, ...]:
    """Leave out replies without text and calls, which most servers refuse.

    The messages of the user before and after such a reply become one, because some chat templates require user and
    assistant to alternate. If the conversation has nothing else, it stays as it is.
    """
    kept: list[Message] = []
    left_out = False
    for message in history:
        if message.role == "assistant" and not (message.content.strip() or message.tool_calls):
            left_out = True
            continue
        if left_out and kept and (kept[-1].role, message.role) == ("user", "user"):
            message = replace(message, content=f"{kept.pop().content}\n\n{message.content}")  # noqa: PLW2901
        kept.append(message)
        left_out = False
    return tuple(kept) or tuple(history)


def _sorted(results: list[Message], places: dict[str, int]) -> list[Message]:
    return sorted(results, key=lambda result: places.get(result.tool_call_id, len(places)))
