"""The tokens of a turn: what the contexts allow, what the user sets, and what is kept for the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from langchain_spec_thinking import (
    Budget,
    ChatSpeculativeThinking,
    DelegationPolicy,
    OpenAIBackend,
    TargetLeads,
    recording,
)
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.recording.replay import replay
from langchain_spec_thinking.room import TOKENS_MAX, TokenLimits, tokens_that_fit
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import Tools
from langchain_spec_thinking.turn import Message, Turn

LONG_THOUGHT = "So it goes on.\n\n" * 3000
CUE_THEN_LONG = "One.\n\nWait, no.\n\n" + LONG_THOUGHT


@dataclass
class Model(ScriptedBackend):
    """A scripted model that says how long its context is, and whether its tokens cost money."""

    context: int | None = None
    billed: bool = False

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(context=self.context, billed=self.billed, counts_exactly=True)


def model(script: Any, context: int | None = None, *, billed: bool = False) -> Model:
    made = Model(script, thinks=True)
    made.context, made.billed = context, billed
    return made


def thinker(turn: Turn) -> str:
    """Write a thought of 15,000 tokens, or the answer."""
    return "Four." if turn.closing else LONG_THOUGHT


def pair(**settings: Any) -> ChatSpeculativeThinking:
    return ChatSpeculativeThinking(**{"speculative": model(thinker), "target": model("Two."), **settings})


def fit(*contexts: int | None, max_tokens: int | None = None, **turn: Any) -> int:
    history = (Message("user", "x" * 400),)
    return tokens_that_fit(Turn(history, **turn), [model("A", context) for context in contexts], max_tokens)


@pytest.mark.parametrize(
    ("contexts", "max_tokens", "expected"),
    [
        pytest.param((None, None), None, TOKENS_MAX, id="without a known context there is a limit all the same"),
        pytest.param((4096, None), None, 4096 - 9, id="what the only known context leaves"),
        pytest.param((4096, 1000), None, 1000 - 9, id="what the smaller context leaves"),
        pytest.param((10**6, None), None, 10**6 - 9, id="a long context is used"),
        pytest.param((4096, None), 500, 500, id="what the user sets"),
        pytest.param((4096, None), 9000, 4096 - 9, id="a larger limit than the context allows is lowered"),
        pytest.param((None, None), 90_000, 90_000, id="without a known context, the user may set more"),
        pytest.param((5, None), None, 1, id="a conversation that does not fit leaves the error to the model"),
    ],
)
def test_the_tokens_of_a_turn(contexts: tuple[int | None, ...], max_tokens: int | None, expected: int) -> None:
    assert fit(*contexts, max_tokens=max_tokens) == expected


def test_a_thought_that_is_written_counts_in_every_limit() -> None:
    turn = Turn((Message("user", "x"),))
    assert TokenLimits(100, 40).machine_settings(turn, []) == {"max_tokens": 100, "thinking_limit": (40, 45)}
    assert TokenLimits(100, 40).machine_settings(turn, [], written=30) == {
        "max_tokens": 70,
        "thinking_limit": (10, 15),
    }
    assert TokenLimits(100, 40).machine_settings(turn, [], written=42) == {"max_tokens": 58, "thinking_limit": (0, 3)}


def test_tools_and_schemas_take_room_too() -> None:
    schema = {"name": "add", "parameters": {"type": "object", "properties": {}}}
    assert fit(4096, tools=Tools((schema,))) < fit(4096)
    assert fit(4096, schema=schema) < fit(4096)


@pytest.mark.parametrize(
    ("settings", "thought"),
    [
        pytest.param({"max_tokens": 2048}, 1408, id="max_tokens alone keeps tokens for the answer"),
        pytest.param({"thinking_tokens": 100}, 100, id="thinking_tokens"),
        pytest.param({"speculative": model(thinker, 1000)}, 600, id="the context of the small model"),
        pytest.param({"target": model("Two.", 1000)}, 600, id="the context of the large model"),
    ],
)
def test_a_long_thought_is_closed_at_a_boundary_and_answered(settings: dict[str, Any], thought: int) -> None:
    message = pair(**settings).invoke("2 + 2?")
    thinking = "".join(block["reasoning"] for block in message.content_blocks if block["type"] == "reasoning")
    assert message.text == "Four."
    assert thinking.endswith("on.\n\n")
    tokens = sum(one["tokens"] for one in message.response_metadata["speculative_thinking"]["segments"]) - 1
    assert thought <= tokens < thought + 100


def test_a_call_may_set_thinking_tokens() -> None:
    message = pair().invoke("2 + 2?", thinking_tokens=50)
    assert message.text == "Four."
    assert message.usage_metadata
    assert message.usage_metadata["output_tokens"] < 70


@pytest.mark.parametrize(("billed", "asked"), [(True, 28), (False, 20)])
def test_takeovers_on_a_billed_target_may_finish_a_word(billed: bool, asked: int) -> None:
    target = model("Hm. " * 50, billed=billed)
    pair(speculative=model(CUE_THEN_LONG), target=target, thinking_tokens=50).invoke("x")
    assert target.requests[0][0].max_tokens == asked


@pytest.mark.parametrize(("url", "billed"), [("https://api.example.com/v1", True), ("http://127.0.0.1:8000/v1", False)])
def test_a_server_outside_of_your_network_is_billed(url: str, billed: bool) -> None:
    assert OpenAIBackend("m", base_url=url, api_key="k").capabilities.billed is billed


def test_a_turn_with_the_rest_and_a_thinking_limit_is_replayed_exactly() -> None:
    policy = DelegationPolicy(takeover_tokens="rest", takeover_interval=5)
    small = model(lambda turn: "Four." if turn.closing else CUE_THEN_LONG)
    records: list[Any] = []
    with recording(records.append):
        message = pair(speculative=small, target=model(LONG_THOUGHT), policy=policy, thinking_tokens=90).invoke(
            "2 + 2?"
        )
    report = message.response_metadata["speculative_thinking"]
    assert message.text == "Four."
    assert report["takeovers"] == 1
    assert [segment["author"] for segment in report["segments"]] == ["speculative", "target", "speculative"]
    again = replay(type(records[0]).from_dict(records[0].as_dict()))
    assert again.valid
    assert again.report.escalated == report["escalated"]
    assert (again.turn.thinking, again.turn.answer) == (records[0].thinking, records[0].answer)


REST = DelegationPolicy(takeover_tokens="rest")
REASON = "the policy decided for a takeover at 'wait', and a takeover is the rest of the thought"


@pytest.mark.parametrize(
    ("policy", "large", "escalated"),
    [
        pytest.param(REST, LONG_THOUGHT, REASON, id="the large model writes the rest"),
        pytest.param(DelegationPolicy(), LONG_THOUGHT, None, id="takeovers of some tokens"),
        pytest.param(replace(REST, budget=Budget(requests=0)), LONG_THOUGHT, None, id="the budget allows nothing"),
        pytest.param(REST, "", None, id="the large model writes nothing"),
        pytest.param(replace(REST, trigger=TargetLeads(("wait",))), LONG_THOUGHT, None, id="the small model writes it"),
    ],
)
def test_the_report_says_why_the_large_model_wrote_the_rest(
    policy: DelegationPolicy, large: str, escalated: str | None
) -> None:
    small = model(lambda turn: "Four." if turn.closing else CUE_THEN_LONG)
    if policy.trigger.lead == "target":
        small, large = model(LONG_THOUGHT), CUE_THEN_LONG
    message = pair(speculative=small, target=model(large), policy=policy, thinking_tokens=90).invoke("2 + 2?")
    assert message.response_metadata["speculative_thinking"]["escalated"] == escalated
