"""A message of LangChain as a reply in the form of OpenAI's Responses API."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain_spec_thinking.serving import reply_fields
from langchain_spec_thinking.serving.output_items import CALL, MESSAGE, THOUGHT, OutputItem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage, AIMessageChunk

    from langchain_spec_thinking.serving.errors import RefusedError
    from langchain_spec_thinking.serving.output_items import ItemForm, Status
    from langchain_spec_thinking.serving.reply_fields import Call
    from langchain_spec_thinking.serving.responses_request import ResponsesRequest

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why a reply is incomplete, by its finish reason."""


class ResponsesReply:
    """One reply, complete or in events.

    Args:
        request: The request. The reply repeats its settings.
    """

    end = b""

    def __init__(self, request: ResponsesRequest) -> None:
        self._response: dict[str, Any] = {
            "id": f"resp_{uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
            **_repeated(request),
        }
        self._number = 0
        self._items: list[OutputItem] = []
        self._text_item: OutputItem | None = None  # the thought or the message that is being written
        self._calls: dict[Any, OutputItem] = {}

    def body(self, message: AIMessage) -> dict[str, Any]:
        """Return the complete reply."""
        for _ in self.events(message):
            pass
        return self._response

    def events(self, chunk: AIMessage | AIMessageChunk) -> Iterator[dict[str, Any]]:
        """Yield the events for a chunk of a message, or for a whole message. The last one contains the finish reason.

        A call ends with the reply, because servers may send the parts of several calls in turns.
        """
        for event in self._events(chunk):
            yield event | {"sequence_number": self._number}
            self._number += 1

    def failure(self, error: RefusedError) -> dict[str, Any]:
        """Return the event that says why a stream ends early.

        OpenAI's documentation has the fields of the error in the event. OpenAI's clients read the field `error`.
        """
        told = {name: error.error[name] for name in ("code", "message", "param")}
        return {"type": "error", **told, "sequence_number": self._number, "error": error.error}

    def _events(self, chunk: AIMessage) -> Iterator[dict[str, Any]]:
        if not self._number:
            yield from self._response_events("created", "in_progress")
        yield from self._write(THOUGHT, reply_fields.reasoning(chunk))
        yield from self._write(MESSAGE, chunk.text)
        for call in reply_fields.calls(chunk):
            yield from self._write_call(call)
        if reason := reply_fields.finish_reason(chunk):
            yield from self._finish(chunk, reason)

    def _response_events(self, *names: str) -> Iterator[dict[str, Any]]:
        for name in names:
            yield {"type": f"response.{name}", "response": dict(self._response)}

    def _write(self, form: ItemForm, text: str) -> Iterator[dict[str, Any]]:
        """Continue the thought or the message. If the other one is being written, it is done."""
        if not text:
            return
        if self._text_item is None or self._text_item.form is not form:
            yield from self._finish_text("completed")
            self._text_item = self._new_item(form)
            yield from self._text_item.begin()
        yield from self._text_item.write(text)

    def _write_call(self, call: Call) -> Iterator[dict[str, Any]]:
        if call.index not in self._calls:
            yield from self._finish_text("completed")
            item = self._new_item(CALL, call_id=call.id or f"call_{uuid4().hex}", name=call.name or "")
            self._calls[call.index] = item
            yield from item.begin()
        yield from self._calls[call.index].write(call.arguments)

    def _new_item(self, form: ItemForm, **fields: Any) -> OutputItem:
        self._items.append(OutputItem(form, len(self._items), **fields))
        return self._items[-1]

    def _finish_text(self, status: Status) -> Iterator[dict[str, Any]]:
        if self._text_item:
            yield from self._text_item.finish(status)
        self._text_item = None

    def _finish(self, message: AIMessage, reason: str) -> Iterator[dict[str, Any]]:
        incomplete = _INCOMPLETE.get(reason)
        status: Status = "incomplete" if incomplete else "completed"
        last = self._text_item
        yield from self._finish_text(status)
        for item in self._calls.values():
            yield from item.finish(status)
        self._response |= {
            "status": status,
            "completed_at": None if incomplete else int(time.time()),
            "incomplete_details": incomplete and {"reason": incomplete},
            "output": [
                item.content(status if item is last or item.form is CALL else "completed") for item in self._items
            ],
            "usage": _usage(message),
            "speculative_thinking": reply_fields.report(message),
        }
        yield from self._response_events(status)


def _repeated(request: ResponsesRequest) -> dict[str, Any]:
    """Return the settings that a reply repeats. Nothing is stored, whatever the request says."""
    choice = request.tool_choice or "auto"
    form = request.text.format if request.text else None
    return {
        "model": request.model,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "background": False,
        "store": False,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "text": {"format": form.model_dump(by_alias=True, exclude_none=True) if form else {"type": "text"}},
        "tool_choice": choice if choice in {"auto", "none", "required"} else {"type": "function", "name": choice},
        "tools": [tool.model_dump() for tool in request.tools or []],
        "truncation": "disabled",
    }


def _usage(message: AIMessage) -> dict[str, Any] | None:
    usage = message.usage_metadata
    if usage is None:
        return None
    return {
        "input_tokens": usage["input_tokens"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage["output_tokens"],
        "output_tokens_details": {"reasoning_tokens": reply_fields.reasoning_tokens(message)},
        "total_tokens": usage["total_tokens"],
    }
