"""What happened to one request: for the log and for the metrics. It contains no text of users and no keys."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from starlette.types import Scope

    from langchain_spec_thinking.serving.errors import RefusedError

_KEY = "spec_thinking.record"
CLIENT_CLOSED_REQUEST = 499
"""The status in the log if the client disconnects before the response begins. It is nginx's."""


@dataclass(slots=True)
class RequestRecord:
    """One request and its response.

    Attributes:
        method: The method, such as `POST`.
        endpoint: The path if the server knows it, otherwise `other`, because a path may contain anything.
        id: The id that the response has in the header `x-request-id`.
        status: The status of the response. None: the response has not begun.
        code: The code of the error, or its type if it has no code. None: there was no error.
        stream: Whether the reply is streamed. None: the request asked no model.
        disconnected: Whether the client disconnected before the end.
        message: The whole reply, or the last chunk of a stream.
        seconds: The time until the response was complete.
        waited: The time until the reply could begin. None: it did not begin.
    """

    method: str
    endpoint: str
    id: str = field(default_factory=lambda: f"req_{uuid4().hex}")
    status: int | None = None
    code: str | None = None
    stream: bool | None = None
    disconnected: bool = False
    message: AIMessage | None = None
    seconds: float = 0.0
    waited: float | None = None
    _began: float = field(default_factory=time.monotonic)

    def refused(self, error: RefusedError) -> RefusedError:
        """Note the error that the client gets, and return it."""
        self.code = error.error["code"] or error.error["type"]
        return error

    def starts_reply(self) -> None:
        """Note that the request has waited and its reply begins."""
        self.waited = time.monotonic() - self._began

    def end(self) -> None:
        """Note that the response is complete, or that there is none."""
        self.seconds = time.monotonic() - self._began
        if self.status is None:
            self.status = CLIENT_CLOSED_REQUEST if self.disconnected else 500

    @property
    def report(self) -> dict[str, Any] | None:
        """The report of the reply. None: there is no complete reply."""
        return None if self.message is None else self.message.response_metadata["speculative_thinking"]

    def fields(self) -> dict[str, Any]:
        """Return the fields for the log."""
        outcome = "disconnected" if self.disconnected else "failed" if self.code else "complete"
        waited = None if self.waited is None else round(self.waited, 3)
        fields: dict[str, Any] = {
            "id": self.id,
            "method": self.method,
            "endpoint": self.endpoint,
            "status": self.status,
            "outcome": outcome,
            "code": self.code,
            "stream": self.stream,
            "seconds": round(self.seconds, 3),
            "waited_seconds": waited,
        }
        return fields | self._reply_fields()

    def _reply_fields(self) -> dict[str, Any]:
        report, message = self.report, self.message
        if report is None or message is None:
            return {}
        usage: Any = message.usage_metadata or {}
        return {
            "finish_reason": message.response_metadata["finish_reason"],
            "input_tokens": usage.get("input_tokens"),
            "output_tokens": usage.get("output_tokens"),
            "tokens": tokens_by_author(report),
            "takeovers": report["takeovers"],
            "escalated": report["escalated"] is not None,
            "limitations": len(report["degraded"]),
        }


def tokens_by_author(report: dict[str, Any]) -> dict[str, int]:
    """Return how many tokens of a reply each author wrote."""
    tokens: dict[str, int] = {}
    for segment in report["segments"]:
        tokens[segment["author"]] = tokens.get(segment["author"], 0) + segment["tokens"]
    return tokens


def record_of(scope: Scope) -> RequestRecord:
    """Return the record of a request."""
    record: RequestRecord = scope[_KEY]
    return record


def begin_record(scope: Scope, endpoints: frozenset[str]) -> RequestRecord:
    """Begin the record of a request.

    Args:
        scope: The request.
        endpoints: The paths that the server knows.
    """
    path = scope["path"]
    record = RequestRecord(scope["method"], path if path in endpoints else "other")
    scope[_KEY] = record
    return record
