"""Regressions: secrets in records, invalid replays, and lost answers of evaluations."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import HumanMessage
from pydantic import SecretStr

from langchain_spec_thinking import (
    AllOf,
    Budget,
    ChatSpeculativeThinking,
    CueTrigger,
    DelegationPolicy,
    FirstTokenEntropy,
    RandomTrigger,
    Record,
    ScoreAndAccept,
    Trigger,
    recording,
    replay,
)
from langchain_spec_thinking.evaluation.mining import steps
from langchain_spec_thinking.evaluation.outcomes import SIDES, Outcome
from langchain_spec_thinking.evaluation.runs import _Store
from langchain_spec_thinking.evaluation.variants import Variant, alone, reseeded
from langchain_spec_thinking.jsonl import LineAppender, read_lines
from langchain_spec_thinking.report import AuthorUsage
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.evaluation.sums import pair, sums

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_spec_thinking.policy.triggers import Draft
    from langchain_spec_thinking.turn import Author

STEP = "I add two and three."
THOUGHT = f"Well.\n\n{STEP}\n\nWait, I check.\n\nSo.</think>Five."


class Guarded(Trigger):
    """A user's own trigger that holds a client of its own service."""

    def __init__(self) -> None:
        self.note = "mine"
        self.key = SecretStr("sk-secret")
        self.words = re.compile("wait")
        self._client = object()

    def examine(self, draft: Draft) -> None:
        return None


def recorded(trigger: Trigger, **settings: Any) -> Record:
    def target(half: Any) -> str:
        return "9" if "Rating" in half.body() else "Hold on.\n\nFine."

    records: list[Record] = []
    model = ChatSpeculativeThinking(
        speculative=ScriptedBackend(lambda half: THOUGHT.removeprefix(half.thinking), thinks=True),
        target=ScriptedBackend(target),
        policy=DelegationPolicy(trigger=trigger, **settings),
    )
    with recording(records.append):
        model.invoke([HumanMessage("hi")])
    return records[0]


def test_a_record_without_texts_contains_no_step() -> None:
    record = recorded(ScoreAndAccept())
    assert STEP in record.to_json()
    assert "add two" not in record.without_texts().to_json()


def test_a_record_contains_no_secret_of_a_trigger() -> None:
    text = recorded(Guarded()).to_json()
    assert "mine" in text
    assert "sk-secret" not in text


@pytest.mark.parametrize(
    "policy",
    [
        DelegationPolicy(trigger=ScoreAndAccept(question="Good?")),
        DelegationPolicy(trigger=FirstTokenEntropy(0.0), takeover_tokens=None),
    ],
)
def test_a_replay_that_needs_other_requests_is_not_valid(policy: DelegationPolicy) -> None:
    assert replay(recorded(ScoreAndAccept()), DelegationPolicy(trigger=ScoreAndAccept())).valid
    assert not replay(recorded(ScoreAndAccept()), policy).valid


def test_a_replay_with_another_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="budget: expected the budget of the recorded policy"):
        replay(recorded(CueTrigger()), DelegationPolicy(budget=Budget(target_tokens=1)))


def test_a_random_trigger_inside_another_trigger_is_reseeded() -> None:
    trigger = AllOf(CueTrigger(), RandomTrigger(0.5))
    assert reseeded(trigger, 7) == AllOf(CueTrigger(), RandomTrigger(0.5, seed=7))
    assert reseeded(AllOf(CueTrigger()), 7) == AllOf(CueTrigger())


