"""Rules of escalation in lines of a command, and the reason of an escalation on the page and in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from langchain_spec_thinking import (
    Agreement,
    DelegationPolicy,
    EscalateIfAny,
    Stall,
    Trace,
)
from langchain_spec_thinking.cli.view import summary
from langchain_spec_thinking.evaluation.policy_lines import format_policy, parse_policy
from tests.unit_tests.gated_pairs import (
    DIFFER,
    QUESTION,
    gated,
    pair,
)

if TYPE_CHECKING:
    from pathlib import Path


LINES = [
    ("gated", DelegationPolicy.gated()),
    ("gated:samples=3,temperature=1.0", DelegationPolicy.gated(escalation=Agreement(3, 1.0))),
    ("three:mode=gated,samples=3,escalate_to=continue", gated(Agreement(3), escalate_to="continue")),
    (
        "x:escalation=stall,tokens=900,takeover_tokens=40",
        DelegationPolicy(escalation=Stall(tokens=900), takeover_tokens=40),
    ),
    ("x:mode=non_reasoning,escalation=agreement", DelegationPolicy.non_reasoning(escalation=Agreement())),
]


@pytest.mark.parametrize(("line", "policy"), LINES, ids=[line for line, _ in LINES])
def test_a_line_names_a_rule(line: str, policy: DelegationPolicy) -> None:
    assert parse_policy(line)[1] == policy
    assert parse_policy(format_policy("again", policy))[1] == policy


BAD_LINES = [
    ("x:escalation=vote", "escalation: expected one of agreement, confidence, .*stall.* got 'vote'"),
    ("x:escalation=[1]", "escalation: expected one of"),
    ("x:mode=gate", "mode: expected one of reasoning, non_reasoning, gated, paper, got 'gate'"),
    ("gated:samples=1", "samples: expected a whole number from 2 to 16, got 1"),
    ("gated:temperature=hot", "no_takeovers: .*not supported between"),
    ("x:samples=3", "samples: no such setting"),
    ("gated:lead=both", "lead: expected 'speculative' or 'target', got 'both'"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=[line for line, _ in BAD_LINES])
def test_a_line_that_names_no_rule_is_refused(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_policy(line)


def test_a_policy_with_combined_rules_does_not_fit_in_a_line() -> None:
    with pytest.raises(ValueError, match="does not fit in a line"):
        format_policy("x", gated(EscalateIfAny(Stall(), Agreement())))


def test_the_page_and_the_terminal_say_why_the_large_model_got_the_question(tmp_path: Path) -> None:
    trace = Trace.of(pair("4", "5").invoke(QUESTION))
    trace.save(tmp_path / "run.json")
    again = Trace.load(tmp_path / "run.json")
    assert f"The large model took over: {DIFFER}" in again.html()
    assert summary(again.report).endswith(f"it took over: {DIFFER}")
    accepted = Trace.of(pair("5", "5").invoke(QUESTION))
    assert "took over" not in accepted.html() + summary(accepted.report)
