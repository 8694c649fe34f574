"""A message of LangChain as a reply in the form of OpenAI's chat completions."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain_spec_thinking.backends.replies.finish_reasons import FinishReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage, AIMessageChunk

_FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter"}
"""The finish reasons of OpenAI's API. Some clients accept no others."""
_ADDRESS = re.compile(r"https?://[^\s'\"]*[^\s'\".,:;)]")


class Reply:
    """One reply, complete or in chunks.

    Args:
        model: The model's name for the client.
    """

    def __init__(self, model: str) -> None:
        self._common_fields = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": model}
        self._calls: dict[Any, int] = {}  # index of each tool call, by its index among the message's blocks

    def completion(self, message: AIMessage) -> dict[str, Any]:
        """Return the complete reply."""
        body: dict[str, Any] = {"role": "assistant", "content": message.text or None}
        if reasoning := _reasoning(message):
            body["reasoning_content"] = reasoning
        if calls := [*message.tool_calls, *message.invalid_tool_calls]:
            body["tool_calls"] = [_call(call["id"], call["name"], _arguments(call["args"])) for call in calls]
        reason = _finish_reason(message.response_metadata["finish_reason"])
        choice = {"index": 0, "message": body, "finish_reason": reason}
        metadata = {"usage": _usage(message), "speculative_thinking": _report(message)}
        return {**self._common_fields, "object": "chat.completion", "choices": [choice], **metadata}

    def chunks(self, chunk: AIMessageChunk, *, include_usage: bool) -> Iterator[dict[str, Any]]:
        """Yield the chunks of the reply for a chunk of a message.

        Args:
            chunk: The chunk. The last one contains the finish reason.
            include_usage: Whether to add a chunk with the usage after the last chunk.
        """
        delta: dict[str, Any] = {"content": chunk.text, "reasoning_content": _reasoning(chunk)}
        delta = {name: text for name, text in delta.items() if text}
        if chunk.tool_call_chunks:
            delta["tool_calls"] = [
                {"index": self._calls.setdefault(call["index"], len(self._calls))}
                | _call(call["id"], call["name"], call["args"] or "")
                for call in chunk.tool_call_chunks
            ]
        told = chunk.response_metadata.get("finish_reason")
        reason = told and _finish_reason(told)
        if delta or reason:
            yield self._chunk([{"index": 0, "delta": delta, "finish_reason": reason}])
        if reason and include_usage:
            yield self._chunk([]) | {"usage": _usage(chunk), "speculative_thinking": _report(chunk)}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._common_fields, "object": "chat.completion.chunk", "choices": choices}


def _finish_reason(told: str) -> str:
    """Return the word of OpenAI's API for a finish reason. A model behind this server may have a word of its own."""
    if told in _FINISH_REASONS:
        return told
    known = FinishReason.of(told)
    return "content_filter" if known and known.meaning == "filter" else "stop"


def _report(message: AIMessage) -> dict[str, Any]:
    """Return the report without the addresses of the servers behind this one."""
    report = message.response_metadata["speculative_thinking"]
    return {**report, "degraded": [_ADDRESS.sub("its server", words) for words in report["degraded"]]}


def _reasoning(message: AIMessage) -> str:
    blocks = (block for block in message.content_blocks if block["type"] == "reasoning")
    return "".join(block.get("reasoning", "") for block in blocks)


def _arguments(arguments: Any) -> str:  # noqa: ANN401 - data, or the text of an invalid call
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _call(id_: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name or "", "arguments": arguments}}


def _usage(message: AIMessage) -> dict[str, Any] | None:
    usage = message.usage_metadata
    if usage is None:
        return None
    reasoning = (usage.get("output_token_details") or {}).get("reasoning", 0)
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
