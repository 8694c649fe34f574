"""Tools told in plain messages, for templates and requests that know of none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.tools import Tools, call_text
from langchain_spec_thinking.turn import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOW = (
    "To call one, write a JSON object with its name and arguments between tags, and nothing after it:\n"
    '<tool_call>\n{"name": "the function", "arguments": {"an argument": "its value"}}\n</tool_call>'
)
_LATER = "They can be called once the reasoning has come to its end, not in it."


def told(history: Sequence[Message], tools: Tools | None, *, now: bool) -> tuple[Message, ...]:
    """Rewrite a conversation with tools as one without.

    Args:
        history: The conversation.
        tools: What may be called.
        now: They may be called in what comes next, as text; otherwise later, in another way.
    """
    messages: list[Message] = []
    for message in history:
        if message.role == "tool":
            result = f"<tool_response>\n{message.content}\n</tool_response>"
            if messages and messages[-1].name == "tool":  # many templates want user and assistant to take turns
                result = f"{messages.pop().content}\n{result}"
            messages.append(Message("user", result, name="tool"))
        elif message.tool_calls:
            calls = call_text(message.tool_calls)
            messages.append(Message("assistant", f"{message.content}\n{calls}".lstrip()))
        else:
            messages.append(message)
    if tools is None or tools.choice == "none":
        return tuple(messages)
    told_of = f"{tools.described()}\n\n{_HOW if now else _LATER}"
    if messages and messages[0].role == "system":
        first = messages.pop(0)
        told_of = f"{first.content}\n\n{told_of}"
    return Message("system", told_of), *messages
