"""Describes tools in plain messages, for chat templates and requests without support for tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.replies.call_formats import DEFAULT_FORMAT
from langchain_spec_thinking.turn import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.backends.replies.call_format import CallFormat
    from langchain_spec_thinking.tools import Tools

_CALL_LATER = "They can be called once the reasoning has come to its end, not in it."


def with_schema_prompt(history: Sequence[Message], schema: dict[str, Any]) -> tuple[Message, ...]:
    """Add to the conversation that the answer must satisfy a JSON schema."""
    form = json.dumps(schema.get("schema", schema), ensure_ascii=False)
    return _add_to_system(history, f"Answer with JSON that satisfies this schema, and with nothing else:\n{form}")


def with_tool_prompt(
    history: Sequence[Message], tools: Tools | None, *, now: bool, call_format: CallFormat = DEFAULT_FORMAT
) -> tuple[Message, ...]:
    """Rewrite a conversation with tools as a conversation without tools.

    Args:
        history: The conversation.
        tools: The tools that may be called.
        now: Whether the next text may contain calls. If not, the tools are called later, in another way.
        call_format: The format in which calls are written.
    """
    messages: list[Message] = []
    for message in history:
        if message.role == "tool":
            result = f"<tool_response>\n{message.content}\n</tool_response>"
            if messages and messages[-1].name == "tool":  # many templates require user and assistant to alternate
                result = f"{messages.pop().content}\n{result}"
            messages.append(Message("user", result, name="tool"))
        elif message.tool_calls:
            calls = call_format.write(message.tool_calls)
            messages.append(Message("assistant", f"{message.content}\n{calls}".lstrip()))
        else:
            messages.append(message)
    if tools is None or tools.choice == "none":
        return tuple(messages)
    tool_prompt = f"{tools.as_prompt_text()}\n\n{call_format.as_prompt_text() if now else _CALL_LATER}"
    return _add_to_system(messages, tool_prompt)


def _add_to_system(history: Sequence[Message], text: str) -> tuple[Message, ...]:
    """Add text to the system message."""
    if history and history[0].role == "system":
        return Message("system", f"{history[0].content}\n\n{text}"), *history[1:]
    return Message("system", text), *history
