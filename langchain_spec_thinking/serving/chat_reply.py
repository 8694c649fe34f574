"""A message of LangChain as a reply in the form of OpenAI's chat completions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain_spec_thinking.serving import reply_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage, AIMessageChunk

    from langchain_spec_thinking.serving.chat_request import ChatRequest
    from langchain_spec_thinking.serving.errors import RefusedError
    from langchain_spec_thinking.serving.reply_fields import Call


class ChatReply:
    """One reply, complete or in chunks.

    Args:
        request: The request.
    """

    end = b"data: [DONE]\n\n"

    def __init__(self, request: ChatRequest) -> None:
        self._include_usage = request.include_usage
        self._common_fields = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": request.model}
        self._author: dict[str, Any] = {"role": "assistant"}  # for the first chunk
        self._calls: dict[Any, int] = {}  # index of each tool call, by its index among the message's blocks

    def body(self, message: AIMessage) -> dict[str, Any]:
        """Return the complete reply."""
        body: dict[str, Any] = {"role": "assistant", "content": message.text or None}
        if reasoning := reply_fields.reasoning(message):
            body["reasoning_content"] = reasoning
        if calls := reply_fields.calls(message):
            body["tool_calls"] = [_call(call) for call in calls]
        choice = {"index": 0, "message": body, "finish_reason": reply_fields.finish_reason(message)}
        return {**self._common_fields, "object": "chat.completion", "choices": [choice], **_metadata(message)}

    def events(self, chunk: AIMessageChunk) -> Iterator[dict[str, Any]]:
        """Yield the chunks of the reply for a chunk of a message. The first one names the role of the author.

        Args:
            chunk: The chunk. The last one contains the finish reason. A chunk with the usage follows it, if the client
                wants it.
        """
        delta: dict[str, Any] = {"content": chunk.text, "reasoning_content": reply_fields.reasoning(chunk)}
        delta = {name: text for name, text in delta.items() if text}
        if calls := reply_fields.calls(chunk):
            delta["tool_calls"] = [
                {"index": self._calls.setdefault(call.index, len(self._calls))} | _call(call) for call in calls
            ]
        reason = reply_fields.finish_reason(chunk)
        if delta or reason:
            yield self._chunk([{"index": 0, "delta": self._author | delta, "finish_reason": reason}])
            self._author = {}
        if reason and self._include_usage:
            yield self._chunk([]) | _metadata(chunk)

    def failure(self, error: RefusedError) -> dict[str, Any]:
        """Return the event that says why a stream ends early."""
        return {"error": error.error}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._common_fields, "object": "chat.completion.chunk", "choices": choices}


def _call(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name or "", "arguments": call.arguments}}


def _metadata(message: AIMessage) -> dict[str, Any]:
    return {"usage": _usage(message), "speculative_thinking": reply_fields.report(message)}


def _usage(message: AIMessage) -> dict[str, Any] | None:
    usage = message.usage_metadata
    if usage is None:
        return None
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "completion_tokens_details": {"reasoning_tokens": reply_fields.reasoning_tokens(message)},
    }
