"""A turn does not exceed its budget, and the report says that the budget is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking import Budget, ChatSpeculativeThinking, DelegationPolicy, Price
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Turn

STEP = "Wait, no. "


def report_of(
    budget: Budget, takeover_tokens: Any = 4, price: Price | None = None, small: Price | None = None
) -> dict[str, Any]:
    """Return the report of a turn with a takeover, of four tokens by default, at each of twenty boundaries."""
    script = lambda turn: "".join(f"{STEP}So on {n}.\n\n" for n in range(20 - turn.answer.count("\n\n")))  # noqa: E731
    policy = DelegationPolicy(
        takeover_tokens=takeover_tokens, reflection_limit=99, reflection_limit_max=99, budget=budget
    )
    pair = ChatSpeculativeThinking(
        speculative=ScriptedBackend(script, price=small), target=ScriptedBackend(STEP * 20, price=price), policy=policy
    )
    report: dict[str, Any] = pair.invoke("hi").response_metadata["speculative_thinking"]
    return report


def test_without_limits_the_target_takes_over_everywhere() -> None:
    report = report_of(Budget())
    assert report["takeovers"] > 10
    assert report["degraded"] == []


@pytest.mark.parametrize("tokens", [0, 1, 6, 9, 20])
def test_the_target_writes_at_most_the_tokens_of_the_budget(tokens: int) -> None:
    report = report_of(Budget(target_tokens=tokens))
    assert report["usage"]["target"]["completion_tokens"] == tokens
    assert report["degraded"] == [f"the budget is spent: the large model wrote {tokens} of at most {tokens} tokens"]
    assert report["segments"][-1]["author"] == "speculative"


@pytest.mark.parametrize("requests", [0, 1, 3])
def test_the_target_gets_at_most_the_requests_of_the_budget(requests: int) -> None:
    report = report_of(Budget(requests=requests))
    assert report["usage"]["target"]["requests"] == report["takeovers"] == requests
    words = f"the large model got {requests} of at most {requests} requests"
    assert report["degraded"] == [f"the budget is spent: {words}"]
    assert report["segments"][-1]["author"] == "speculative"


def test_the_rest_obeys_the_budget() -> None:
    report = report_of(Budget(target_tokens=9), takeover_tokens="rest")
    assert report["usage"]["target"] | {"requests": 1, "completion_tokens": 9} == report["usage"]["target"]
    assert report["segments"][-1]["author"] == "speculative"


def test_takeovers_resume_when_the_share_has_decreased() -> None:
    free, report = report_of(Budget()), report_of(Budget(target_share=0.2))
    assert free["target_share"] > 0.3
    assert 0.15 < report["target_share"] < 0.3
    authors = [segment["author"] for segment in report["segments"]]
    assert authors.count("target") > 2
    assert "of the tokens, the limit is 20%" in report["degraded"][0]


def test_a_turn_costs_little_more_than_the_limit() -> None:
    price = Price(prompt=1.0, completion=10.0)
    cost = report_of(Budget(cost=1e9), price=price)["usage"]["target"]["cost"]
    report = report_of(Budget(cost=cost / 2), price=price)
    assert cost / 2 <= report["usage"]["target"]["cost"] < 0.6 * cost
    assert "the turn cost" in report["degraded"][0]


def test_the_cost_of_the_small_model_counts_if_it_is_known() -> None:
    price = Price(prompt=1.0, completion=10.0)
    alone = report_of(Budget(cost=1e9), price=price)["usage"]["target"]["cost"]
    report = report_of(Budget(cost=alone), price=price, small=price)
    costs = [report["usage"][author]["cost"] for author in ("speculative", "target")]
    assert sum(costs) >= alone
    assert 0 < costs[1] < alone


def test_a_limit_on_the_cost_needs_the_price_of_the_large_model() -> None:
    with pytest.raises(ValueError, match=r"Budget\(cost=0.5\) needs the price of scripted, .* Pass `price=Price"):
        report_of(Budget(cost=0.5), small=Price(1, 1))


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"target_tokens": -1}, "target_tokens"),
        ({"target_share": 1.5}, "target_share"),
        ({"cost": -1.0}, "cost"),
        ({"cost": float("nan")}, "cost"),
    ],
)
def test_invalid_values_are_refused_with_the_name_of_the_field(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        Budget(**settings)


def test_the_speculative_model_finishes_an_answer_that_exceeds_the_budget() -> None:
    answer = "The answer is five and so on."

    def rest(turn: Turn) -> str:
        return answer[len(turn.answer) :]

    pair = ChatSpeculativeThinking(
        speculative=ScriptedBackend(lambda turn: rest(turn) if turn.closing else "Hm.\n</think>\n\nx", thinks=True),
        target=ScriptedBackend(rest),
        policy=DelegationPolicy(budget=Budget(target_tokens=4)),
        answer_by="target",
    )
    message = pair.invoke("hi")
    report = message.response_metadata["speculative_thinking"]
    assert message.text == answer
    assert message.response_metadata["finish_reason"] == "stop"
    assert report["degraded"] == ["the budget is spent: the large model wrote 4 of at most 4 tokens"]
    assert report["usage"]["target"]["completion_tokens"] == 4


def test_with_a_share_of_zero_the_target_does_not_write_the_opening() -> None:
    policy = DelegationPolicy.non_reasoning(budget=Budget(target_share=0))
    pair = ChatSpeculativeThinking(speculative=ScriptedBackend("A. B."), target=ScriptedBackend("C."), policy=policy)
    message = pair.invoke("hi")
    assert message.text.startswith("A. B.")
    assert message.response_metadata["speculative_thinking"]["takeovers"] == 0
