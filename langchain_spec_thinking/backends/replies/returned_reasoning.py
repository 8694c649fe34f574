"""Reasoning that a model must get back with the messages of a loop of tool calls.

Theory of operation
===================

A model that called a tool reads its own message again, with the result. Some services want the reasoning of this
message back, as text or as data that only they can read (signatures, encrypted reasoning). Two things can go back:

- The shared thought of a message (`Message.reasoning`), which both models wrote. It goes into the field that the
  service documents.
- What the server sent along with the calls (`Message.reply_fields`). It goes back unchanged, to the same model only,
  because no other model can use it.

No other reasoning is sent, because models are trained without the thoughts of earlier turns. Some services want the
shared thoughts of earlier turns with tool calls (`ReturnedReasoning.earlier_loops`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.turn import CLOSING, OPENING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_spec_thinking.turn import Message

CALL_FIELDS = ("extra_content",)
"""Fields of a tool call that go back with it. Gemini and Vertex put their signature there."""
LANGCHAIN_MESSAGE = "langchain_message"
"""The content blocks and further arguments of a message of another chat model class, which knows what to send back."""
MESSAGE_FIELDS = ("reasoning_details",)
"""Fields of a message that go back with it. OpenRouter, MiniMax and Novita send them."""
INLINE = "content"
"""The value of `ReturnedReasoning.field` for services that want the thought between think tags in the content."""


@dataclass(frozen=True, slots=True)
class ReturnedReasoning:
    """The rule of a service.

    Attributes:
        field: The field of a message in which the service wants its reasoning back. Empty: it wants none.
        earlier_loops: Whether it wants the reasoning of earlier turns too, if they contain tool calls.
        required: Whether it refuses a message with tool calls that lacks the field. Such a message without reasoning
            gets an empty text.
    """

    field: str = ""
    earlier_loops: bool = False
    required: bool = False


NOTHING = ReturnedReasoning()


def in_current_tool_loop(history: Sequence[Message]) -> range:
    """Return the positions of the messages after the last message from the user."""
    users = [at for at, message in enumerate(history) if message.role == "user"]
    return range(users[-1] + 1 if users else 0, len(history))


def returned_fields(history: Sequence[Message], rule: ReturnedReasoning, model: str) -> Iterator[dict[str, Any]]:
    """Yield, for each message, the fields to add to it.

    Args:
        history: The conversation.
        rule: The rule of the service.
        model: The model that reads the conversation, as in `Message.reply_fields`.
    """
    running, loops = in_current_tool_loop(history), set(_in_loops(history))
    for at, message in enumerate(history):
        own = message.reply_fields if message.reply_fields.get("model") == model else {}
        fields: dict[str, Any] = {}
        if message.role == "assistant" and at in running and at in loops:
            fields = {name: own[name] for name in (LANGCHAIN_MESSAGE, *MESSAGE_FIELDS) if name in own}
            of_calls = own.get("calls")
            if isinstance(of_calls, dict) and all(isinstance(extra, dict) for extra in of_calls.values()):
                fields["tool_calls"] = of_calls
        if message.role == "assistant" and at in loops and (at in running or rule.earlier_loops):
            fields |= _reasoning(message, rule, own)
        yield fields


def add_returned(wire: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Return a message with further fields. Fields of calls are added to the calls with these ids."""
    more = dict(fields)
    of_calls = more.pop("tool_calls", {})
    calls = [{**call, **of_calls.get(call["id"], {})} for call in wire.get("tool_calls", ())]
    return {**wire, **more, **({"tool_calls": calls} if calls else {})}


def _reasoning(message: Message, rule: ReturnedReasoning, own: dict[str, Any]) -> dict[str, Any]:
    reasoning = own.get("reasoning_content") or message.reasoning
    if rule.required and message.tool_calls:
        return {rule.field: reasoning}
    if not (rule.field and reasoning) or any(name in own for name in MESSAGE_FIELDS):
        return {}
    return {rule.field: f"{OPENING}{reasoning}{CLOSING}{message.content}" if rule.field == INLINE else reasoning}


def _in_loops(history: Sequence[Message]) -> Iterator[int]:
    """Yield the positions of the messages of all turns that contain tool calls."""
    start = 0
    for end in range(len(history) + 1):
        if end == len(history) or history[end].role == "user":
            if any(message.tool_calls for message in history[start:end]):
                yield from range(start, end)
            start = end
