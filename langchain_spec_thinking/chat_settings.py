"""The types of the arguments of `ChatSpeculativeThinking`.

A field has the type of its value after validation: `model.target` is a `Backend`, and `model.stop` is a list. Users may
pass more than that: a name, a chat model, a string. So the constructor has its own types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

from langchain_core.language_models.chat_models import BaseChatModel

from langchain_spec_thinking.backends.base import Backend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.caches import BaseCache
    from langchain_core.callbacks import Callbacks
    from langchain_core.language_models.model_profile import ModelProfile
    from langchain_core.rate_limiters import BaseRateLimiter

    from langchain_spec_thinking.policy import DelegationPolicy
    from langchain_spec_thinking.run import DraftVerification
    from langchain_spec_thinking.writers import OnTargetFailure

ModelLike = Backend | BaseChatModel | str
"""What may stand for one of the two models: a backend, any chat model, or the name of a model."""


class ChatSettings(TypedDict, total=False):
    """All arguments of `ChatSpeculativeThinking` except the two models. The fields of the class describe them."""

    policy: DelegationPolicy
    answer_by: Literal["speculative", "target"]
    think_before_tools: bool
    on_target_failure: OnTargetFailure
    draft_verification: DraftVerification
    prefetch: Literal["off", "auto", "on"]
    max_tokens: int | None
    thinking_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    seed: int | None
    timeout: float | None
    stop: str | Sequence[str] | None

    # Fields of every LangChain chat model.
    name: str | None
    cache: BaseCache | bool | None
    callbacks: Callbacks
    custom_get_token_ids: Callable[[str], list[int]] | None
    disable_streaming: bool | Literal["tool_calling"]
    metadata: dict[str, Any] | None
    output_version: str | None
    profile: ModelProfile | None
    rate_limiter: BaseRateLimiter | None
    tags: list[str] | None
    verbose: bool
