"""Conversion between LangChain messages and the neutral state of a turn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_spec_thinking.history import in_order_of_calls, without_empty_replies
from langchain_spec_thinking.json_values import json_text
from langchain_spec_thinking.message_text import text_of, unsupported_blocks
from langchain_spec_thinking.policy.commands import EndReason
from langchain_spec_thinking.surrogates import require_whole_characters
from langchain_spec_thinking.tools import ToolCall
from langchain_spec_thinking.turn import Message, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_spec_thinking.turn_events import Delta
    from langchain_spec_thinking.turn_runs import AnyRun

_ROLES: dict[type[BaseMessage], Role] = {
    SystemMessage: "system",
    HumanMessage: "user",
    AIMessage: "assistant",
    ToolMessage: "tool",
}
_CHAT_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_ORDINARY = get_args(EndReason)
"""The finish reasons of an ordinary end. With tool calls, the message says `tool_calls` instead."""
REPLY_FIELDS = "reply_fields"
"""Key of `additional_kwargs` of a message with tool calls: what the server wants back with them."""
_BLOCK_TYPE = "speculative_thinking"
"""Says in `extras` that a reasoning block is our own.

ChatOpenAI copies `extras` into an item of the Responses API, and leaves out items of a type that it does not know. It
would send an item of the type `reasoning`, and the API refuses those whose id OpenAI did not give.
"""


def history_of(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """Convert a conversation to the messages of a turn.

    Of replies, only the text and the tool calls remain, whichever provider's model has written them.
    `unsupported_content` says what a reader may miss.

    Raises:
        ValueError: The conversation is empty, holds content of people or tools other than text, or a text contains half
            a character.
    """
    messages = _with_tool_calls(messages)
    if not messages:
        msg = "messages: expected at least one message, got none"
        raise ValueError(msg)
    names: dict[str | None, str | None] = {}  # of the calls so far, because some models use an id again in each reply
    converted = []
    for message in messages:
        names |= {call["id"]: call["name"] for call in _calls(message)} if isinstance(message, AIMessage) else {}
        converted.append(_message(message, names))
    for number, neutral in enumerate(converted, start=1):
        _require_whole_characters(f"messages: number {number} ({neutral.role})", neutral)
    return without_empty_replies(in_order_of_calls(converted))


def unsupported_content(messages: Sequence[BaseMessage]) -> list[str]:
    """Say what the models do not see of a conversation, although a reader may miss it."""
    words = [
        f"the models read only text, so a block of type {kind!r} in an earlier reply was left out"
        for message in messages
        if not isinstance(message, (FunctionMessage, RemoveMessage)) and _role(message) == "assistant"
        for kind in unsupported_blocks(message)
    ]
    if any(isinstance(message, RemoveMessage) for message in messages):
        words.append(
            "a RemoveMessage was left out, and removed nothing, because only a graph of LangGraph carries it out"
        )
    return words


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
            block["extras"] = {"author": delta.author, "kind": delta.kind, "type": _BLOCK_TYPE}
    return ChatGenerationChunk(message=AIMessageChunk(content=[block]))


def without_reasoning(messages: Iterable[BaseMessage]) -> list[BaseMessage]:
    """Return a conversation without the reasoning of our replies. Their answers and tool calls stay.

    Most chat models send only their own reasoning to their server, so they leave out ours. Some also send ours, for
    example `ChatMistralAI`, and their server refuses the request. Give those the result of this function.

    Args:
        messages: The conversation. Messages of other models are returned as they are.
    """
    return [
        message.model_copy(update={"content": str(message.text)})
        if isinstance(message, AIMessage) and "speculative_thinking" in message.response_metadata
        else message
        for message in messages
    ]


def whole_chunk(deltas: Iterable[Delta], *, thinks: bool) -> ChatGenerationChunk:
    """Convert all committed text of a turn to one chunk. LangChain would take n² steps to merge the chunks of n blocks.

    Args:
        deltas: The committed text.
        thinks: Whether the turn has a thinking part.
    """
    chunks = [chunk_of(delta, thinks=thinks).message for delta in join_blocks(deltas)]
    content: list[Any] = [part for chunk in chunks for part in chunk.content]
    calls = [call for chunk in chunks if isinstance(chunk, AIMessageChunk) for call in chunk.tool_call_chunks]
    message = AIMessageChunk(content=content if thinks else "".join(content), tool_call_chunks=calls)
    return ChatGenerationChunk(message=message)


def last_chunk(run: AnyRun, *, model_name: str, prompt_tokens: int) -> ChatGenerationChunk:
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
            "cost": report.cost,
            "finish_reason": "tool_calls" if run.turn.calls and run.finish_reason in _ORDINARY else run.finish_reason,
            "speculative_thinking": report.as_dict(),
        },
        additional_kwargs=_further_fields(run),
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message, generation_info=None)


def _further_fields(run: AnyRun) -> dict[str, Any]:
    """Return what has no other place in a message. `ChatOpenAI` has a refusal in the same place."""
    fields = {REPLY_FIELDS: run.reply_fields} if run.turn.calls and run.reply_fields else {}
    return fields | ({"refusal": run.refusal} if run.refusal else {})


def join_blocks(deltas: Iterable[Delta]) -> list[Delta]:
    """Join the deltas that belong to the same content block."""
    blocks: dict[int, list[Delta]] = {}
    for delta in deltas:
        blocks.setdefault(delta.block, []).append(delta)
    return [replace(block[0], text="".join(delta.text for delta in block)) for block in blocks.values()]


def _with_tool_calls(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Write the function calls of old threads as tool calls, and leave out messages that are instructions to a graph.

    A function call has no id. Each gets one of nine letters and digits, because some providers refuse other ids.
    """
    converted: list[BaseMessage] = []
    for message in messages:
        if isinstance(message, FunctionMessage):
            answered = _last_call(converted)
            converted.append(ToolMessage(message.content, name=message.name, tool_call_id=answered))
        elif isinstance(message, AIMessage) and not _calls(message) and (called := _function_call(message)):
            call = invalid_tool_call(
                name=called.get("name"), args=called.get("arguments"), id=f"call{len(converted):05}"
            )
            converted.append(message.model_copy(update={"invalid_tool_calls": [call]}))
        elif not isinstance(message, RemoveMessage):
            converted.append(message)
    return converted


