"""Tests of triggers in whole turns: the requests to the models, the text shown, and the usage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import HumanMessage

from langchain_spec_thinking import (
    AllOf,
    AnyOf,
    Budget,
    ChatSpeculativeThinking,
    CueTrigger,
    DelegationPolicy,
    FirstTokenEntropy,
    ScoreAndAccept,
    TargetLeads,
    Trace,
)
from langchain_spec_thinking.backends.base import Backend, Event, Piece, Request
from langchain_spec_thinking.drivers import drive
from langchain_spec_thinking.errors import BackendError, StreamCutError
from langchain_spec_thinking.policy.scored_step import NO_DIGIT
from langchain_spec_thinking.report import Takeover
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends import tiny

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_spec_thinking.backends.capabilities import Capabilities
    from langchain_spec_thinking.testing import Script
    from langchain_spec_thinking.turn import Turn

QUESTION = "\n\nRate the step. Rating:"
SCORE = DelegationPolicy(trigger=ScoreAndAccept(question=QUESTION))
STEPS = ["One and one is 2.\n\n", "Two and two is 5.\n\n", "So it is 5.\n\n", "That is it."]


def small(turn: Turn) -> str:
    """Write the steps that are still missing in the answer."""
    return "".join(STEPS[turn.answer.count("\n\n") :])


def large(turn: Turn) -> str:
    """Answer a score request (2 if the step contains 5, else 9), or write a step."""
    if turn.pending.endswith(QUESTION):
        return " 2." if "5" in turn.pending else " 9."
    return "It is 4, and more.\n\nNext"


def scored(policy: DelegationPolicy = SCORE, target: Backend | None = None, **settings: Any) -> Any:
    target = target or ScriptedBackend(large, name="large")
    return ChatSpeculativeThinking(speculative=ScriptedBackend(small), target=target, policy=policy, **settings)


def test_bad_steps_are_rewritten_and_scores_are_usage_of_the_target() -> None:
    target = ScriptedBackend(large, name="large")
    message = scored(target=target).invoke("2 + 2?")
    step = "It is 4, and more.\n\n"
    assert message.text == STEPS[0] + step + step + STEPS[3]
    report = message.response_metadata["speculative_thinking"]
    assert [(s["author"], s["kind"], s["cue"]) for s in report["segments"]] == [
        ("speculative", "draft", None),
        ("target", "trigger", "2"),
        ("target", "trigger", "2"),
        ("speculative", "draft", None),
    ]
    assert report["takeovers"] == 2
    scores = [request for request, body in target.requests if body.endswith(QUESTION)]
    assert [(r.temperature, r.max_tokens, r.stop, r.top_logprobs) for r in scores] == [(0.0, 4, (), 0)] * 3
    assert report["usage"]["target"]["requests"] == len(target.requests) == 5
    # Two steps of six tokens, each with the first word of the next step, and three scores of one word each.
    assert report["usage"]["target"]["completion_tokens"] == 2 * (6 + 1) + 3
    assert report["usage"]["target"]["discarded_tokens"] == 2 + 3
    written = [(d["author"], d["text"]) for d in report["dropped"] if d["author"] == "target"]
    assert written == [("target", " 2."), ("target", "Next"), ("target", " 2."), ("target", "Next"), ("target", " 9.")]
    assert report["degraded"] == []


def test_the_question_is_no_part_of_the_turn() -> None:
    small_model = ScriptedBackend(small)
    pair = ChatSpeculativeThinking(speculative=small_model, target=ScriptedBackend(large), policy=SCORE)
    message = pair.invoke("2 + 2?")
    assert "Rat" not in message.text
    assert not any("Rat" in body for _, body in small_model.requests)


def test_streaming_shows_no_step_before_its_score() -> None:
    target = ScriptedBackend(large)
    shown = ""
    for chunk in scored(target=target).stream("2 + 2?"):
        shown += chunk.text
        score_requests = [body for _, body in target.requests if body.endswith(QUESTION)]
        assert shown.count("\n\n") <= len(score_requests) + 1  # the first step has no boundary before it
    assert shown == scored().invoke("2 + 2?").text


async def test_asynchronous_turns_are_the_same() -> None:
    assert (await scored().ainvoke("2 + 2?")).text == scored().invoke("2 + 2?").text


def test_a_takeover_event_holds_the_dropped_draft() -> None:
    run = scored().new_run([HumanMessage("2 + 2?")])
    takeovers = [event for event in drive(run) if isinstance(event, Takeover)]
    assert [takeover.draft for takeover in takeovers] == STEPS[1:3]


def test_a_step_without_a_digit_as_score_is_accepted_and_reported() -> None:
    message = scored(target=ScriptedBackend("Hm, well, you see")).invoke("2 + 2?")
    assert message.text == "".join(STEPS)
    assert message.response_metadata["speculative_thinking"]["degraded"] == [NO_DIGIT]


class Broken(ScriptedBackend):
    """A target that fails if it is asked for a score."""

    def __init__(self, error: BackendError, written: str = "") -> None:
        super().__init__()
        self.error, self.written = error, written

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        self.requests.append((request, turn.body()))
        if self.written:
            yield Piece(self.written)
        raise self.error


@pytest.mark.parametrize("error", [BackendError("gone"), StreamCutError("large", "here")])
@pytest.mark.parametrize("written", ["", "Well"])
def test_a_failed_score_keeps_the_step(error: BackendError, written: str) -> None:
    target = Broken(error, written)
    message = scored(target=target).invoke("2 + 2?")
    assert message.text == "".join(STEPS)
    assert "the large model failed" in message.response_metadata["speculative_thinking"]["degraded"][0]
    assert len(target.requests) <= 2  # a broken stream may be requested once more


def test_a_failed_score_can_raise_an_error_with_the_text() -> None:
    with pytest.raises(BackendError, match="gone") as caught:
        scored(target=Broken(BackendError("gone")), on_target_failure="raise").invoke("2 + 2?")
    assert caught.value.answer == STEPS[0]


@pytest.mark.parametrize("tokens", [0, 1, 2, 9])
@pytest.mark.parametrize("script", [large, "Well, I say 9."])
def test_scores_stay_within_the_budget_and_only_the_target_scores(tokens: int, script: Script | str) -> None:
    speculative, target = ScriptedBackend(small), ScriptedBackend(script, name="large")
    policy = DelegationPolicy(trigger=SCORE.trigger, budget=Budget(target_tokens=tokens))
    pair = ChatSpeculativeThinking(speculative=speculative, target=target, policy=policy)
    report = pair.invoke("2 + 2?").response_metadata["speculative_thinking"]
    assert report["usage"]["target"]["completion_tokens"] <= tokens
    assert report["usage"]["target"]["requests"] == len(target.requests)
    assert script != large or "the budget is spent" in report["degraded"][0]
    assert not any(QUESTION in body for _, body in speculative.requests)
    assert all(request.max_tokens > 4 for request, _ in speculative.requests)


class Billed(ScriptedBackend):
    """A service whose requests are limited to 2 tokens."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, request_tokens_max=2)


