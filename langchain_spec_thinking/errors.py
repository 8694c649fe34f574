"""Errors of the backends.

Each is also the matching error of LangChain, so that `with_retry`, `with_fallbacks` and middleware treat it as they
treat those of any other integration.
"""

from __future__ import annotations

from langchain_core.exceptions import ContextOverflowError, ModelError


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


class PromptTooLongError(BackendError, ContextOverflowError):
    """The conversation does not fit into a model's context."""
