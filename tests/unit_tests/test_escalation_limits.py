"""Limits of a turn with a rule of escalation: contexts, tokens, thoughts, budgets, seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking import (
    Agreement,
    Budget,
    DelegationPolicy,
)
from langchain_spec_thinking.backends.base import Piece
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.deadline import Clock
from langchain_spec_thinking.errors import TurnTimeoutError
from langchain_spec_thinking.room import TOKENS_MAX
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.gated_pairs import (
    DIFFER,
    LARGE,
    LONG,
    QUESTION,
    THE_REST,
    THOUGHT,
    WITH_CUE,
    Answers,
    Failing,
    gated,
    long_thinker,
    pair,
    report,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_core.messages import AIMessage

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn


@dataclass
class Small(Answers):
    """A small model with a short context."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(context=200)


def sent(backend: Any) -> list[int]:
    """Return the token limits of the requests that a backend received."""
    return [request.max_tokens for request, _ in backend.requests]


def test_the_context_of_the_small_model_does_not_limit_a_large_model_that_starts_anew() -> None:
    model = pair(speculative=Small(["4", "5"]))
    model.invoke(QUESTION)
    assert max(sent(model.speculative)) < 200
    assert sent(model.target) == [TOKENS_MAX]


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(gated(escalate_to="continue"), id="if the large model continues its thought"),
        pytest.param(DelegationPolicy(escalation=Agreement()), id="if the large model may take over in its thought"),
    ],
)
def test_the_small_model_writes_no_more_than_the_large_model_can_read(policy: DelegationPolicy) -> None:
    class Large(ScriptedBackend):
        @property
        def capabilities(self) -> Capabilities:
            return Capabilities(context=100)

    model = pair("4", "5", large=Large(LARGE, thinks=True), policy=policy)
    model.invoke(QUESTION)
    attempt = next(request for request, _ in model.speculative.requests if request.seed == 0)  # type: ignore[attr-defined]
    assert attempt.max_tokens < 100


def test_every_run_of_a_turn_has_the_limits_for_itself() -> None:
    model = pair("4", "5", max_tokens=100)
    model.invoke(QUESTION)
    assert sent(model.speculative) == [100, 100]
    assert sent(model.target) == [100]


def test_thoughts_of_samples_and_of_the_large_model_are_limited_too() -> None:
    model = pair("4", "5", thought=LONG, large=ScriptedBackend(long_thinker, name="large", thinks=True))
    message = model.invoke(QUESTION, thinking_tokens=20)
    assert message.text == "It is 5."
    turns = {id(turn): turn for _, turn in model.speculative.requests}  # type: ignore[attr-defined]
    assert [len(turn.thinking) < 150 for turn in turns.values()] == [True, True]
    assert thought_tokens(message, "target") < 30


def thought_tokens(message: AIMessage, *authors: str) -> int:
    segments = [one for one in report(message)["segments"] if one["channel"] == "thinking"]
    return sum(one["tokens"] for one in segments if one["author"] in authors)


def test_a_large_model_that_continues_a_thought_gets_what_the_attempt_left() -> None:
    large = ScriptedBackend(long_thinker, name="large", thinks=True)
    policy = gated(escalate_to="continue")
    message = pair("4", "5", large=large, policy=policy).invoke(QUESTION, thinking_tokens=40, max_tokens=200)
    attempt = thought_tokens(message, "speculative")
    assert 0 < attempt < 40 <= thought_tokens(message, "speculative", "target") < 50
    assert sent(large)[0] == 200 - attempt
    assert message.text == "It is 5."


def test_a_large_model_that_continues_a_thought_at_its_limit_only_answers() -> None:
    large = ScriptedBackend(long_thinker, name="large", thinks=True)
    model = pair("4", "5", thought=LONG, large=large, policy=gated(escalate_to="continue"), thinking_tokens=20)
    message = model.invoke(QUESTION)
    [(_, body)] = large.requests
    assert body.endswith("</think>\n\n")
    assert message.text == "It is 5."


def test_the_report_names_the_rest_of_a_thought_in_an_attempt_that_is_accepted() -> None:
    found = report(pair("5", "5", thought=WITH_CUE, policy=THE_REST).invoke(QUESTION))
    assert found["takeovers"] == 1
    assert "the rest of the thought" in found["escalated"]
    assert report(pair("4", "5", thought=WITH_CUE, policy=THE_REST).invoke(QUESTION))["escalated"] == DIFFER


def test_a_budget_that_is_spent_shows_the_answer_of_the_small_model() -> None:
    message = pair("4", "5", policy=gated(budget=Budget(target_tokens=0))).invoke(QUESTION)
    assert message.text == "4"
    assert report(message)["escalated"] is None
    assert report(message)["degraded"] == [
        "the budget is spent, so the answer of the small model is shown: the large model wrote 0 of at most 0 tokens"
    ]


@pytest.mark.parametrize(("requests", "text"), [(0, "4"), (1, "It is 5.")])
def test_a_budget_limits_the_requests_to_the_large_model(requests: int, text: str) -> None:
    message = pair("4", "5", policy=gated(budget=Budget(requests=requests))).invoke(QUESTION)
    assert message.text == text
    assert report(message)["usage"]["target"]["requests"] == requests


def test_a_budget_limits_the_large_model() -> None:
    found = report(pair("4", "5", policy=gated(budget=Budget(target_tokens=2))).invoke(QUESTION))
    assert found["usage"]["target"]["completion_tokens"] == 2


def test_the_deadline_holds_for_the_large_model_too() -> None:
    now = [0.0]

    class Slow(Failing):
        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            yield Piece("Hm", 1)
            now[0] = 9.0
            yield Piece(", two", 1)

    model = pair("4", "5", large=Slow(), timeout=5)
    model._clock = Clock(now=lambda: now[0])  # noqa: SLF001 - as other tests of deadlines do
    with pytest.raises(TurnTimeoutError) as caught:
        model.invoke(QUESTION)
    assert caught.value.thinking == f"{THOUGHT}\n\nHm, two"


def test_an_attempt_without_an_end_is_escalated() -> None:
    found = report(pair("It is 5.", "It is 5.", max_tokens=3).invoke(QUESTION))
    assert found["escalated"] == DIFFER
