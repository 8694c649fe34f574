"""The table of departures from the reference implementation in the page about the method is the one of the script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import departures
from langchain_spec_thinking.policy import DelegationPolicy

PAGE = Path(__file__).parents[2] / "docs" / "method.md"
_ROW = re.compile(r"^\| ([^|]+?) \|[^|]*\| (\d+) \|$", re.MULTILINE)


def test_the_page_shows_how_many_turns_each_departure_changes() -> None:
    shown = {words: int(count) for words, count in _ROW.findall(PAGE.read_text(encoding="utf-8"))}
    assert shown == departures.changed_turns()


def test_each_departure_changes_some_turns() -> None:
    assert all(departures.changed_turns(40).values())


def test_two_equal_policies_write_the_same_turns() -> None:
    same = {"the same policy": (DelegationPolicy(), DelegationPolicy())}
    assert departures.changed_turns(10, same) == {"the same policy": 0}


@pytest.mark.parametrize("policy", [DelegationPolicy(), DelegationPolicy.paper()], ids=["default", "paper"])
def test_the_scripted_turns_hold_what_the_rules_are_about(policy: DelegationPolicy) -> None:
    turns = [departures.write(policy, seed) for seed in range(20)]
    assert all(any("</think>" in text for _, text in turn) for turn in turns)
    assert sum(author == "target" for turn in turns for author, _ in turn) > len(turns)
