"""Answers of a form of their own, tool calls or JSON: one model writes them, by the means that its server has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.replies.call_formats import HERMES
from langchain_spec_thinking.backends.replies.continuation import Payload, Raw, Strategy, parts
from langchain_spec_thinking.backends.replies.tool_prompts import told_schema

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Message, Turn

_REASONED = (
    "Below is your finished private reasoning about this, between <draft> and </draft>. Give the answer that follows "
    "from it{calls}, and nothing else.\n\n<draft>\n{thought}</draft>"
)
_OR_CALLS = ", or make the calls that it comes to"


def answer_payload(turn: Turn, strategy: Strategy, *, native: bool) -> Payload:
    """Say what to send so that one model writes the answer.

    A prompt that is rendered here is gone on with: the chat template tells of the tools, the calls are read out of the
    text. Other servers get tools and schema in the fields that they have for it, with the thought as context.

    Args:
        turn: The turn, its thought finished.
        strategy: How turns are continued there.
        native: The server takes `tools`.
    """
    here = isinstance(strategy, Raw) and turn.schema is None and strategy.template.writes_calls_as_text
    if here or not turn.unanswered or (turn.tools and not native):
        payload = strategy.payload(turn)
        calls = payload.calls or (HERMES if turn.tools and turn.tools.choice != "none" else None)
        by_server = {} if here or not native else _fields(turn)
        return replace(payload, body={**payload.body, **by_server}, calls=calls)
    history = told_schema(turn.history, turn.schema) if turn.schema else turn.history
    messages = [_wire(message) for message in history]
    thought, _, _ = parts(turn)
    if thought.strip():
        # In the last message: some templates insist on user and assistant taking turns.
        reasoned = _REASONED.format(thought=thought, calls=_OR_CALLS if turn.tools else "")
        messages[-1] = {**messages[-1], "content": f"{messages[-1]['content']}\n\n{reasoned}"}
    calls = HERMES if turn.tools and turn.tools.choice != "none" else None  # from servers that have no parser
    return Payload("chat", {"messages": messages, **_fields(turn)}, drops_reasoning=True, calls=calls)


def _fields(turn: Turn) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if turn.tools:
        fields = {"tools": list(turn.tools.schemas), "tool_choice": turn.tools.wire_choice()}
        if turn.tools.parallel is not None:
            fields["parallel_tool_calls"] = turn.tools.parallel
    if turn.schema is not None:
        json_schema = {"type": "json_schema", "json_schema": turn.schema}
        fields["response_format"] = json_schema if turn.schema else {"type": "json_object"}
    return fields


def _wire(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        wire["tool_call_id"] = message.tool_call_id
    return wire
