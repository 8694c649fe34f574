"""A turn does not exceed its budget, and the report says that the budget is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking import Budget, ChatSpeculativeThinking, DelegationPolicy, Price
from langchain_spec_thinking.report import AuthorUsage
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Turn

STEP = "Wait, no. "


def asked(budget: Budget, **settings: Any) -> dict[str, Any]:
    """Return the report of a turn with a takeover of four tokens at each of twenty boundaries."""
    script = lambda turn: "".join(f"{STEP}So on {n}.\n\n" for n in range(20 - turn.answer.count("\n\n")))  # noqa: E731
    policy = DelegationPolicy(takeover_tokens=4, reflection_limit=99, reflection_limit_max=99, budget=budget)
    pair = ChatSpeculativeThinking(
        speculative=ScriptedBackend(script), target=ScriptedBackend(STEP * 20), policy=policy, **settings
    )
    found: dict[str, Any] = pair.invoke("hi").response_metadata["speculative_thinking"]
    return found


def test_without_limits_the_target_takes_over_everywhere() -> None:
    found = asked(Budget())
    assert found["takeovers"] > 10
    assert found["degraded"] is None


@pytest.mark.parametrize("tokens", [0, 1, 6, 9, 20])
def test_the_target_writes_no_more_tokens_than_it_may(tokens: int) -> None:
    found = asked(Budget(target_tokens=tokens))
    assert found["usage"]["target"]["completion_tokens"] == tokens
    assert found["degraded"] == f"the budget is spent: the large model wrote {tokens} of at most {tokens} tokens"
    assert found["segments"][-1]["author"] == "speculative"


def test_the_target_comes_back_when_its_share_has_fallen() -> None:
    free, found = asked(Budget()), asked(Budget(target_share=0.2))
    assert free["target_share"] > 0.3
    assert 0.15 < found["target_share"] < 0.3
    authors = [segment["author"] for segment in found["segments"]]
    assert authors.count("target") > 2
    assert "of the tokens, the limit is 20%" in found["degraded"]


def test_a_turn_costs_little_more_than_it_may() -> None:
    price = Price(prompt=1.0, completion=10.0)
    free = asked(Budget(cost=1e9, target_price=price))
    cost = price.of(AuthorUsage(**free["usage"]["target"]))
    found = asked(Budget(cost=cost / 2, target_price=price))
    spent = price.of(AuthorUsage(**found["usage"]["target"]))
    assert cost / 2 <= spent < 0.6 * cost
    assert "the turn cost" in found["degraded"]


def test_prices_tell_cached_tokens_from_others() -> None:
    usage = AuthorUsage(requests=1, prompt_tokens=1_000_000, cached_tokens=400_000, completion_tokens=100_000)
    assert Price(prompt=1, completion=10).of(usage) == pytest.approx(2.0)
    assert Price(prompt=1, completion=10, cached=0.1).of(usage) == pytest.approx(0.6 + 0.04 + 1.0)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"target_tokens": -1}, "target_tokens"),
        ({"target_share": 1.5}, "target_share"),
        ({"cost": 1.0}, "cost"),
        ({"cost": -1.0, "target_price": Price(1, 1)}, "cost"),
    ],
)
def test_what_cannot_work_is_refused_and_named(settings: dict[str, Any], names: str) -> None:
    with pytest.raises(ValueError, match=f"^{names}: "):
        Budget(**settings)


def test_an_answer_that_the_target_may_not_finish_is_finished_by_the_other() -> None:
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
    found = message.response_metadata["speculative_thinking"]
    assert message.text == answer
    assert message.response_metadata["finish_reason"] == "stop"
    assert found["degraded"] == "the budget is spent: the large model wrote 4 of at most 4 tokens"
    assert found["usage"]["target"]["completion_tokens"] == 4


def test_no_share_at_all_keeps_the_target_from_the_opening() -> None:
    policy = DelegationPolicy.non_reasoning(budget=Budget(target_share=0))
    pair = ChatSpeculativeThinking(speculative=ScriptedBackend("A. B."), target=ScriptedBackend("C."), policy=policy)
    message = pair.invoke("hi")
    assert message.text.startswith("A. B.")
    assert message.response_metadata["speculative_thinking"]["takeovers"] == 0
