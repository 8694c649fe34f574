"""The reasoning and the text in the content of a message. Each vendor puts the reasoning in another place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEXT_TYPES = {"text", "output_text"}
_REFUSAL_TYPE = "refusal"
_REASONING_TYPES = {"thinking", "reasoning", "reasoning_content", "reasoning_text", "summary_text"}
_REASONING_FIELDS = ("text", "thinking", "reasoning", "reasoning_content", "content", "summary")
"""Where an object holds its reasoning, in this order: Mistral and Anthropic, LangChain, Bedrock, OpenAI, Databricks."""
_WITHOUT_TEXT = {"redacted_thinking", "signature", "thinking_signature", "reasoning.encrypted"}
_CALL_TYPES = {
    "tool_use",
    "tool_call",
    "tool_call_chunk",
    "invalid_tool_call",
    "input_json_delta",
    "function_call",
    "custom_tool_call",
}
"""Types of parts whose calls the message has in another field."""


class MessageParts(NamedTuple):
    """What a message or a delta contains.

    Attributes:
        reasoning: The reasoning.
        text: The text of the answer.
        unknown: The types of the other parts, which cannot be shown.
        refusal: The words with which the model refuses to answer.
    """

    reasoning: str
    text: str
    unknown: tuple[str, ...] = ()
    refusal: str = ""


def content_parts(content: Any) -> MessageParts:  # noqa: ANN401 - a server may send any value
    """Return what the content of a message contains. It is a text, or a list of texts and objects with a `type`.

    Raises:
        TypeError: The content has another form.
    """
    if content is None or isinstance(content, str):
        return MessageParts("", content or "")
    if not isinstance(content, list):
        msg = f"content: expected text or a list of parts, got {content!r}"
        raise TypeError(msg)
    reasoning, text, refusal, unknown = [], [], [], []
    for part in ({"type": "text", "text": part} if isinstance(part, str) else part for part in content):
        if not isinstance(part, dict):
            msg = f"content: expected parts that are objects, got {part!r}"
            raise TypeError(msg)
        kind = part.get("type")
        if kind in _TEXT_TYPES or (kind is None and "text" in part):  # Bedrock's parts have no type
            text.append(_text_in(part))
        elif kind == _REFUSAL_TYPE:
            refusal.append(part["refusal"])
        elif kind in _REASONING_TYPES:
            reasoning.append(reasoning_text(part))
        elif kind not in _CALL_TYPES | _WITHOUT_TEXT:
            unknown.append(str(kind))
    return MessageParts("".join(reasoning), "".join(text), tuple(dict.fromkeys(unknown)), "".join(refusal))


def _text_in(part: dict[str, Any]) -> str:
    """Return the text of a part. A part of a stream may bring only citations, and no text."""
    text = part.get("text")
    if not isinstance(text, str | None):
        msg = f"content: expected a part with text, got {text!r}"
        raise TypeError(msg)
    return text or ""


def reasoning_text(value: Any) -> str:  # noqa: ANN401 - a server may send any value
    """Return the reasoning in a text, in an object that holds it, or in a list of these.

    Raises:
        TypeError: The value has another form.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, dict):
        return next((found for name in _REASONING_FIELDS if (found := reasoning_text(value.get(name)))), "")
    if isinstance(value, list):
        return "".join(map(reasoning_text, value))
    msg = f"reasoning: expected text, got {value!r}"
    raise TypeError(msg)


class UnknownParts:
    """Notes the types of parts that cannot be shown, each one once."""

    def __init__(self) -> None:
        self._noted: set[str] = set()

    def notes(self, types: Iterable[str]) -> list[str]:
        """Return a note for each type that is new."""
        new = [kind for kind in types if kind not in self._noted]
        self._noted.update(new)
        return [f"its reply had a part of type {kind!r}, which is not text and was left out" for kind in new]
