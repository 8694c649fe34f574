"""The log of a server: one line of JSON for each event, without keys and without the text of users."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from langchain_core.exceptions import ContextOverflowError, ModelError, ModelInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUOTING = (ContextOverflowError, ModelInvalidRequestError)
"""Errors of a model's server that may quote the request, and so the text of users."""


class JsonLines(logging.Formatter):
    """Writes each record of the log as a line of JSON.

    The message of an error is written only if it comes from the operating system, or if it is the error of a model that
    does not quote the request. Every other message might contain the text of users.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record. Its attribute `fields` holds further fields."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["errors"] = list(_errors(record.exc_info[1]))
        return json.dumps(line, ensure_ascii=True)


def _errors(error: BaseException) -> Iterator[dict[str, Any]]:
    """Yield an error and its causes: the types, the places in the code, and the messages that are safe."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        frames = traceback.extract_tb(cause.__traceback__)
        yield {
            "type": type(cause).__name__,
            "message": str(cause) if _is_safe(cause) else None,
            "places": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        }
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _is_safe(error: BaseException) -> bool:
    return isinstance(error, (ModelError, OSError)) and not isinstance(error, _QUOTING)


LOGGING: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonLines}},
    "handlers": {"lines": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
    "root": {"level": "WARNING", "handlers": ["lines"]},
    "loggers": {"uvicorn": {"level": "INFO"}, "langchain_spec_thinking.serving": {"level": "INFO"}},
}
"""The settings of Python's `logging` for a server."""
