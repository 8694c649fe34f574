"""Whole turns with `DelegationPolicy.paper()`: streamed, recorded, replayed, and named on a command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, Record, recording, replay
from langchain_spec_thinking.evaluation.policy_lines import format_policy, parse_policy
from langchain_spec_thinking.policy import CueTrigger, Lexicon, ReferenceRules
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from langchain_spec_thinking.turn import Turn

KEEPS_AGREEING = DelegationPolicy.paper(choose_large=False, takeover_tokens=4)
POLICIES = pytest.mark.parametrize(
    "policy", [DelegationPolicy.paper(takeover_tokens=4), KEEPS_AGREEING], ids=["choose_large", "choose_large=False"]
)


def small(turn: Turn) -> str:
    if turn.channel == "answer":
        return " It is five." if turn.answer.strip() else "Yes, I see it now."
    return " So it is.\n</think>\n\nYes, I am sure." if "\n\n" in turn.thinking else "I add.\n\nWait, is it right?"


def large(turn: Turn) -> str:
    return "Five, that is it, to be sure." if turn.channel == "answer" else "Wait once more, it is."


def pair(policy: DelegationPolicy) -> ChatSpeculativeThinking:
    speculative, target = (ScriptedBackend(script, thinks=True) for script in (small, large))
    return ChatSpeculativeThinking(speculative=speculative, target=target, policy=policy)


def parts(message: AIMessage) -> list[tuple[str, str, str]]:
    found = message.response_metadata["speculative_thinking"]["segments"]
    return [(segment["author"], segment["channel"], segment["kind"]) for segment in found]


def test_the_large_model_also_takes_over_in_the_answer() -> None:
    message = pair(DelegationPolicy.paper(takeover_tokens=4)).invoke("2 + 3?")
    assert parts(message) == [
        ("speculative", "thinking", "draft"),
        ("target", "thinking", "reflection"),
        ("speculative", "thinking", "draft"),
        ("target", "answer", "affirmation"),
        ("speculative", "answer", "draft"),
    ]
    assert message.text == "Five, that is it, It is five."


def test_a_draft_that_agrees_with_the_takeover_is_kept() -> None:
    message = pair(KEEPS_AGREEING).invoke("2 + 3?")
    assert {author for author, channel, _ in parts(message) if channel == "thinking"} == {"speculative"}
    report = message.response_metadata["speculative_thinking"]
    assert report["usage"]["target"]["discarded_tokens"] == 4
    assert report["usage"]["speculative"]["discarded_tokens"] > 0


@POLICIES
def test_streaming_and_invoking_give_the_same_turn(policy: DelegationPolicy) -> None:
    streamed = None
    for chunk in pair(policy).stream("2 + 3?"):
        streamed = chunk if streamed is None else streamed + chunk
    invoked = pair(policy).invoke("2 + 3?")
    assert streamed is not None
    assert (streamed.content, parts(streamed)) == (invoked.content, parts(invoked))


@POLICIES
def test_a_record_is_replayed(policy: DelegationPolicy) -> None:
    records: list[Record] = []
    with recording(records.append):
        pair(policy).invoke("2 + 3?")
    record = Record.from_dict(json.loads(records[0].to_json()))
    assert record.policy["reference_rules"]["in_answer"] is True
    again = replay(record)
    assert again.valid, str(again.difference)
    assert (again.turn.thinking, again.turn.answer) == (record.thinking, record.answer)
    assert not replay(record, DelegationPolicy(takeover_tokens=4)).valid


@pytest.mark.parametrize(
    ("line", "policy"),
    [
        ("paper", DelegationPolicy.paper()),
        ("own:mode=paper", DelegationPolicy.paper()),
        ("own:mode=paper,choose_large=False,takeover_tokens=4", KEEPS_AGREEING),
        ("paper:opening_tokens=100", DelegationPolicy.paper(opening_tokens=100)),
        (
            "own:mode=paper,substrings=False,reflection=wait|hm",
            DelegationPolicy.paper(trigger=CueTrigger(Lexicon(reflection=("wait", "hm")))),
        ),
        ("paper:mode=reasoning", DelegationPolicy()),
    ],
)
def test_a_line_names_the_policy(line: str, policy: DelegationPolicy) -> None:
    name, parsed = parse_policy(line)
    assert parsed == policy
    if policy.reference_rules != ReferenceRules():
        assert parse_policy(format_policy(name, policy)) == (name, policy)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("own:choose_large=False", "choose_large: no such setting"),
        ("own:mode=paper,choose_large=3", "choose_large: expected True or False, got 3"),
        ("own:mode=paper,trigger=random,probability=0.5", "need a CueTrigger"),
        ("own:mode=papers", "expected one of reasoning, non_reasoning, gated, paper"),
    ],
)
def test_a_line_that_does_not_fit_is_refused(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_policy(line)


def test_a_policy_with_one_rule_alone_needs_a_file() -> None:
    policy = DelegationPolicy(reference_rules=ReferenceRules(exact_lengths=True))
    with pytest.raises(ValueError, match="Save it as JSON"):
        format_policy("own", policy)
