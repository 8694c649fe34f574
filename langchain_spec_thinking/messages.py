"""Conversion between LangChain messages and the neutral state of a turn."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_spec_thinking.json_values import json_text
from langchain_spec_thinking.surrogates import require_whole_characters
from langchain_spec_thinking.tools import ToolCall
from langchain_spec_thinking.turn import Message, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_spec_thinking.run import Run
    from langchain_spec_thinking.turn_events import Delta

_ROLES: dict[type[BaseMessage], Role] = {
    SystemMessage: "system",
    HumanMessage: "user",
    AIMessage: "assistant",
    ToolMessage: "tool",
}
_CHAT_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_LEFT_OUT_BLOCKS = {"reasoning", "thinking", "redacted_thinking", "reasoning_content"}
"""Block types of past turns that models do not see again. Reasoning models are trained without their old thoughts."""
_CALL_BLOCKS = {"tool_call", "tool_use", "function_call", "invalid_tool_call"}
"""Block types whose content is also in the message's `tool_calls`."""


def history_of(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """Convert a conversation to the messages of a turn.

    Raises:
        ValueError: The conversation is empty, holds content other than text, or a text contains half a character.
    """
    if not messages:
        msg = "messages: expected at least one message, got none"
        raise ValueError(msg)
    names = {
        call["id"]: call["name"] for message in messages if isinstance(message, AIMessage) for call in _calls(message)
    }
    converted = tuple(_message(message, names) for message in messages)
    for number, message in enumerate(converted, start=1):
        _require_whole_characters(f"messages: number {number} ({message.role})", message)
    return converted


def chunk_of(delta: Delta, *, thinks: bool) -> ChatGenerationChunk:
    """Convert committed text to a chunk.

    A turn with a thought has one reasoning block for each stretch of thought by one author, and one text block for the
    answer. A turn without a thought is plain text. Only the first chunk of a block names the author, because LangChain
    merges chunks by joining their strings.

    Args:
        delta: The committed text.
        thinks: Whether the turn has a thinking part.
    """
    if delta.call:
        call = delta.call
        chunk = tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=delta.block)
        return ChatGenerationChunk(message=AIMessageChunk(content=[] if thinks else "", tool_call_chunks=[chunk]))
    if not thinks:
        return ChatGenerationChunk(message=AIMessageChunk(content=delta.text))
    if delta.channel == "answer":
        block: dict[str, Any] = {"type": "text", "text": delta.text, "index": delta.block}
    else:
        block = {"type": "reasoning", "reasoning": delta.text, "index": delta.block}
        if delta.first:
            block["extras"] = {"author": delta.author, "kind": delta.kind}
    return ChatGenerationChunk(message=AIMessageChunk(content=[block]))


def last_chunk(run: Run, *, model_name: str, prompt_tokens: int) -> ChatGenerationChunk:
    """Return the chunk that holds what is known only at the end: the usage, the finish reason and the report.

    Args:
        run: The finished turn.
        model_name: Name of the pair.
        prompt_tokens: Tokens of the conversation.
    """
    report = run.report
    reasoning = sum(s.tokens for s in report.segments if s.channel == "thinking")
    usage = UsageMetadata(
        input_tokens=prompt_tokens,
        output_tokens=report.completion_tokens,
        total_tokens=prompt_tokens + report.completion_tokens,
        output_token_details=OutputTokenDetails(reasoning=reasoning),
    )
    message = AIMessageChunk(
        content=[] if run.turn.thinks else "",
        usage_metadata=usage,
        response_metadata={
            "model_name": model_name,
            "model_provider": "spec-thinking",
            "finish_reason": "tool_calls" if run.turn.calls else run.finish_reason,
            "speculative_thinking": report.as_dict(),
        },
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message, generation_info=None)


def join_blocks(deltas: Iterable[Delta]) -> list[Delta]:
    """Join neighbouring deltas that belong to the same content block."""
    return [
        replace(group[0], text="".join(delta.text for delta in group))
        for _, deltas_of_block in groupby(deltas, key=lambda delta: delta.block)
        if (group := list(deltas_of_block))
    ]


def _role(message: BaseMessage) -> Role:
    for kind, role in _ROLES.items():
        if isinstance(message, kind):
            return role
    if isinstance(message, ChatMessage) and message.role in _CHAT_ROLES:
        return _CHAT_ROLES[message.role]
    msg = f"messages: expected system, human, AI and tool messages, got {type(message).__name__} ({message.type})"
    raise ValueError(msg)


def _message(message: BaseMessage, names: dict[str | None, str | None]) -> Message:
    role, text = _role(message), _text(message)
    if isinstance(message, ToolMessage):
        name = message.name or names.get(message.tool_call_id) or ""
        return Message(role, text, tool_call_id=message.tool_call_id, name=name)
    calls = _calls(message) if isinstance(message, AIMessage) else []
    return Message(
        role, text, tuple(ToolCall(call["id"] or "", call["name"] or "", _arguments(call)) for call in calls)
    )


def _calls(message: AIMessage) -> list[Any]:
    """Return the calls of a message, including invalid ones, because the model must see what it wrote."""
    return [*message.tool_calls, *message.invalid_tool_calls]


def _arguments(call: Any) -> str:  # noqa: ANN401 - LangChain's ToolCall or InvalidToolCall
    arguments = call["args"]
    return arguments if isinstance(arguments, str) else json_text("messages: arguments of a tool call", arguments)


def _require_whole_characters(name: str, message: Message) -> None:
    calls = (text for call in message.tool_calls for text in (call.id, call.name, call.arguments))
    for text in (message.content, message.tool_call_id, message.name, *calls):
        require_whole_characters(name, text)


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = []
    for block in message.content:
        if isinstance(block, str):
            parts.append(block)
        elif block.get("type") == "text":
            parts.append(str(block["text"]))
        elif block.get("type") not in _LEFT_OUT_BLOCKS | _CALL_BLOCKS:
            msg = f"messages: expected text, got a block of type {block.get('type')!r} in a {message.type} message"
            raise ValueError(msg)
    return "".join(parts)