def _function_call(message: AIMessage) -> dict[str, Any]:
    """Return the function call of a message in an old thread. Empty: there is none."""
    called = message.additional_kwargs.get("function_call")
    return called if isinstance(called, dict) else {}


def _last_call(messages: Sequence[BaseMessage]) -> str:
    """Return the id of the last tool call, or an empty string if there is none."""
    calls = (call for message in reversed(messages) if isinstance(message, AIMessage) for call in _calls(message))
    return next((call["id"] or "" for call in calls), "")


def _role(message: BaseMessage) -> Role:
    for kind, role in _ROLES.items():
        if isinstance(message, kind):
            return role
    if isinstance(message, ChatMessage) and message.role in _CHAT_ROLES:
        return _CHAT_ROLES[message.role]
    msg = f"messages: expected system, human, AI and tool messages, got {type(message).__name__} ({message.type})"
    raise ValueError(msg)


def _message(message: BaseMessage, names: dict[str | None, str | None]) -> Message:
    role = _role(message)
    text = text_of(message, role)
    if isinstance(message, ToolMessage):
        name = message.name or names.get(message.tool_call_id) or ""
        return Message(role, text, tool_call_id=message.tool_call_id, name=name)
    calls = _calls(message) if isinstance(message, AIMessage) else []
    fields = message.additional_kwargs.get(REPLY_FIELDS)
    return Message(
        role,
        text,
        tuple(ToolCall(call["id"] or "", call["name"] or "", _arguments(call)) for call in calls),
        reasoning=_reasoning(message) if role == "assistant" else "",
        reply_fields=fields if role == "assistant" and isinstance(fields, dict) else {},
    )


def _reasoning(message: BaseMessage) -> str:
    """Return the thought of a message: of a pair, or of another chat model."""
    blocks = message.content if isinstance(message.content, list) else ()
    texts = [b.get("reasoning") or b.get("thinking") for b in blocks if isinstance(b, dict)]
    thought = "".join(text for text in texts if isinstance(text, str))
    return thought or str(message.additional_kwargs.get("reasoning_content") or "")


def _calls(message: AIMessage) -> list[Any]:
    """Return the calls of a message, including invalid ones, because the model must see what it wrote."""
    return [*message.tool_calls, *message.invalid_tool_calls]


def _arguments(call: Any) -> str:  # noqa: ANN401 - LangChain's ToolCall or InvalidToolCall
    arguments = call["args"]
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else json_text("messages: arguments of a tool call", arguments)


def _require_whole_characters(name: str, message: Message) -> None:
    calls = (text for call in message.tool_calls for text in (call.id, call.name, call.arguments))
    fields = json_text(f"{name}: additional_kwargs[{REPLY_FIELDS!r}]", message.reply_fields)
    for text in (message.content, message.tool_call_id, message.name, message.reasoning, fields, *calls):
        require_whole_characters(name, text)
