"""The text of messages, whichever provider's chat model has written them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from langchain_spec_thinking.backends.replies.lone_closing_tag import LoneClosingTag
from langchain_spec_thinking.turn import THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import BaseMessage

    from langchain_spec_thinking.turn import Role

_TEXTS: Final = {"text", "text-plain", "input_text", "output_text"}
"""Types of blocks whose field `text` is their text."""
_REPLY_TEXTS: Final = {"refusal": "refusal", "compaction": "content", "audio": "transcript"}
"""Further blocks of replies that hold text, and the field of the text."""
_THOUGHTS: Final = {"reasoning", "thinking", "redacted_thinking", "reasoning_content"}
"""Blocks that models do not see again, because reasoning models are trained without their old thoughts."""
_CALLS: Final = {"tool_call", "tool_use", "function_call", "invalid_tool_call", "tool_call_chunk"}
"""Blocks whose content is also in the message's `tool_calls`."""
_INTERNAL: Final = {
    *("executable_code", "mcp_list_tools", "mcp_approval_request", "tool_reference", "reference"),
    *("function_call_signature", "thought_signature", "compaction"),
}
_INTERNAL_ENDINGS: Final = ("_call", "_call_chunk", "_use", "_result", "_output")
"""Blocks of a provider's own tools, caches and signatures, by type or by the end of the type. The text of the reply
says what came of them."""
_VISIBLE: Final = {"image_generation_call"}
"""Blocks that a reader sees, although their type looks like one of a provider's own tools."""

_THOUGHT = re.compile(
    rf"(?:\s*{THINK_OPEN}(?:(?![ \t]+[a-z]).*?(?:{THINK_CLOSE}|\Z)"
    rf"|.*?(?:\n[ \t]*{THINK_CLOSE}[ \t]*(?:\n|\Z)|{THINK_CLOSE}[ \t]*\n[ \t]*\n)))+\s*",
    re.DOTALL,
)
"""One thought or more. A tag that a sentence continues is no opening tag: the reply is an answer about tags. But if a
closing tag is alone in its line, or a blank line follows it, the text before it was a thought."""


def text_of(message: BaseMessage, role: Role) -> str:
    """Return the text that the models see of a message.

    Args:
        message: The message.
        role: The role of its author. Everybody but the assistant may send only text.

    Raises:
        ValueError: A message of another role holds something other than text.
    """
    text = message.content
    if not isinstance(text, str):
        text = "".join(_block_text(block, message.type, role) for block in message.content)
    if role != "assistant":
        return text
    text = text or _text_beside_content(message)
    return text if _thought_is_separate(message) else without_thought(text)


def unsupported_blocks(message: BaseMessage) -> Iterator[str]:
    """Yield the type of each block of a reply that is left out although a reader sees it, for example an image."""
    for block in message.content:
        if isinstance(block, dict) and _reply_text(found := _unwrapped(block)) is None and not _is_internal(found):
            yield _type(found) or "unknown"


def without_thought(text: str) -> str:
    """Return a reply without the thought that its model wrote between think tags.

    The opening tag may be missing, because many chat templates end with it. Tags in the middle of an answer stay: it
    may be an answer about tags.
    """
    if opened := _THOUGHT.match(text):
        return text[opened.end() :]
    tag = LoneClosingTag()
    _, found = tag.take(text, final=True)
    return tag.held.lstrip() if found else text


def _block_text(block: str | dict[str, Any], message_type: str, role: Role) -> str:
    if isinstance(block, str):
        return block
    block = _unwrapped(block)
    if role == "assistant" or _is_cache_point(block):
        return _reply_text(block) or ""
    kind, text = _type(block), block.get("text")
    if kind in _TEXTS or (not kind and isinstance(text, str)):  # Amazon's blocks have no type
        return "" if text is None else str(text)
    if kind in _THOUGHTS | _CALLS:
        return ""
    msg = f"messages: expected text, got a block of type {block.get('type')!r} in a {message_type} message"
    raise ValueError(msg)


def _type(block: dict[str, Any]) -> str:
    kind = block.get("type")
    return kind if isinstance(kind, str) else ""


def _unwrapped(block: dict[str, Any]) -> dict[str, Any]:
    """Return the provider's own block that LangChain has put into a block of type `non_standard`."""
    inner = block.get("value") if _type(block) == "non_standard" else None
    return inner if isinstance(inner, dict) else block


def _reply_text(block: dict[str, Any]) -> str | None:
    """Return the text of a block of a reply. None: the block holds no text."""
    kind = _type(block)
    if kind in _THOUGHTS | _CALLS:
        return None
    text = block.get(_REPLY_TEXTS.get(kind, "text"))
    return text if isinstance(text, str) else None


def _is_internal(block: dict[str, Any]) -> bool:
    """Return whether a block holds only data of the provider, which a reader does not see."""
    kind = _type(block)
    known = (
        _is_cache_point(block) or kind in _TEXTS | _THOUGHTS | _CALLS | _INTERNAL or kind.endswith(_INTERNAL_ENDINGS)
    )
    return known and kind not in _VISIBLE


def _is_cache_point(block: dict[str, Any]) -> bool:
    """Return whether a block is a mark of Amazon for its prompt cache. Such a block has no type and no text."""
    return block.keys() == {"cachePoint"}


def _thought_is_separate(message: BaseMessage) -> bool:
    """Return whether a reply is one of ours, or has its thought outside its text. Tags in its text are an answer."""
    fields = ("speculative_thinking" in message.response_metadata, message.additional_kwargs.get("reasoning_content"))
    blocks = message.content if isinstance(message.content, list) else ()
    return any(fields) or any(_type(_unwrapped(block)) in _THOUGHTS for block in blocks if isinstance(block, dict))


def _text_beside_content(message: BaseMessage) -> str:
    """Return the text of a reply that is not in its content: a refusal, or what a voice said."""
    extra = message.additional_kwargs
    audio = extra.get("audio")
    spoken = audio.get("transcript") if isinstance(audio, dict) else None
    return next((text for text in (extra.get("refusal"), spoken) if isinstance(text, str)), "")
