"""How the figures of pairs on real servers follow from what the servers report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from benchmarks.speed.server_halves import Work
from benchmarks.speed.server_timings import LLAMA_FIELDS, LlamaClock, ServerWork, VllmClock
from benchmarks.speed.servers import Timed, read_texts, versus

if TYPE_CHECKING:
    from collections.abc import Iterator


def timings(cached: int, read: int, read_ms: float, written: int, write_ms: float) -> dict[str, float]:
    """Return what llama.cpp's server sends with a token."""
    return {
        "cache_n": cached,
        "prompt_n": read,
        "prompt_ms": read_ms,
        "predicted_n": written,
        "predicted_ms": write_ms,
        "predicted_per_second": 1.0,
    }


class LlamaServer(httpx2.BaseTransport):
    """Answers each request with one event per entry of `timings`, in parts of seven bytes.

    Args:
        replies: The timings of each reply.
    """

    def __init__(self, *replies: list[dict[str, float]]) -> None:
        self._replies = iter(replies)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        events = [json.dumps({"choices": [], "timings": entry}) for entry in next(self._replies)]
        body = "".join(f"data: {event}\n\n" for event in events).encode()

        def parts() -> Iterator[bytes]:
            for start in range(0, len(body), 7):
                yield body[start : start + 7]

        return httpx2.Response(200, content=parts(), request=request)


def ask(client: httpx2.Client, question: str, **fields: Any) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]
    client.post("http://server/v1/chat/completions", json={"messages": messages, **LLAMA_FIELDS, **fields})


def test_the_timings_of_llama_cpp_are_added_up() -> None:
    clock = LlamaClock(
        LlamaServer(
            [timings(20, 30, 300, 1, 0), timings(20, 30, 300, 10, 450)],  # it holds 20 + 30 + 10 - 1 = 59 tokens
            [timings(59, 16, 160, 5, 250)],  # 16 tokens are new: its own last one, and 15 of the other model
            [timings(59, 36, 400, 5, 300)],  # a prompt of 95 tokens, of which it has 79
        )
    )
    with httpx2.Client(transport=clock) as client:
        for _ in range(3):
            ask(client, "Why?")
    work = clock.work()
    assert work == ServerWork(
        read=82, needed=30 + 16 + 16, read_seconds=0.86, written=20, write_seconds=1.0, readings=3
    )
    assert work.read_again == 20
    assert work.seconds == pytest.approx(1.86)
    assert work.ideal_seconds(kept=16) == pytest.approx(0.86 * 62 / 82 + 0.8)


def test_turns_of_llama_cpp_are_told_apart_by_their_questions() -> None:
    first, second = timings(0, 30, 300, 10, 450), timings(39, 11, 110, 5, 250)
    clock = LlamaClock(LlamaServer([first], [first], [second], [second]))
    with httpx2.Client(transport=clock) as client:
        for question in ("Why?", "How?", "Why?", "How?"):
            ask(client, question)
    assert (clock.work().needed, clock.work().read_again) == (2 * (30 + 11), 0)
    clock.clear()
    assert clock.work() == ServerWork(0, 0, 0, 0, 0, 0)


def test_requests_without_timings_do_not_count() -> None:
    clock = LlamaClock(LlamaServer([timings(0, 30, 300, 10, 450)]))
    with httpx2.Client(transport=clock) as client:
        ask(client, "Why?", timings_per_token=False)
    assert clock.work().readings == 0


class Vllm:
    """Serves the metrics of vLLM, and counts a token for each word."""

    def __init__(self) -> None:
        self.counters: dict[str, float] = {}
        self.tokenized: list[dict[str, Any]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/metrics":
            lines = [f'vllm:{name}{{model_name="m"}} {value}' for name, value in self.counters.items()]
            return httpx2.Response(200, text="\n".join(["# HELP vllm:x y", "python_info 1.0", *lines]))
        body = json.loads(request.content)
        self.tokenized.append(body)
        text = body.get("prompt") or " ".join(message["content"] for message in body["messages"])
        return httpx2.Response(200, json={"count": len(text.split())})


def test_the_metrics_of_vllm_count_from_the_beginning_of_the_turn() -> None:
    server = Vllm()
    names = (
        "prompt_tokens_total",
        "prefix_cache_hits_total",
        "time_to_first_token_seconds_sum",
        "time_to_first_token_seconds_count",
        "generation_tokens_total",
        "inter_token_latency_seconds_sum",
    )
    server.counters = dict.fromkeys(names, 1000.0)
    clock = VllmClock(httpx2.Client(base_url="http://server", transport=httpx2.MockTransport(server)))
    clock.clear()
    message = {"role": "user", "content": "one two three four"}
    clock.note(httpx2.Request("GET", "http://server/v1/models"))
    clock.note(httpx2.Request("POST", "http://server", json={"model": "m", "messages": [message], "stream": True}))
    server.counters = {name: 1000.0 + grown for name, grown in zip(names, (30, 20, 2.0, 2, 50, 5.0), strict=True)}
    work = clock.work(["five six", "seven"])
    assert work == ServerWork(read=10, needed=7, read_seconds=2.0, written=50, write_seconds=5.0, readings=2)
    assert work.ideal_seconds(kept=40) == pytest.approx(2.0 * 7 / 10 + 4.0)
    assert server.tokenized[0] == {"model": "m", "messages": [message]}


def test_a_model_reads_the_texts_of_the_other_one_before_its_own_last_text() -> None:
    text, segments, start = "", [], 0
    for author, part in (("target", "aa"), ("speculative", "bbb"), ("target", "c"), ("speculative", "dd")):
        text += part
        segments.append({"author": author, "channel": "answer", "start": start, "end": len(text)})
        start = len(text)
    assert read_texts(text, segments, "target") == ["bbb"]
    assert read_texts(text, segments, "speculative") == ["aa", "c"]
    assert read_texts(text, segments, "nobody") == []


def test_the_overhead_has_a_part_of_the_code_and_a_part_of_the_engines() -> None:
    small, large = Work(2.0, 1.5, 4, 3), Work(6.0, 5.0, 0, 3)
    figure = versus([Timed(8.4, (small, large), 2)])
    assert figure.value == pytest.approx(8.4 / 6.5)
    assert figure.details["by_code"] == pytest.approx(1.05)
    assert figure.details["by_dropped_and_read_again"] == pytest.approx(8 / 6.5)
    assert figure.details["read_again_per_hand_over"] == 1.0
    assert (figure.details["takeovers"], figure.details["requests"]) == (2, 6)


def test_work_without_tokens_takes_no_time() -> None:
    assert ServerWork(0, 0, 0.0, 0, 0.0, 0).ideal_seconds(0) == 0
