"""Report takeovers to LangChain's callbacks. Each takeover is a child run of the model's run, and a custom event.

The child run has the type *chain*. If it had the type of a model's run, tracers would count its tokens twice and
LangGraph would stream them twice. If it had the type of a tool's run, it would look like a tool call of the agent.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.runnables import ensure_config
from langchain_core.utils.uuid import uuid7
from pydantic import PrivateAttr

from langchain_spec_thinking.drivers import adrive, drive
from langchain_spec_thinking.owned_stream import OwnedStream
from langchain_spec_thinking.report import TakeoverStart
from langchain_spec_thinking.turn_events import Delta

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

    from langchain_spec_thinking.turn_runs import AnyRun

TAKEOVER = "speculative_takeover"
"""Name of the child runs and of the custom events."""

Manager = TypeVar("Manager", CallbackManager, AsyncCallbackManager)


def drive_with_callbacks(run: AnyRun, manager: CallbackManager | None) -> Generator[Delta, None, None]:
    """Write a turn, yield its text, and report its takeovers to callbacks.

    Args:
        run: The turn.
        manager: Callback manager for children of the model's run. None: there are no callbacks.
    """
    child = None
    with closing(drive(run)) as events:
        try:
            for event in events:
                if isinstance(event, Delta):
                    yield event
                elif manager and isinstance(event, TakeoverStart):
                    child = manager.on_chain_start(None, asdict(event), name=TAKEOVER)
                elif manager and child:
                    child.on_chain_end(asdict(event))
                    child = None
                    manager.on_custom_event(TAKEOVER, asdict(event), run_id=manager.parent_run_id)
        except BaseException as e:
            if child:
                child.on_chain_error(e)
            raise


async def adrive_with_callbacks(run: AnyRun, manager: AsyncCallbackManager | None) -> AsyncGenerator[Delta, None]:
    """Do the same as `drive_with_callbacks`, asynchronously."""
    child = None
    async with OwnedStream(adrive(run)) as events:
        try:
            async for event in events:
                if isinstance(event, Delta):
                    yield event
                elif manager and isinstance(event, TakeoverStart):
                    child = await manager.on_chain_start(None, asdict(event), name=TAKEOVER)
                elif manager and child:
                    await child.on_chain_end(asdict(event))
                    child = None
                    await manager.on_custom_event(TAKEOVER, asdict(event), run_id=manager.parent_run_id)
        except BaseException as e:
            if child:
                await child.on_chain_error(e)
            raise


class CallbackAwareChatModel(BaseChatModel):
    """A chat model that knows the callbacks of its run, even if LangChain does not pass a run manager.

    LangChain calls `_stream` without a run manager in two cases: from `stream`, and if a streaming handler (that of
    `astream_events` or LangGraph) turns `invoke` into a stream. A shallow copy of the model, which knows the callbacks,
    carries out such calls. The model itself therefore keeps no state if the caller drops a half-read stream.
    """

    _callback_manager: CallbackManager | AsyncCallbackManager | None = PrivateAttr(default=None)

    def _child_callbacks(self, run_manager: CallbackManagerForLLMRun | None) -> CallbackManager | None:
        """Return the callback manager for children of the current run, or None if there are no callbacks."""
        if run_manager:
            return _child_manager(CallbackManager, run_manager, run_manager.run_id)
        return self._callback_manager if isinstance(self._callback_manager, CallbackManager) else None

    def _achild_callbacks(self, run_manager: AsyncCallbackManagerForLLMRun | None) -> AsyncCallbackManager | None:
        if run_manager:
            return _child_manager(AsyncCallbackManager, run_manager, run_manager.run_id)
        return self._callback_manager if isinstance(self._callback_manager, AsyncCallbackManager) else None

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002 - the name in LangChain's signature
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream a message."""
        config, model = self._with_callbacks(CallbackManager, config)
        yield from super(CallbackAwareChatModel, model).stream(input, config, stop=stop, **kwargs)

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Stream a message asynchronously."""
        config, model = self._with_callbacks(AsyncCallbackManager, config)
        chunks = super(CallbackAwareChatModel, model).astream(input, config, stop=stop, **kwargs)
        async with OwnedStream(chunks) as owned:
            async for chunk in owned:
                yield chunk

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        model = self._copy(self._child_callbacks(run_manager))
        return super(CallbackAwareChatModel, model)._generate_with_cache(messages, stop, run_manager, **kwargs)

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        model = self._copy(self._achild_callbacks(run_manager))
        return await super(CallbackAwareChatModel, model)._agenerate_with_cache(messages, stop, run_manager, **kwargs)

    def _copy(self, manager: CallbackManager | AsyncCallbackManager | None) -> CallbackAwareChatModel:
        if manager is None:
            return self
        model = self.model_copy()
        model._callback_manager = manager  # noqa: SLF001
        return model

    def _with_callbacks(
        self, kind: type[Manager], config: RunnableConfig | None
    ) -> tuple[RunnableConfig, CallbackAwareChatModel]:
        """Return a config that fixes the callbacks and the run's id, and a model that knows these callbacks.

        LangChain then takes both from the config instead of choosing them itself.
        """
        config = ensure_config(config)
        callback_sources = config.get("callbacks"), self.callbacks, self.verbose
        manager = kind.configure(*callback_sources, config.get("tags"), None, config.get("metadata"))
        run_id = config.get("run_id") or uuid7()
        model = self._copy(_child_manager(kind, manager, run_id))
        return {**config, "callbacks": manager, "run_id": run_id}, model


def _child_manager(kind: type[Manager], outer: BaseRunManager | BaseCallbackManager, run_id: UUID) -> Manager | None:
    """Return a callback manager for the children of a run, or None if the run has no handlers."""
    if not outer.handlers:
        return None
    return kind(
        handlers=[*outer.handlers],
        parent_run_id=run_id,
        tags=[*outer.inheritable_tags],
        metadata={**outer.inheritable_metadata},
    )