def test_a_score_is_requested_once() -> None:
    target = Billed("Well, I say 9.", name="large")
    message = scored(target=target).invoke("2 + 2?")
    assert message.text == "".join(STEPS)
    assert [body.endswith(QUESTION) for _, body in target.requests] == [True] * 3


def test_a_local_target_reads_each_step_once() -> None:
    """The question comes after the turn in the prompt, so the target's KV cache holds the turn for every score."""
    model = tiny.llama(1)
    target = tiny.backend(model)
    policy = DelegationPolicy(trigger=ScoreAndAccept(question="\nso:"), boundary="\n")
    pair = ChatSpeculativeThinking(
        speculative=tiny.backend(), target=target, policy=policy, temperature=0, max_tokens=120
    )
    report = pair.invoke("the cat sat").response_metadata["speculative_thinking"]
    usage = report["usage"]["target"]
    assert usage["requests"] > 3
    read = usage["prompt_tokens"] - usage["cached_tokens"]
    turn_and_questions = 40 + 120 + usage["requests"] * (target.count_tokens("\nso:") + 2)
    assert read < turn_and_questions < usage["prompt_tokens"]


def test_a_leading_target_hands_over_easy_steps_without_a_takeover() -> None:
    """Each step of the small model begins with the cue that the target wrote."""

    def leading_target(turn: Turn) -> str:
        return "Let x be 3.\n\nSo it is, as I say.\n\n" if "So" not in turn.answer else "Done."

    pair = ChatSpeculativeThinking(
        speculative=ScriptedBackend(" x is 3.\n\nNext"),
        target=ScriptedBackend(leading_target),
        policy=DelegationPolicy(trigger=TargetLeads()),
    )
    message = pair.invoke("x?")
    assert message.text == "Let x be 3.\n\nSo x is 3.\n\nDone."
    report = message.response_metadata["speculative_thinking"]
    assert [(s["author"], s["kind"], s["cue"]) for s in report["segments"]] == [
        ("target", "lead", None),
        ("speculative", "relay", "so"),
        ("target", "lead", None),
    ]
    assert report["takeovers"] == 0
    page = Trace.of(message).html()
    assert "relay: so" in page
    assert "All takeovers" not in page


def test_a_leading_target_keeps_to_its_budget() -> None:
    policy = DelegationPolicy(trigger=TargetLeads(), budget=Budget(target_tokens=4))
    pair = ChatSpeculativeThinking(
        speculative=ScriptedBackend(" And so on."), target=ScriptedBackend("Let x be 3, as I say."), policy=policy
    )
    message = pair.invoke("x?")
    assert message.text == "Let x be 3, And so on."
    report = message.response_metadata["speculative_thinking"]
    assert report["usage"]["target"]["completion_tokens"] == 4
    assert "the budget is spent" in report["degraded"][0]


def test_the_small_model_replaces_a_leading_target_that_fails() -> None:
    pair = ChatSpeculativeThinking(
        speculative=ScriptedBackend("One.\n\nSo two."),
        target=Broken(BackendError("gone")),
        policy=DelegationPolicy(trigger=TargetLeads()),
    )
    assert pair.invoke("x?").text == "One.\n\nSo two."


def test_pairs_with_other_triggers_share_no_cache_entry() -> None:
    entropy, cues = FirstTokenEntropy(), CueTrigger()
    triggers = [cues, AnyOf(cues, ScoreAndAccept()), AnyOf(ScoreAndAccept(), cues), ScoreAndAccept(), TargetLeads()]
    triggers += [entropy, FirstTokenEntropy(1.5), AnyOf(entropy), AllOf(entropy), AnyOf(AnyOf(entropy))]
    cache = InMemoryCache()
    for number, trigger in enumerate(triggers):
        pair = ChatSpeculativeThinking(
            speculative=ScriptedBackend(str(number), logprobs=lambda _: (0.0,)),
            target=ScriptedBackend(f"{number}"),
            policy=DelegationPolicy(trigger=trigger, takeover_tokens=20),
            cache=cache,
        )
        assert pair.invoke("x").text == str(number)
