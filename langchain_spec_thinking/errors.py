"""Errors of the backends.

Each class is also a subclass of the matching error of LangChain. Therefore `with_retry`, `with_fallbacks` and
middleware treat these errors like those of any other integration.
"""

from __future__ import annotations

from typing import Any

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelTimeoutError,
)


class BackendError(ModelError):
    """A backend could not continue a turn.

    Attributes:
        thinking: The text of the thought when the error occurred.
        answer: The text of the answer when the error occurred.
    """

    thinking: str = ""
    answer: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Support `pickle` and `copy` in all subclasses, whatever the arguments of their constructors."""
        return _new, (type(self), self.args), vars(self)


class ContinuationError(BackendError):
    """A model or its server cannot continue a half-written turn, or cannot do so in the configured way."""


class StreamCutError(BackendError, ModelConnectionError):
    """The stream of a server stopped before its end.

    Args:
        name: The name of the model.
        place: The address of the server.
    """

    def __init__(self, name: str, place: str) -> None:
        super().__init__(f"{name} at {place}: the stream stopped before its end. See the server's log.")


class FailedReplyError(BackendError, ModelAPIError):
    """A server could not finish a reply, and said so in its finish reason.

    Args:
        name: The name of the model, and the address of its server if it is known.
        reason: The finish reason.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"{name}: the server could not finish the reply (finish reason {reason!r}). See the server's log."
        )


class StreamOrderError(BackendError):
    """The events of a stream came in the wrong order, so the text so far may have a gap and is not continued.

    Args:
        name: The name of the model.
        place: The address of the server.
    """

    def __init__(self, name: str, place: str) -> None:
        super().__init__(
            f"{name} at {place}: events of the stream came in the wrong order, so a part of the text may be missing. "
            "Check the gateways between here and the server."
        )


class CircuitOpenError(BackendError, ModelConnectionError):
    """A server failed so often that it gets no requests for a while.

    Args:
        name: The name of the model.
        failures: The number of failures in a row.
        last: The last error.
        seconds: How long the server will get no requests, in seconds.
    """

    def __init__(self, name: str, failures: int, last: str, seconds: float) -> None:
        super().__init__(
            f"{name}: {failures} requests in a row failed ({last}). No requests are sent for {seconds:.0f} s. "
            "Check that the server is running."
        )


class TurnTimeoutError(BackendError, ModelTimeoutError):
    """A turn took longer than its timeout.

    Args:
        seconds: The timeout, in seconds.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the turn was not finished after {seconds:g} s. Raise `timeout`, or lower `max_tokens`.")


class NoThreadError(BackendError):
    """The process could not start the thread that would read a model.

    Args:
        reason: What Python says.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"no thread could be started for a model ({reason}). Close streams that are read only in part, or raise "
            "the limit of threads or of memory of this process."
        )


class InvalidRequestError(BackendError, ModelInvalidRequestError):
    """A local model cannot be asked this.

    Its chat template refuses the conversation, or a JSON schema cannot be enforced.
    """


class OversizedReplyError(BackendError):
    """A server sent more at once than a client should keep in memory.

    Args:
        what: What is too long.
        limit: The limit, with its unit.
    """

    def __init__(self, what: str, limit: str) -> None:
        super().__init__(f"{what} is longer than {limit}. The server may be faulty: see its log.")


class CompressedReplyError(BackendError):
    """A server sent a compressed reply, although the request asked for none.

    Args:
        encoding: The name of the compression.
    """

    def __init__(self, encoding: str) -> None:
        super().__init__(
            f"the server sent a reply with the content encoding {encoding[:20]!r}, but the request asked for an "
            "uncompressed reply. Switch compression off at the server or at the proxy in front of it."
        )


class PromptTooLongError(BackendError, ContextOverflowError):
    """The conversation does not fit into the context of a model."""


def _new(kind: type[BackendError], arguments: tuple[Any, ...]) -> BackendError:
    """Make an error without its constructor. `pickle` then sets the attributes."""
    error = kind.__new__(kind)
    error.args = arguments
    return error
