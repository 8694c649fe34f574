"""Requests for structured answers, which are tool calls or JSON. One model writes such an answer completely."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.replies.answer_plan import plan_reading
from langchain_spec_thinking.backends.replies.call_formats import DEFAULT_FORMAT
from langchain_spec_thinking.backends.replies.continuation import Payload, Raw, Strategy, parts
from langchain_spec_thinking.backends.replies.returned_reasoning import (
    NOTHING,
    ReturnedReasoning,
    add_returned,
    returned_fields,
)
from langchain_spec_thinking.backends.replies.tool_prompts import with_schema_prompt

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Message, Turn

_WITH_THOUGHT = (
    "Below is your finished private reasoning about this, between <draft> and </draft>. Give the answer that follows "
    "from it{calls}, and nothing else.\n\n<draft>\n{thought}</draft>"
)
_OR_CALLS = ", or make the calls that it comes to"


def answer_payload(
    turn: Turn, strategy: Strategy, *, native: bool, returned: ReturnedReasoning = NOTHING, model: str = ""
) -> Payload:
    """Return what to send so that one model writes the answer.

    If the prompt is rendered here, the model continues the turn: the chat template describes the tools, and the calls
    are read from the text. Otherwise the request has the tools and the schema in their own fields, and the thought is
    context.

    Args:
        turn: The turn. Its thought is finished.
        strategy: How turns are continued on the server.
        native: Whether the server accepts `tools`.
        returned: Which reasoning of earlier messages the server wants back.
        model: The model on its server, as in `Message.reply_fields`.
    """
    rendered_here = isinstance(strategy, Raw) and turn.schema is None and strategy.template.writes_calls_as_text
    if rendered_here or not turn.answer_is_empty or (turn.tools and not native):
        payload = strategy.payload(turn)
        plan = payload.plan if payload.plan.call_format else plan_reading(turn, DEFAULT_FORMAT)
        by_server = {} if rendered_here or not native else _fields(turn)
        return replace(payload, body={**payload.body, **by_server}, plan=plan)
    history = with_schema_prompt(turn.history, turn.schema) if turn.schema else turn.history
    more = returned_fields(history, returned, model)
    messages = [add_returned(_to_wire(message), fields) for message, fields in zip(history, more, strict=True)]
    thought, _, _ = parts(turn)
    if thought.strip():
        # In the last message, because some templates require user and assistant messages to alternate.
        with_thought = _WITH_THOUGHT.format(thought=thought, calls=_OR_CALLS if turn.tools else "")
        content = messages[-1]["content"]  # None if the message only has calls
        messages[-1] = {**messages[-1], "content": f"{content}\n\n{with_thought}" if content else with_thought}
    # Some servers have no parser for calls, and leave the calls in the text.
    payload = Payload("chat", {"messages": messages, **_fields(turn)}, drops_reasoning=turn.is_begun)
    if not isinstance(strategy, Raw):
        return replace(payload, plan=plan_reading(turn, DEFAULT_FORMAT))
    template = strategy.template
    plan = plan_reading(turn, template.call_format)
    return replace(payload, plan=plan, thoughts=template.thoughts, opens_thought=template.opens_thought(turn))


def _fields(turn: Turn) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if turn.tools:
        fields = {"tools": list(turn.tools.schemas), "tool_choice": turn.tools.openai_choice()}
        if turn.tools.parallel is not None:
            fields["parallel_tool_calls"] = turn.tools.parallel
    if turn.schema is not None:
        json_schema = {"type": "json_schema", "json_schema": turn.schema}
        fields["response_format"] = json_schema if turn.schema else {"type": "json_object"}
    return fields


def _to_wire(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        wire["content"] = message.content or None  # gateways to Anthropic make an empty block of "", which is refused
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        wire["tool_call_id"] = message.tool_call_id
    return wire
