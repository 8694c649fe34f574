"""The parts of a reply that both APIs have in common."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from langchain_core.messages import AIMessageChunk

from langchain_spec_thinking.backends.replies.finish_reasons import FinishReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage

    from langchain_spec_thinking.serving.errors import RefusedError

_FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter"}
"""The finish reasons of OpenAI's API. Some clients accept no others."""
_ADDRESS = re.compile(r"https?://[^\s'\"]*[^\s'\".,:;)]")


class Reply(Protocol):
    """One reply in the form of an API."""

    end: bytes
    """Bytes after the last event of a stream."""

    def body(self, message: AIMessage) -> dict[str, Any]:
        """Return the complete reply."""
        ...

    def events(self, chunk: AIMessageChunk) -> Iterator[dict[str, Any]]:
        """Yield the events of a stream for a chunk of the message. The last chunk contains the finish reason."""
        ...

    def failure(self, error: RefusedError) -> dict[str, Any]:
        """Return the event that says why a stream ends early."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function, or a part of one.

    Attributes:
        index: Which call of the message this is.
        id: The id of the call. None in further parts of a call.
        name: The name of the function. None in further parts of a call.
        arguments: The arguments as text, or the next part of this text.
    """

    index: Any
    id: str | None
    name: str | None
    arguments: str


def calls(message: AIMessage) -> list[Call]:
    """Return the calls of a message, or the parts of calls in a chunk. An invalid call is as the model wrote it."""
    if isinstance(message, AIMessageChunk):
        return [Call(call["index"], call["id"], call["name"], call["args"] or "") for call in message.tool_call_chunks]
    told = [*message.tool_calls, *message.invalid_tool_calls]
    return [Call(index, call["id"], call["name"], _text(call["args"])) for index, call in enumerate(told)]


def reasoning(message: AIMessage) -> str:
    """Return the thought of a message."""
    blocks = (block for block in message.content_blocks if block["type"] == "reasoning")
    return "".join(block.get("reasoning", "") for block in blocks)


def finish_reason(message: AIMessage) -> str | None:
    """Return why the reply ends, in a word of OpenAI's API. A model behind this server may have a word of its own.

    None: the message is a chunk, and the reply goes on.
    """
    told = message.response_metadata.get("finish_reason")
    if not told or told in _FINISH_REASONS:
        return told or None
    known = FinishReason.of(told)
    return "content_filter" if known and known.meaning == "filter" else "stop"


def reasoning_tokens(message: AIMessage) -> int:
    """Return the number of tokens of the thought."""
    usage = message.usage_metadata
    return ((usage and usage.get("output_token_details")) or {}).get("reasoning", 0)


def report(message: AIMessage) -> dict[str, Any]:
    """Return the report without the addresses of the servers behind this one."""
    told: dict[str, Any] = message.response_metadata["speculative_thinking"]
    return {**told, "degraded": [_ADDRESS.sub("its server", words) for words in told["degraded"]]}


def _text(arguments: Any) -> str:  # noqa: ANN401 - data, or the text of an invalid call
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
