"""LangChain's callbacks are told of takeovers: each is a child run of the model's run, and a custom event.

The child run is a chain. A model's run would have its tokens counted a second time, and streamed a second time by
LangGraph; a tool's run would be shown as a call of the agent's.
"""

from __future__ import annotations

from contextlib import aclosing, closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar, cast

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.runnables import ensure_config
from langchain_core.utils.uuid import uuid7
from pydantic import PrivateAttr

from langchain_spec_thinking.drivers import Delta, adrive, drive
from langchain_spec_thinking.report import TakeoverStart

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
    from uuid import UUID

    from langchain_core.callbacks import (
        AsyncCallbackManagerForLLMRun,
        BaseCallbackManager,
        CallbackManagerForLLMRun,
    )
    from langchain_core.callbacks.manager import BaseRunManager
    from langchain_core.language_models.base import LanguageModelInput
    from langchain_core.messages import AIMessageChunk, BaseMessage
    from langchain_core.outputs import ChatResult
    from langchain_core.runnables import RunnableConfig

    from langchain_spec_thinking.drivers import Run

TAKEOVER = "speculative_takeover"
"""What child runs and custom events are called."""

Manager = TypeVar("Manager", CallbackManager, AsyncCallbackManager)


def drive_with_callbacks(run: Run, listeners: CallbackManager | None) -> Generator[Delta, None, None]:
    """Write a turn, telling of its takeovers.

    Args:
        run: The turn.
        listeners: Who is told, as children of the model's run; None where nobody listens.
    """
    child = None
    with closing(drive(run)) as happenings:
        try:
            for happening in happenings:
                if isinstance(happening, Delta):
                    yield happening
                elif listeners and isinstance(happening, TakeoverStart):
                    child = listeners.on_chain_start(None, asdict(happening), name=TAKEOVER)
                elif listeners and child:
                    child.on_chain_end(asdict(happening))
                    child = None
                    listeners.on_custom_event(TAKEOVER, asdict(happening), run_id=listeners.parent_run_id)
        except BaseException as e:
            if child:
                child.on_chain_error(e)
            raise


async def adrive_with_callbacks(run: Run, listeners: AsyncCallbackManager | None) -> AsyncGenerator[Delta, None]:
    """Like `drive_with_callbacks`, on an event loop."""
    child = None
    async with aclosing(adrive(run)) as happenings:
        try:
            async for happening in happenings:
                if isinstance(happening, Delta):
                    yield happening
                elif listeners and isinstance(happening, TakeoverStart):
                    child = await listeners.on_chain_start(None, asdict(happening), name=TAKEOVER)
                elif listeners and child:
                    await child.on_chain_end(asdict(happening))
                    child = None
                    await listeners.on_custom_event(TAKEOVER, asdict(happening), run_id=listeners.parent_run_id)
        except BaseException as e:
            if child:
                await child.on_chain_error(e)
            raise


class CallbackAwareChatModel(BaseChatModel):
    """A chat model that knows who listens to its run, also where LangChain does not say.

    LangChain calls `_stream` without a run manager, from `stream` and where a handler that streams (that of
    `astream_events` or LangGraph) turns `invoke` into it. Such calls are carried out by a shallow copy of the model
    that knows the listeners: nothing is left behind when the caller drops a half-read stream.
    """

    _listeners: CallbackManager | AsyncCallbackManager | None = PrivateAttr(default=None)

    def _heard_by(self, run_manager: CallbackManagerForLLMRun | None) -> CallbackManager | None:
        """Return who listens to the run that goes on."""
        if run_manager:
            return _within(CallbackManager, run_manager, run_manager.run_id)
        return self._listeners if isinstance(self._listeners, CallbackManager) else None

    def _aheard_by(self, run_manager: AsyncCallbackManagerForLLMRun | None) -> AsyncCallbackManager | None:
        if run_manager:
            return _within(AsyncCallbackManager, run_manager, run_manager.run_id)
        return self._listeners if isinstance(self._listeners, AsyncCallbackManager) else None

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream a message."""
        config, model = self._listened_to(CallbackManager, config)
        yield from super(CallbackAwareChatModel, model).stream(input, config, stop=stop, **kwargs)

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Stream a message, on an event loop."""
        config, model = self._listened_to(AsyncCallbackManager, config)
        chunks = super(CallbackAwareChatModel, model).astream(input, config, stop=stop, **kwargs)
        async with aclosing(cast("AsyncGenerator[AIMessageChunk, None]", chunks)):
            async for chunk in chunks:
                yield chunk

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        model = self._copy(self._heard_by(run_manager))
        return super(CallbackAwareChatModel, model)._generate_with_cache(messages, stop, run_manager, **kwargs)

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        model = self._copy(self._aheard_by(run_manager))
        return await super(CallbackAwareChatModel, model)._agenerate_with_cache(messages, stop, run_manager, **kwargs)

    def _copy(self, listeners: CallbackManager | AsyncCallbackManager | None) -> CallbackAwareChatModel:
        if listeners is None:
            return self
        model = self.model_copy()
        model._listeners = listeners  # noqa: SLF001
        return model

    def _listened_to(
        self, kind: type[Manager], config: RunnableConfig | None
    ) -> tuple[RunnableConfig, CallbackAwareChatModel]:
        """Settle who listens before LangChain does. It takes the callbacks and the run's id from the config."""
        config = ensure_config(config)
        told_to = config.get("callbacks"), self.callbacks, self.verbose
        manager = kind.configure(*told_to, config.get("tags"), None, config.get("metadata"))
        run_id = config.get("run_id") or uuid7()
        model = self._copy(_within(kind, manager, run_id))
        return {**config, "callbacks": manager, "run_id": run_id}, model


def _within(kind: type[Manager], outer: BaseRunManager | BaseCallbackManager, run_id: UUID) -> Manager | None:
    """Return those who hear of a run, to be told of what happens in it; None where nobody does."""
    if not outer.handlers:
        return None
    return kind(
        handlers=[*outer.handlers],
        parent_run_id=run_id,
        tags=[*outer.inheritable_tags],
        metadata={**outer.inheritable_metadata},
    )
