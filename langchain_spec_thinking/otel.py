"""OpenTelemetry spans: one for each turn, and a child span for each takeover. Needs the extra `[otel]`.

The name (`chat {model}`) and the attributes (`gen_ai.*`) of a turn's span follow the GenAI conventions, which are still
in development. Attributes that the conventions do not define are called `spec_thinking.*`. A takeover's span has no
operation name and no usage: the usage of the turn includes its tokens, and they would be counted twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration

from langchain_spec_thinking.callbacks import TAKEOVER
from langchain_spec_thinking.installing import require_modules

require_modules("OpenTelemetryHandler", "otel", "opentelemetry.trace")  # other packages bring `opentelemetry` too

from opentelemetry.trace import SpanKind, StatusCode, TracerProvider, get_tracer, set_span_in_context  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    from langchain_core.outputs import LLMResult
    from opentelemetry.trace import Span

_REQUEST = {
    "gen_ai.request.model": "model_name",
    "gen_ai.request.max_tokens": "max_tokens",
    "gen_ai.request.temperature": "temperature",
    "gen_ai.request.top_p": "top_p",
    "gen_ai.request.top_k": "top_k",
    "gen_ai.request.seed": "seed",
    "gen_ai.request.stop_sequences": "stop",
}


class OpenTelemetryHandler(BaseCallbackHandler):
    """A callback handler that makes a span for each turn and for each takeover.

    The parent of a turn's span is the span that is current when the model is called. The handler ignores other models
    in the same chain; use other instrumentation for those.

    ```python
    model.invoke("What is 17 * 23?", config={"callbacks": [OpenTelemetryHandler()]})
    ```

    Args:
        texts: Whether the spans of takeovers hold the dropped draft and the text that replaced it. The default is
            False, because these texts are about a user's question.
        tracer_provider: The provider that receives the spans. None: the global provider of OpenTelemetry.
    """

    run_inline = True  # on an event loop too, because the work is too short for a thread to save time

    def __init__(self, *, texts: bool = False, tracer_provider: TracerProvider | None = None) -> None:
        self._texts = texts
        self._tracer = get_tracer("langchain_spec_thinking", tracer_provider=tracer_provider)
        self._spans: dict[UUID, Span] = {}
        self._targets: dict[UUID, str] = {}

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002 - part of LangChain's signature
        messages: Any,  # noqa: ANN401, ARG002
        *,
        run_id: UUID,
        invocation_params: Mapping[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Start the span of a turn."""
        settings = invocation_params or {}
        if settings.get("_type") != "speculative-thinking":
            return
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "spec-thinking"}
        attributes |= {name: settings[key] for name, key in _REQUEST.items() if settings.get(key) is not None}
        name = f"chat {settings['model_name']}"
        self._spans[run_id] = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        self._targets[run_id] = settings["target"]["name"]

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002
        """End the span of a turn."""
        generation = response.generations[0][0]
        if run_id in self._spans and isinstance(generation, ChatGeneration):
            self._end(
                run_id,
                dict(_message_attributes(generation.message)) if isinstance(generation.message, AIMessage) else {},
            )

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002
        """End the span of a turn that failed."""
        self._fail(run_id, error)

    def on_chain_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a takeover. Ignore other chains."""
        if kwargs.get("name") != TAKEOVER or parent_run_id not in self._spans:
            return
        attributes = {"gen_ai.request.model": self._targets[parent_run_id], **self._takeover(inputs)}
        context = set_span_in_context(self._spans[parent_run_id])
        self._spans[run_id] = self._tracer.start_span(TAKEOVER, context=context, attributes=attributes)

    def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002
        """End the span of a takeover. Ignore other chains."""
        if run_id in self._spans:
            self._end(run_id, self._takeover(outputs))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002
        """End the span of a takeover that failed. Ignore other chains."""
        self._fail(run_id, error)

    def _takeover(self, data: Mapping[str, Any]) -> dict[str, Any]:
        hidden = set() if self._texts else {"draft", "text"}
        return {
            f"spec_thinking.takeover.{name}": value
            for name, value in data.items()
            if value is not None and name not in hidden
        }

    def _end(self, run_id: UUID, attributes: Mapping[str, Any]) -> None:
        self._targets.pop(run_id, None)
        span = self._spans.pop(run_id)
        span.set_attributes(attributes)
        span.end()

    def _fail(self, run_id: UUID, error: BaseException) -> None:
        if run_id not in self._spans:
            return
        failed = isinstance(error, Exception)  # not if the caller stopped reading or cancelled the call
        if failed:
            self._spans[run_id].set_status(StatusCode.ERROR, str(error))
        self._end(run_id, {"error.type": type(error).__qualname__} if failed else {})


def _message_attributes(message: AIMessage) -> Iterator[tuple[str, Any]]:
    metadata, usage = message.response_metadata, message.usage_metadata
    yield "gen_ai.response.model", metadata["model_name"]
    yield "gen_ai.response.finish_reasons", [metadata["finish_reason"]]
    if message.id:
        yield "gen_ai.response.id", message.id
    if usage:
        yield "gen_ai.usage.input_tokens", usage["input_tokens"]
        yield "gen_ai.usage.output_tokens", usage["output_tokens"]
        yield "gen_ai.usage.reasoning.output_tokens", usage["output_token_details"]["reasoning"]
    report = metadata["speculative_thinking"]
    yield "spec_thinking.takeovers", report["takeovers"]
    yield "spec_thinking.target_share", report["target_share"]
    if report["degraded"]:
        yield "spec_thinking.degraded", report["degraded"]
    if metadata["cost"] is not None:
        yield "spec_thinking.cost", metadata["cost"]
    for author, used in report["usage"].items():
        for name, count in used.items():
            if count is not None:  # a cost that is not known
                yield f"spec_thinking.{author}.{name}", count
