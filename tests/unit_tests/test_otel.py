"""Tests of the OpenTelemetry spans of turns and takeovers."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from langchain_core.language_models import FakeListChatModel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from langchain_spec_thinking import Price
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.otel import OpenTelemetryHandler
from langchain_spec_thinking.price import FREE
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.test_callbacks import WAYS, Breaking, Way
from tests.unit_tests.test_chat_models import pair, small

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


class Collector:
    """A handler and the spans that it made."""

    def __init__(self, *, texts: bool = False) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.handler = OpenTelemetryHandler(texts=texts, tracer_provider=self.provider)

    def spans(self) -> list[ReadableSpan]:
        """Return the finished spans in the order of their start."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_turn_is_a_span_and_a_takeover_a_span_within_it(way: Way) -> None:
    collector = Collector()
    way(pair(), {"callbacks": [collector.handler]})
    turn, takeover = collector.spans()
    assert (turn.name, turn.kind, turn.parent) == ("chat small + large", SpanKind.CLIENT, None)
    assert takeover.parent == turn.context
    assert (takeover.name, takeover.kind) == ("speculative_takeover", SpanKind.INTERNAL)
    assert turn.end_time is not None
    assert takeover.end_time is not None
    assert takeover.end_time <= turn.end_time
    turn_attributes, takeover_attributes = dict(turn.attributes or {}), dict(takeover.attributes or {})
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "spec-thinking",
        "gen_ai.request.model": "small + large",
        "gen_ai.response.model": "small + large",
        "gen_ai.request.temperature": 0.6,
        "gen_ai.request.top_p": 0.95,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 24,
        "gen_ai.usage.reasoning.output_tokens": 18,
        "spec_thinking.takeovers": 1,
        "spec_thinking.target.requests": 1,
        "spec_thinking.speculative.discarded_tokens": 1,
    }
    assert {name: turn_attributes.get(name) for name in expected} == expected
    assert takeover_attributes.pop("spec_thinking.takeover.seconds")
    assert takeover_attributes == {
        "gen_ai.request.model": "large",
        "spec_thinking.takeover.kind": "reflection",
        "spec_thinking.takeover.cue": "wait",
        "spec_thinking.takeover.author": "target",
        "spec_thinking.takeover.channel": "thinking",
        "spec_thinking.takeover.start": 16,
        "spec_thinking.takeover.end": 51,
        "spec_thinking.takeover.tokens": 7,
    }


@pytest.mark.parametrize("price", [Price(1, 4), None], ids=["known", "not known"])
def test_a_span_has_the_cost_if_the_prices_are_known(price: Price | None) -> None:
    collector = Collector()
    large = ScriptedBackend("Hm, two and three make five indeed. " * 9, name="large", price=price)
    small_model = ScriptedBackend(small, name="small", thinks=True, price=FREE)
    message = pair(speculative=small_model, target=large).invoke("hi", {"callbacks": [collector.handler]})
    attributes = dict(collector.spans()[0].attributes or {})
    found = {name: value for name, value in attributes.items() if name.endswith("cost")}
    known = dict.fromkeys(("spec_thinking.cost", "spec_thinking.target.cost"), message.response_metadata["cost"])
    assert found == {"spec_thinking.speculative.cost": 0.0, **(known if price else {})}


def test_spans_hold_texts_if_requested() -> None:
    collector = Collector(texts=True)
    pair().invoke("2 + 3?", {"callbacks": [collector.handler]})
    takeover_attributes = collector.spans()[1].attributes or {}
    assert takeover_attributes["spec_thinking.takeover.draft"] == "Wait,"
    assert takeover_attributes["spec_thinking.takeover.text"] == "Hm, two and three make five indeed."


def test_a_turn_belongs_to_the_span_it_is_called_in() -> None:
    collector = Collector()
    with collector.provider.get_tracer("mine").start_as_current_span("outer") as outer:
        pair().invoke("2 + 3?", {"callbacks": [collector.handler]})
    assert collector.spans()[1].parent == outer.get_span_context()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_failed_turn_has_error_spans(way: Way) -> None:
    collector = Collector()
    with suppress(BackendError):
        way(pair(target=Breaking(), on_target_failure="raise"), {"callbacks": [collector.handler]})
    turn, takeover = collector.spans()
    for span in (turn, takeover):
        assert span.status.status_code == StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "BackendError"


def test_closing_a_stream_is_no_error() -> None:
    collector = Collector()
    stream = pair().stream("2 + 3?", {"callbacks": [collector.handler]})
    next(chunk for chunk in stream if "Hm" in str(chunk.content))
    stream.close()  # type: ignore[attr-defined]
    assert [span.status.status_code for span in collector.spans()] == [StatusCode.UNSET] * 2
    assert not collector.handler._spans  # noqa: SLF001
    assert not collector.handler._targets  # noqa: SLF001


def test_other_models_make_no_spans() -> None:
    collector = Collector()
    FakeListChatModel(responses=["x"]).invoke("y", {"callbacks": [collector.handler]})
    assert collector.spans() == []
