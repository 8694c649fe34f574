"""How the client benchmarks compute their figures from measurements. A quick `make bench` measures for real."""

from __future__ import annotations

import pytest

from benchmarks.speed import far, streaming, throughput

READERS = (
    "sdk",
    "stream",
    "sdk_async",
    "astream",
    "sdk_prompt",
    "stream_with_tokenizer",
    "stream_with_takeovers",
    "invoke",
    "langchain_openai",
    "langchain_alone",
)


def test_each_reader_is_compared_with_the_matching_sdk_reader() -> None:
    costs = {name: [10.0, 20.0, 30.0] for name in READERS}
    costs |= {"stream": [11.0, 26.0, 36.0], "astream": [12.0, 24.0, 36.0], "sdk_prompt": [20.0, 40.0, 60.0]}
    figure = streaming.overhead(costs)
    assert (figure.value, figure.low, figure.high, figure.runs) == (1.2, 1.1, 1.3, 3)
    assert figure.details["astream"] == 1.2
    assert figure.details["with_tokenizer"] == 0.5
    assert figure.details["vs_langchain_openai"] == 1.2
    assert figure.details["microseconds_per_token"]["stream"] == 26
    assert figure.details["microseconds_per_token"].keys() == set(READERS)


def test_the_throughput_figure_uses_64_turns_and_lists_all_concurrencies() -> None:
    ratios = {2: [1.0], 64: [0.96, 0.98]}
    rates = {number: {"sdk": 50.0, "ainvoke": 49.0} for number in ratios}
    figure = throughput.versus(ratios, rates)
    assert figure.value == pytest.approx(0.97)
    assert figure.runs == 2
    by_number = figure.details["by_concurrency"]
    assert {number: found["value"] for number, found in by_number.items()} == {"2": 1, "64": pytest.approx(0.97)}
    assert by_number["2"]["details"]["tokens_per_second"] == rates[2]


def test_a_handshake_that_a_request_waits_for_counts_as_round_trips() -> None:
    figure = far.per_request({"a": {"requests": 10, "waited_for": 0}, "b": {"requests": 20, "waited_for": 10}})
    assert (figure.low, figure.high) == (1, 2)
    assert figure.target == "<= 1"
    assert figure.details["turns"].keys() == {"a", "b"}
