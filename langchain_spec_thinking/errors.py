"""Errors of the backends.

Each is also the matching error of LangChain, so that `with_retry`, `with_fallbacks` and middleware treat it as they
treat those of any other integration.
"""

from __future__ import annotations

from langchain_core.exceptions import ContextOverflowError, ModelConnectionError, ModelError, ModelTimeoutError


class BackendError(ModelError):
    """A backend could not continue a turn.

    Attributes:
        thinking: What had been thought when it happened.
        answer: What had been answered when it happened.
    """

    thinking: str = ""
    answer: str = ""


class ContinuationError(BackendError):
    """A model or its server cannot continue a half-written turn, or not the way it was told to."""


class StreamCutError(BackendError, ModelConnectionError):
    """A server's stream stopped before its end.

    Args:
        name: The model.
        place: The server.
    """

    def __init__(self, name: str, place: str) -> None:
        super().__init__(f"{name} at {place}: the stream stopped before its end. See the server's log.")


class CircuitOpenError(BackendError, ModelConnectionError):
    """A server has failed so often that it is not asked for a while.

    Args:
        name: Whose.
        failures: How many times in a row.
        last: The last of its errors.
        seconds: How long it will not be asked.
    """

    def __init__(self, name: str, failures: int, last: str, seconds: float) -> None:
        super().__init__(
            f"{name}: it failed {failures} times in a row ({last}), so it is not asked for another {seconds:.0f} s. "
            "Is the server running?"
        )


class TurnTimeoutError(BackendError, ModelTimeoutError):
    """A turn took longer than it may.

    Args:
        seconds: How long it may take.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the turn was not finished after {seconds:g} s. Raise `timeout`, or lower `max_tokens`.")


class PromptTooLongError(BackendError, ContextOverflowError):
    """The conversation does not fit into a model's context."""
