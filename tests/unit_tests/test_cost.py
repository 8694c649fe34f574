"""The cost of a turn is what each model used, times its price, and it is where users look for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from langchain_spec_thinking import (
    Agreement,
    Backend,
    Budget,
    ChatSpeculativeThinking,
    DelegationPolicy,
    Price,
    Trace,
    recording,
    replay,
)
from langchain_spec_thinking.backends.base import End, Piece, Usage
from langchain_spec_thinking.cli.view import summary
from langchain_spec_thinking.drivers import drive
from langchain_spec_thinking.price import FREE, require_price
from langchain_spec_thinking.report import AuthorUsage, Report
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from langchain_core.messages import AIMessage

    from langchain_spec_thinking import Record
    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn

SMALL, LARGE = Price(0.1, 0.4), Price(2.0, 8.0, cached=0.5)
MILLION = 1_000_000


@dataclass
class Billed(Backend):
    """A model that writes its own bill: each request reads 100 tokens, and ever more from a cache.

    Samples run at the same time, so the bill is a list, to which threads can add at the same time.
    """

    text: str
    name: str = "billed"
    thinks: bool = False
    price: Price | None = None
    requests: list[Request] = field(default_factory=list)
    bill: list[float] = field(default_factory=list)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        self.requests.append(request)
        cached = 100 * len(self.requests)
        price = self.price or FREE
        self.bill.append(100 * price.prompt + cached * (price.prompt if price.cached is None else price.cached))
        yield Usage(prompt_tokens=cached + 100, cached_tokens=cached)
        words = self.text.split(" ")
        for word in words[: request.max_tokens]:
            self.bill.append(price.completion)
            yield Piece(f"{word} ", 1)
        yield End("stop" if len(words) <= request.max_tokens else "length")


def pair(small: Price | None = SMALL, large: Price | None = LARGE, **settings: Any) -> ChatSpeculativeThinking:
    """Return a pair with several takeovers and an answer."""
    thought = "I add 2 and 3.\n\nWait, is it so?\n\nYes, it is.\n\nWait, once more.\n\nSo.</think>\n\nIt is 5."
    fields: dict[str, Any] = {
        "speculative": Billed(thought, "small", thinks=True, price=small),
        "target": Billed("Hm, two and three make five indeed.\n\n" * 9, "large", price=large),
        "policy": DelegationPolicy(takeover_tokens=7),
        "max_tokens": 200,
    }
    return ChatSpeculativeThinking(**{**fields, **settings})


def report(message: AIMessage) -> dict[str, Any]:
    data: dict[str, Any] = message.response_metadata["speculative_thinking"]
    return data


def costs(message: AIMessage) -> tuple[float | None, float | None]:
    usage = report(message)["usage"]
    return usage["speculative"]["cost"], usage["target"]["cost"]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="the small model answers"),
        pytest.param({"answer_by": "target"}, id="the large model answers"),
        pytest.param({"policy": DelegationPolicy(takeover_tokens="rest")}, id="the rest of the thought"),
        pytest.param({"policy": DelegationPolicy.gated()}, id="a gate with a sample"),
    ],
)
def test_the_cost_is_what_the_models_billed(settings: dict[str, Any]) -> None:
    small = Billed("I add 2.\n\nWait, is it so?\n\nSo.</think>\n\nIt is 5.", "small", thinks=True, price=SMALL)
    large = Billed("Hm, two and three.\n\nSo.</think>\n\nIt is 5.", "large", price=LARGE)
    message = pair(speculative=small, target=large, **settings).invoke("2 + 3?")
    used = report(message)["usage"]
    assert [used[author]["requests"] for author in used] == [len(small.requests), len(large.requests)]
    assert all(used[author]["cached_tokens"] > 0 for author in used if used[author]["requests"])
    bills = sum(small.bill) / MILLION, sum(large.bill) / MILLION
    assert costs(message) == pytest.approx(bills)
    assert message.response_metadata["cost"] == pytest.approx(sum(bills))


@pytest.mark.parametrize(
    ("small", "large", "known"),
    [
        pytest.param(SMALL, LARGE, (True, True), id="both prices are known"),
        pytest.param(None, LARGE, (False, True), id="the price of the small model is not known"),
        pytest.param(SMALL, None, (True, False), id="the price of the large model is not known"),
        pytest.param(None, None, (False, False), id="no price is known"),
    ],
)
def test_a_cost_without_a_price_is_none(small: Price | None, large: Price | None, known: tuple[bool, bool]) -> None:
    message = pair(small, large).invoke("2 + 3?")
    assert tuple(cost is not None for cost in costs(message)) == known
    assert (message.response_metadata["cost"] is not None) == all(known)


def test_a_model_that_costs_nothing_has_a_cost_of_zero() -> None:
    message = pair(FREE, LARGE).invoke("2 + 3?")
    small, large = costs(message)
    assert small == 0
    assert large == message.response_metadata["cost"]


def test_every_way_to_call_a_pair_gives_the_same_cost() -> None:
    async def streamed() -> AIMessage:
        first, *rest = [chunk async for chunk in pair().astream("2 + 3?")]
        for chunk in rest:
            first += chunk
        return first

    messages = [pair().invoke("2 + 3?"), asyncio.run(pair().ainvoke("2 + 3?")), asyncio.run(streamed())]
    assert len({message.response_metadata["cost"] for message in messages}) == 1
    assert len({costs(message) for message in messages}) == 1


@pytest.mark.parametrize("answers", [["It is 5.", "It is 5."], ["It is 5.", "It is 6."]], ids=["agree", "differ"])
def test_samples_and_the_turn_of_the_large_model_count(answers: list[str]) -> None:
    price = Price(0, MILLION)

    def text(turn: Turn) -> str:
        return f"So.</think>\n\n{answers[len(small.requests) % 2]}" if turn.channel == "thinking" else answers[0]

    small = ScriptedBackend(text, "small", thinks=True, price=price)
    policy = DelegationPolicy.gated(escalation=Agreement(samples=2))
    message = pair(speculative=small, policy=policy).invoke("2 + 3?")
    usage = report(message)["usage"]
    assert len(small.requests) >= 2
    assert usage["speculative"]["cost"] == usage["speculative"]["completion_tokens"] >= 2 * 4
    assert (usage["target"]["cost"] > 0) == (report(message)["escalated"] is not None) == (answers[0] != answers[1])


USAGES = st.builds(
    lambda requests, prompt, share, written: AuthorUsage(requests, prompt, int(prompt * share), written),
    st.integers(0, 100),
    st.integers(0, 10**6),
    st.floats(0, 1),
    st.integers(0, 10**6),
)
AMOUNTS = st.floats(0, 1000)


@given(st.builds(Price, AMOUNTS, AMOUNTS, st.none() | AMOUNTS), st.lists(USAGES, max_size=8))
def test_the_cost_of_several_requests_is_the_sum_of_their_costs(price: Price, usages: list[AuthorUsage]) -> None:
    total = AuthorUsage(
        sum(one.requests for one in usages),
        sum(one.prompt_tokens for one in usages),
        sum(one.cached_tokens for one in usages),
        sum(one.completion_tokens for one in usages),
    )
    assert price.of(total) == pytest.approx(sum(price.of(one) for one in usages))


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        pytest.param(Price(1, 10), 2.0, id="without a price for cached tokens they cost as much as others"),
        pytest.param(Price(1, 10, cached=0.1), 0.6 + 0.04 + 1.0, id="cached tokens have their own price"),
        pytest.param(Price(1, 10, cached=0), 1.6, id="cached tokens may cost nothing"),
        pytest.param(FREE, 0.0, id="a model may cost nothing"),
    ],
)
def test_prices(price: Price, cost: float) -> None:
    usage = AuthorUsage(requests=1, prompt_tokens=MILLION, cached_tokens=400_000, completion_tokens=100_000)
    assert price.of(usage) == pytest.approx(cost)


@pytest.mark.parametrize(
    ("values", "field"), [((-1, 1), "prompt"), ((1, -0.1), "completion"), ((1, 1, float("nan")), "cached")]
)
def test_a_price_below_zero_is_refused_with_the_name_of_the_field(values: tuple[float, ...], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: expected a price of at least 0"):
        Price(*values)


@pytest.mark.parametrize("price", [(1, 4), "auto", 3.0])
def test_a_price_of_another_type_is_refused(price: Any) -> None:
    with pytest.raises(ValueError, match=r"^price: expected Price\(prompt, completion, cached\) or None, got"):
        require_price(price)


# -- where the cost is shown


def test_a_replay_has_the_usage_and_the_cost_of_the_record() -> None:
    for policy in (DelegationPolicy(takeover_tokens=7), DelegationPolicy.gated()):
        records: list[Record] = []
        with recording(records.append):
            message = pair(policy=policy).invoke("2 + 3?")
        again = replay(records[0])
        assert again.valid
        assert again.report.as_dict()["usage"] == records[0].report["usage"] == report(message)["usage"]
        assert again.report.cost == message.response_metadata["cost"]


def test_a_saved_turn_keeps_its_cost(tmp_path: Path) -> None:
    message = pair().invoke("2 + 3?")
    Trace.of(message).save(tmp_path / "turn.json")
    loaded = Trace.load(tmp_path / "turn.json")
    assert loaded.report.as_dict() == report(message)
    assert loaded.report.cost == message.response_metadata["cost"]
    assert f"<li><b>{loaded.report.cost:.4g}</b> <span>cost</span></li>" in loaded.html()


def test_a_turn_that_was_saved_before_there_were_costs_has_none() -> None:
    saved = report(pair().invoke("2 + 3?"))
    for usage in saved["usage"].values():
        del usage["cost"]
    assert Report.from_dict(saved).cost is None


@pytest.mark.parametrize("cost", ["0.1", [], float("inf"), 1e30])
def test_a_file_with_an_impossible_cost_is_refused(cost: Any) -> None:
    saved = report(pair().invoke("2 + 3?"))
    saved["usage"]["target"]["cost"] = cost
    with pytest.raises(ValueError, match=r"^cost: "):
        Report.from_dict(saved)


@pytest.mark.parametrize(
    ("small", "large", "shown"),
    [
        pytest.param(SMALL, LARGE, True, id="shown if prices are known"),
        pytest.param(SMALL, None, False, id="not shown if a price is not known"),
        pytest.param(FREE, FREE, False, id="not shown if both models cost nothing"),
    ],
)
def test_the_terminal_shows_the_cost(small: Price, large: Price | None, *, shown: bool) -> None:
    run = pair(small, large).new_run([HumanMessage("2 + 3?")])
    for _ in drive(run):
        pass
    assert (", cost 0.00" in summary(run.report)) == shown


def test_the_prices_are_part_of_the_key_of_a_cached_answer_only_if_they_change_it() -> None:
    cheap, dear = (pair(large=Price(1, price)) for price in (1, 2))
    assert cheap._identifying_params == dear._identifying_params  # noqa: SLF001
    policy = DelegationPolicy(budget=Budget(cost=1.0))
    cheap, dear = (pair(large=Price(1, price), policy=policy) for price in (1, 2))
    assert cheap._identifying_params != dear._identifying_params  # noqa: SLF001
