"""The metrics of a server for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from langchain_spec_thinking.serving.request_record import tokens_by_author

if TYPE_CHECKING:
    from langchain_spec_thinking.serving.limiter import RequestLimiter
    from langchain_spec_thinking.serving.request_record import RequestRecord

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Upper bounds of the buckets of the histogram of times, in seconds. A reply may take ten minutes."""
_KINDS = ("prompt", "cached", "completion", "discarded")
"""The kinds of tokens that the report counts for each model."""


class Metrics:
    """What a server has done since it started. Each application has metrics of its own.

    Args:
        limiter: Knows how many replies are being written and how many requests wait.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, limiter: RequestLimiter) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "spec_thinking_requests", "Requests that have ended.", ["endpoint", "status"], registry=registry
        )
        self._seconds = Histogram(
            "spec_thinking_request_seconds",
            "Time until the response was complete.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._refusals = Counter(
            "spec_thinking_refusals",
            "Requests that got an error, by the code of the error.",
            ["code"],
            registry=registry,
        )
        self._tokens = Counter(
            "spec_thinking_tokens", "Tokens of complete replies, by their author.", ["author"], registry=registry
        )
        self._model_tokens = Counter(
            "spec_thinking_model_tokens",
            "Tokens of the requests to each model for complete replies. Prompts include cached tokens.",
            ["model", "kind"],
            registry=registry,
        )
        self._takeovers = Counter(
            "spec_thinking_takeovers", "Takeovers by the large model in complete replies.", registry=registry
        )
        running = Gauge("spec_thinking_requests_running", "Replies that are being written.", registry=registry)
        running.set_function(lambda: limiter.running)
        waiting = Gauge(
            "spec_thinking_requests_waiting", "Requests that wait until a reply may begin.", registry=registry
        )
        waiting.set_function(lambda: limiter.waiting)

    def count(self, record: RequestRecord) -> None:
        """Count a request that has ended."""
        self._requests.labels(record.endpoint, f"{record.status}").inc()
        self._seconds.labels(record.endpoint).observe(record.seconds)
        if record.code:
            self._refusals.labels(record.code).inc()
        if report := record.report:
            self._takeovers.inc(report["takeovers"])
            for author, tokens in tokens_by_author(report).items():
                self._tokens.labels(author).inc(max(tokens, 0))
            for model, usage in report["usage"].items():
                for kind in _KINDS:
                    self._model_tokens.labels(model, kind).inc(usage[f"{kind}_tokens"])

    def page(self) -> bytes:
        """Return the metrics as Prometheus reads them."""
        return generate_latest(self.registry)