@pytest.mark.parametrize(("text", "kept"), [('{"a": 1}\n{"b": 2}', 3), ('{"a": 1}\n{"b": ', 2), ('{"a": 1}', 2)])
def test_appending_removes_only_an_incomplete_last_line(text: str, kept: int, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text(text, encoding="utf-8")
    LineAppender(file)('{"c": 3}')
    assert len(list(read_lines(file))) == kept


RECORD: dict[str, Any] = {
    "thinking": "x" * 60,
    "answer": "y" * 40,
    "began": 0.0,
    "streams": [],
    "report": {
        "segments": [
            {"author": "target", "channel": "thinking", "kind": "lead", "start": 0, "end": 30, "tokens": 5},
            {"author": "target", "channel": "thinking", "kind": "reflection", "start": 30, "end": 60, "tokens": 6},
            {"author": "target", "channel": "answer", "kind": "trigger", "start": 10, "end": 20, "tokens": 7},
            {"author": "target", "channel": "answer", "kind": "answer", "start": 20, "end": 40, "tokens": 8},
        ],
        "usage": {
            "speculative": {"requests": 1, "prompt_tokens": 10, "completion_tokens": 3},
            "target": {"requests": 2, "prompt_tokens": 40, "completion_tokens": 26},
        },
    },
}


def test_takeovers_in_thought_and_answer_are_counted() -> None:
    """Neither a stretch that the target leads nor the target's answer is a takeover.

    If a pair does not reason, its takeovers are in the answer.
    """
    assert Outcome.of_record("q", RECORD).takeovers == ((0.3, "reflection"), (0.7, "trigger"))


def test_usage_of_a_model_alone_includes_both_sides() -> None:
    """The model is on both sides of its pair. Requests to both count, for example a second one after a blank answer."""
    found = Outcome.of_record("q", RECORD, "speculative")
    assert found.usage["speculative"] == AuthorUsage(requests=3, prompt_tokens=50, completion_tokens=29)
    assert found.usage["target"] == AuthorUsage()
    assert (found.tokens["speculative"], found.takeovers) == (26, ())


@pytest.mark.parametrize("side", SIDES)
def test_a_model_alone_is_asked_for_whole_replies(side: Author) -> None:
    """A host that writes on after a disconnect otherwise gets requests of 256 tokens."""
    model = ScriptedBackend("One.\n\nWait, two.")
    alone(ChatSpeculativeThinking(speculative=model, target=model), side, "alone").model.invoke("x")
    assert [request.whole for request, _ in model.requests] == [True]


def test_steps_of_the_answer_are_mined_if_there_is_no_thought() -> None:
    records: list[Record] = []
    model = ChatSpeculativeThinking(
        speculative=ScriptedBackend("I add.\n\nSo it is five."),
        target=ScriptedBackend("Never asked."),
        policy=DelegationPolicy(trigger=RandomTrigger(0)),
    )
    with recording(records.append):
        model.invoke([HumanMessage("hi")])
    assert not records[0].thinking
    assert list(steps(records[0])) == ["So it is five."]


def test_lines_of_code_after_a_blank_line_are_not_mined() -> None:
    records: list[Record] = []
    small = ScriptedBackend("I add.\n\n```\na = 1\n\nb = 2\n```\n\nSo it is five.")
    policy = DelegationPolicy(trigger=RandomTrigger(0))
    with recording(records.append):
        ChatSpeculativeThinking(speculative=small, target=small, policy=policy).invoke([HumanMessage("hi")])
    assert [step[:3] for step in steps(records[0])] == ["```", "So "]


def test_an_incomplete_last_line_of_a_growing_file_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    for half in (b'{"b": ', '{"b": "é'.encode()[:-1]):
        file.write_bytes(b'{"a": 1}\n' + half)
        assert [held for _, held in read_lines(file, allow_incomplete_last_line=True)] == [{"a": 1}]
    with pytest.raises(ValueError, match="line 2: expected a JSON object"):
        list(read_lines(file))  # a data set must be complete to the last line
    file.write_text('{"a": \n{"b": 2}', encoding="utf-8")
    with pytest.raises(ValueError, match="line 1: expected a JSON object"):
        list(read_lines(file, allow_incomplete_last_line=True))


def test_an_answer_is_stored_even_if_its_check_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("def check(answer, right):\n    return 1 / 0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    (question, *_), folder = sums(), tmp_path / "out"
    runs = _Store(folder, "broken:check", [question])
    record = recorded(CueTrigger())
    with pytest.raises(ZeroDivisionError):
        runs.add(Variant("pair", pair()), question, record)
    again = _Store(folder, "exact", [replace(question, answer=record.answer)])
    assert again.done["pair", question.id].right


def test_settings_may_change_if_all_answers_were_errors(tmp_path: Path) -> None:
    (question, *_) = sums()
    runs = _Store(tmp_path, "exact", [question])
    runs.require_same([Variant("pair", pair(max_tokens=10))])
    runs.add(Variant("pair", pair(max_tokens=10)), question, "no server")
    corrected = Variant("pair", pair(max_tokens=99))
    _Store(tmp_path, "exact", [question]).require_same([corrected])
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["pair"] == json.loads(json.dumps(corrected.settings))
