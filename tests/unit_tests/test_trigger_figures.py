"""The comparison of triggers: the figures of its table, and that no run is repeated."""

from __future__ import annotations

import json
import operator
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.triggers.entries import COIN, COIN_SAME_LENGTH, CUE, ENTRIES
from benchmarks.triggers.tables import HEADING, draw, figures, interpolate_coins, markdown, rows
from benchmarks.triggers.trials import Trial, VariantAnswers, _describe_parameter
from langchain_spec_thinking import (
    AllOf,
    AnyOf,
    ChatSpeculativeThinking,
    CueTrigger,
    FirstTokenEntropy,
    RandomTrigger,
    ScoreAndAccept,
    TargetLeads,
)
from langchain_spec_thinking.evaluation.outcomes import Outcome
from langchain_spec_thinking.evaluation.policy_lines import parse_policy
from langchain_spec_thinking.evaluation.results import Figures
from langchain_spec_thinking.report import AuthorUsage
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_spec_thinking.turn import Author, Turn

RIGHTS = {
    ("speculative", 0.0): "1000",
    ("target", 1.0): "1111",
    (COIN, 0.2): "1100",
    ("entropy", 0.2): "1110",
}
"""Which of four answers are right, by variant and wanted share."""


def answered(name: str, share: float, rights: str) -> VariantAnswers:
    tokens = {0.0: 0, 0.2: 25, 1.0: 100}[share]
    usage = {side: AuthorUsage() for side in ("speculative", "target")}
    outcomes = tuple(
        Outcome(str(number), right == "1", None, {"speculative": 100 - tokens, "target": tokens}, usage)  # type: ignore[arg-type]
        for number, right in enumerate(rights)
    )
    return VariantAnswers(name, share, "" if share in {0, 1} else f"trigger={name}", outcomes)


@pytest.fixture
def found() -> list[VariantAnswers]:
    return [answered(name, share, rights) for (name, share), rights in RIGHTS.items()]


def test_each_trigger_is_compared_with_both_coins(found: list[VariantAnswers]) -> None:
    small, target, coin, entropy = figures(found)
    assert [one["accuracy"]["value"] for one in (small, target, coin, entropy)] == [0.25, 1, 0.5, 0.75]
    assert "less_coin" not in small | target | coin
    assert "less_whole_questions" not in small | target
    assert entropy["less_coin"]["value"] == 0.25
    # The target has 25% of the tokens. A coin that sends 25% of the questions to it gets 0.25 + 0.25 * 0.75 = 0.4375
    # right.
    assert entropy["less_whole_questions"]["value"] == pytest.approx(0.3125)
    assert coin["less_whole_questions"]["value"] == pytest.approx(0.0625)


@given(st.floats(0, 1))
def test_the_mixture_of_coins_has_the_given_share(share: float) -> None:
    """Three runs answer one question. If only one run is right, the result is its weight in the mixture."""
    by_target, by_small = (0, 40, 100), (300, 120, 0)

    def run(number: int, *, right: bool) -> Figures:
        tokens: dict[Author, int] = {"speculative": by_small[number], "target": by_target[number]}
        return Figures((Outcome("0", right, None, tokens, {}),))

    weights = [interpolate_coins(share, [run(n, right=n == one) for n in range(3)])[0] for one in range(3)]
    assert sum(weights) == pytest.approx(1)
    assert min(weights) > -1e-9
    target, small = (sum(map(operator.mul, weights, tokens)) for tokens in (by_target, by_small))
    assert target / (target + small) == pytest.approx(share)


def test_the_table_and_the_plot(found: list[VariantAnswers], tmp_path: Path) -> None:
    computed = figures(found)
    assert all(len(row) == len(HEADING) for row in rows(computed))
    last = markdown(computed).splitlines()[-1]
    assert last.startswith("| 20% | entropy | trigger=entropy | 25.0% | 75.0 (")
    assert " | +25.0 (" in last
    assert " | +31.2 (" in last
    draw(computed, tmp_path / "triggers.png")
    assert (tmp_path / "triggers.png").stat().st_size > 10_000


def test_every_trigger_has_an_entry() -> None:
    kinds = {type(entry.at(entry.parameter.at_highest_share).trigger) for entry in ENTRIES.values()}
    assert kinds == {AllOf, AnyOf, CueTrigger, FirstTokenEntropy, RandomTrigger, ScoreAndAccept, TargetLeads}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("cue", 32, "takeover_tokens 32"),
        ("score", 3, "threshold 3"),
        ("target leads", 4, "4 cues"),
        ("any of cue, entropy", 0.31, "threshold 0.31"),
    ],
)
def test_the_value_of_a_parameter_is_described(name: str, value: float, expected: str) -> None:
    assert _describe_parameter(ENTRIES[name].at(value), ENTRIES[name].parameter) == expected


def scripted() -> ChatSpeculativeThinking:
    """Return a pair with several cues. After each of them the large model writes as long as its limit allows."""
    steps = [*["Wait, I count again.\n\n"] * 4, "It is five.</think>\\boxed{5}"]

    def small(turn: Turn) -> str:
        return "".join(steps[turn.thinking.count("\n\n") :])

    def large(turn: Turn) -> str:
        return "word " * 30 + "\n\n" + small(turn)

    return ChatSpeculativeThinking(
        speculative=ScriptedBackend(small, name="small", thinks=True),
        target=ScriptedBackend(large, name="large", thinks=True),
    )


def test_a_trial_is_calibrated_and_run_once(tmp_path: Path) -> None:
    trial = Trial(tmp_path, count=2, sample=1, trigger=CUE, share=0.2, pair=scripted)
    cue, coin = trial.run()
    assert (cue.name, coin.name) == (CUE, COIN_SAME_LENGTH)
    assert cue.setting.startswith("takeover_tokens ")
    assert coin.setting.startswith("probability ")
    lengths = {parse_policy(f"x:{file}")[1].takeover_tokens for file in trial.place.glob("*_1.json")}
    assert {f"takeover_tokens {length}" for length in lengths} == {cue.setting}
    lines = (trial.place / "runs.jsonl").read_text(encoding="utf-8")
    assert trial.run() == [cue, coin]
    assert (trial.place / "runs.jsonl").read_text(encoding="utf-8") == lines
    assert [json.loads(line)["variant"] for line in lines.splitlines()] == [
        CUE,
        CUE,
        COIN_SAME_LENGTH,
        COIN_SAME_LENGTH,
    ]
    alone = Trial(tmp_path, count=1, sample=1, pair=scripted).run()
    assert [(one.name, one.share, one.setting) for one in alone] == [("speculative", 0, ""), ("target", 1, "")]
