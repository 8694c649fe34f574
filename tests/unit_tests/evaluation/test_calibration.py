"""Calibration: thresholds from shares, cues from runs, numbers of the policy by replay."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from langchain_spec_thinking import Cue, DelegationPolicy, Draft, RandomTrigger, Trigger
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.evaluation import Variant, alone, evaluate
from langchain_spec_thinking.evaluation.calibration import (
    Measured,
    calibrate_to_share,
    measure_share,
    parse_trigger,
    tunable_triggers,
    with_value,
)
from langchain_spec_thinking.evaluation.mining import mine, openings, steps
from langchain_spec_thinking.evaluation.policy_lines import format_policy, parse_policy, trigger_class
from langchain_spec_thinking.evaluation.runs import read_runs
from langchain_spec_thinking.evaluation.statistics import Interval
from langchain_spec_thinking.evaluation.sweeps import sweep
from langchain_spec_thinking.policy.triggers import TRIGGERS, TunableParameter, register_trigger
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.evaluation.sums import HARD, NUMBER, pair, sums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PARAMETERS = {name: parse_trigger(name)[1] for name in tunable_triggers()}
COIN = PARAMETERS["random"]
SHAPES: dict[str, tuple[TunableParameter, Callable[[float], float]]] = {
    "a coin": (COIN, lambda p: p / (p + 1.5)),
    "a steep coin": (COIN, lambda p: 1 - math.exp(-9 * p)),
    "a flat coin": (COIN, lambda p: 0.9 * p**4),
    "an entropy": (PARAMETERS["first_token_entropy"], lambda h: 0.8 * math.exp(-2 * h)),
    "a score": (PARAMETERS["score_and_accept"], lambda digit: 0.07 * digit),
    "a length": (PARAMETERS["cue"], lambda tokens: tokens / (tokens + 60)),
    "a relay's length": (PARAMETERS["target_leads"], lambda tokens: 30 / (tokens + 60)),
}


@pytest.mark.parametrize(("parameter", "shape"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("wanted", [0.1, 0.2, 0.35])
def test_a_parameter_is_tuned_to_a_share(
    parameter: TunableParameter, shape: Callable[[float], float], wanted: float
) -> None:
    tried: list[float] = []

    def share_at(value: float) -> Interval:
        tried.append(value)
        return Interval(shape(value), 0, 1)

    best = calibrate_to_share(share_at, wanted, parameter, rounds=9)[0]
    assert best.share.value == pytest.approx(wanted, abs=0.035 if parameter.integer else 0.011)
    assert len(tried) == len(set(tried)) <= 9
    assert tried[0] == parameter.at_highest_share
    assert not parameter.integer or all(value == int(value) for value in tried)


def test_every_trigger_that_can_fire_has_a_tunable_parameter() -> None:
    assert {name for name, kind in TRIGGERS.items() if kind.tunable is None} == {"no_takeovers"}  # nothing to tune
    for name, kind in TRIGGERS.items():
        if kind.tunable is None:
            continue
        policy, parameter = parse_trigger(name)
        assert isinstance(policy.trigger, kind)
        assert (
            with_value(policy, parameter, parameter.at_highest_share)
            == policy
            != with_value(policy, parameter, 4 if parameter.integer else 0.25)
        )


@dataclass(frozen=True)
class Untuned(Trigger):
    answer: int = 0
    tunable = None

    def examine(self, draft: Draft) -> None:
        return None


@pytest.fixture
def untuned() -> Iterator[None]:
    register_trigger(Untuned)
    yield
    del TRIGGERS["untuned"]


@pytest.mark.usefixtures("untuned")
def test_a_trigger_without_a_tunable_parameter_runs_but_is_not_calibrated() -> None:
    assert parse_policy("x:trigger=untuned,answer=3")[1].trigger == Untuned(3)
    expected = r"--trigger untuned: expected one of cue, .*\. Untuned defines no parameter that can be tuned"
    with pytest.raises(ValueError, match=expected) as caught:
        parse_trigger("untuned")
    assert "untuned," not in str(caught.value)
    result = run("--target-share", "0.2", "--trigger", "untuned")
    assert result.exit_code == 1
    assert "Untuned defines no parameter" in " ".join(result.output.split())


@pytest.mark.usefixtures("untuned")
def test_the_cues_of_a_lexicon_are_no_settings_of_a_trigger_without_one() -> None:
    with pytest.raises(ValueError, match="reflection: no such setting; expected one of answer, boundary") as caught:
        parse_policy("x:trigger=untuned,reflection=wait")
    assert "affirmation" not in str(caught.value)
    assert parse_policy("x:trigger=random,probability=1,reflection=wait")[1].trigger.lexicon.reflection == ("wait",)


@pytest.mark.parametrize(
    ("found", "near"),
    [(0.0, False), (0.09, False), (0.1, True), (0.2, True), (0.3, True), (0.31, False), (0.9, False)],
)
def test_a_share_is_near_the_wanted_one_if_it_misses_it_by_at_most_half(found: float, near: bool) -> None:
    assert Measured(1, Interval(found, 0, 1)).is_near(0.2) is near


@dataclass(frozen=True)
class Jump(Trigger):
    """A trigger whose share is never small: it takes over everywhere or nowhere."""

    at: float
    tunable = TunableParameter("at", 0, 1)

    def examine(self, draft: Draft) -> Cue | Literal["keep"]:
        return Cue("", "trigger", 0) if self.at == 1 else "keep"


@dataclass(frozen=True)
class Silent(Jump):
    """A trigger that never takes over."""

    def examine(self, draft: Draft) -> Literal["keep"]:
        return "keep"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        pytest.param(Jump, "The nearest value found gives 0.0%, not 5.0%.", id="the share jumps over the wanted one"),
        pytest.param(Silent, "the large model writes at most 0.0%", id="the trigger never fires"),
    ],
)
def test_a_useless_value_is_not_proposed(kind: type[Trigger], said: str, tmp_path: Path) -> None:
    register_trigger(kind)
    name = kind.__name__.lower()
    try:
        options = ["--data", "pocket:2", "--max-tokens", "150", "--out", str(tmp_path / "policy.json")]
        result = run("--target-share", "0.05", "--trigger", name, *options)
    finally:
        del TRIGGERS[name]
    shown = " ".join(result.output.split())
    assert result.exit_code == 1
    assert said in shown
    assert "gives 0.0% and no value came nearer to 5.0%. Try another trigger" in shown
    assert "--policy" not in shown
    assert not (tmp_path / "policy.json").exists()


OWN_TRIGGER = """
from dataclasses import dataclass
from langchain_spec_thinking import TAKE_OVER, Trigger, TunableParameter, register_trigger

class Plain:
    pass

@register_trigger
@dataclass(frozen=True)
class EverySecond(Trigger):
    n: int = 2
    tunable = TunableParameter("n", at_lowest_share=9, at_highest_share=1, integer=True, zero_at_lowest=False)

    def examine(self, draft):
        return TAKE_OVER if (draft.index + 1) % self.n == 0 else "keep"
"""

UNTUNABLE_TRIGGER = """
from dataclasses import dataclass
from langchain_spec_thinking import Trigger, register_trigger

@register_trigger
@dataclass(frozen=True)
class Untunable(Trigger):
    def examine(self, draft):
        return "keep"
"""


@pytest.fixture
def own_trigger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the working directory that nothing has imported."""
    (tmp_path / "own_trigger.py").write_text(OWN_TRIGGER, "utf-8")
    (tmp_path / "bad_trigger.py").write_text(UNTUNABLE_TRIGGER, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "own_trigger:EverySecond"
    TRIGGERS.pop("every_second", None)
    sys.modules.pop("own_trigger", None)


def test_a_line_names_a_trigger_of_the_user_by_module_and_class(own_trigger: str) -> None:
    line = f"mine:trigger={own_trigger},n=3"
    policy = parse_policy(line)[1]
    assert repr(policy.trigger) == "EverySecond(n=3)"
    assert format_policy("mine", policy) == line


def test_a_trigger_of_the_user_is_calibrated(own_trigger: str) -> None:
    policy, parameter = parse_trigger(f"{own_trigger},takeover_tokens=30")
    assert (repr(policy.trigger), parameter.field, policy.takeover_tokens) == ("EverySecond(n=1)", "n", 30)
    result = run("--target-share", "0.9", "--trigger", own_trigger, "--data", "pocket:1", "--limit", "1")
    assert f"--policy 'every_second:trigger={own_trigger},n=1'" in result.output.replace("\n", "")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("own_trigger:Other", "own_trigger:Other: module 'own_trigger' has no attribute 'Other'"),
        ("bad_trigger:Untunable", "bad_trigger:Untunable: Untunable: expected `tunable = TunableParameter"),
        (".own_trigger:Plain", "^.own_trigger:Plain: "),
        ("own_trigger:Plain", "own_trigger:Plain: Plain: expected a subclass of Trigger"),
        ("no_such_module:Other", "no_such_module:Other: No module named 'no_such_module'"),
        ("other", "other: expected one of cue, .* or module:Class for a trigger of your own"),
    ],
)
@pytest.mark.usefixtures("own_trigger")
def test_a_name_that_is_no_trigger_is_refused(name: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        trigger_class(name)


def test_a_share_outside_the_possible_range_gives_the_nearest_end() -> None:
    measured = calibrate_to_share(lambda p: Interval(p / 4, 0, 1), 0.4, COIN)
    assert [one.value for one in measured] == [1]
    measured = calibrate_to_share(lambda tokens: Interval(0.12 + tokens / 1000, 0, 1), 0.1, PARAMETERS["cue"])
    assert [one.value for one in measured] == [1, 256]


def test_a_line_that_sets_the_tuned_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="cue,takeover_tokens=500: leave out takeover_tokens"):
        parse_trigger("cue,takeover_tokens=500")


@given(st.floats(0.001, 0.999), st.floats(0.05, 1), st.floats(0.2, 5))
def test_a_search_ends_and_stays_within_its_bounds(wanted: float, most: float, power: float) -> None:
    measured = calibrate_to_share(lambda p: Interval(most * p**power, 0, 1), wanted, COIN)
    assert len(measured) <= 6
    assert all(0 <= one.value <= 1 for one in measured)


def test_a_share_is_measured_on_turns() -> None:
    always = with_value(DelegationPolicy(trigger=RandomTrigger(0.5)), COIN, 1)
    done: list[int] = []
    share = measure_share(pair(), always, sums(4), 2, lambda: done.append(1))
    assert 0 < share.value < 1
    assert len(done) == 4
    assert measure_share(pair(), with_value(always, COIN, 0), sums(4), 2).value == 0
    broken = pair(speculative=ScriptedBackend(lambda _: 1 / 0, thinks=True))  # type: ignore[arg-type,return-value]
    with pytest.raises(RuntimeError, match=r"What is 0.*ended in an error: ZeroDivisionError"):
        measure_share(broken, always, sums(1), 1)


OPENINGS = {
    "Wait, is it so?": ["wait"],
    "So the number is 5": ["so", "so the", "so the number"],
    "He has 3 of them": ["he", "he has"],
    "5 and 3": [],
    "Hold on. No": ["hold", "hold on"],
    "  It's 5": ["it's"],
    "": [],
    "**Step**": [],
}


@pytest.mark.parametrize(("step", "expected"), OPENINGS.items())
def test_openings_are_words_that_a_lexicon_finds(step: str, expected: list[str]) -> None:
    assert list(openings(step)) == expected


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    both = pair()
    evaluate(sums(), [alone(both, "speculative", "small"), Variant("pair", both)], tmp_path)
    return tmp_path


def test_cues_are_mined_from_right_and_wrong_answers(folder: Path) -> None:
    mined = mine(read_runs(folder / "runs.jsonl", "small"))
    assert (mined.right, mined.wrong) == (HARD - 1, NUMBER - HARD + 1)
    found = {opening.words: (opening.right, opening.wrong) for opening in mined.openings}
    assert found["hmm"] == (0, 11)
    assert found["wait"] == (9, 11)
    assert mined.cues == ("hmm",)
    assert mined.openings[0].words == "hmm"
    # Computed by hand, with 0.5 added to each count.
    assert mined.openings[0].log_odds.value == pytest.approx(math.log(11.5 * 9.5 / (0.5 * 0.5)))
    assert "so it" not in found  # "it" follows every "so"
    assert mine(read_runs(folder / "runs.jsonl", "small"), min_turns=12).cues == ()
    with pytest.raises(ValueError, match="got 20 right and 0 wrong"):
        mine(read_runs(folder / "runs.jsonl", "pair"))


def test_steps_of_the_target_are_not_mined(folder: Path) -> None:
    records = [record for record, _ in read_runs(folder / "runs.jsonl", "pair")]
    record = next(record for record in records if "What is 3 + 1?" in record.history[0].content)
    found = [step.split("\n")[0] for step in steps(record)]
    assert found == ["So it is.", "Wait,"]  # the second step was discarded for the target's sentence


def test_sweep_replays_other_values(folder: Path) -> None:
    records = [record for record, _ in read_runs(folder / "runs.jsonl", "pair")]
    swept = {(one.field, one.value): one for one in sweep(records)}
    same = swept["takeover_tokens", 20]
    assert same.recorded
    assert (same.valid, same.takeovers, same.reached) == (NUMBER, 1, None)
    assert same.target_share == pytest.approx(records[0].report["target_share"], abs=0.05)
    # The target's sentence has twelve words before it closes the thought, so a limit of ten would have cut it.
    shorter, longer = swept["takeover_tokens", 10], swept["takeover_tokens", 40]
    assert (shorter.valid, shorter.takeovers, shorter.target_share) == (0, None, None)
    assert 0 < (shorter.reached or 0) < 1
    assert longer.valid == NUMBER
    assert all(one.valid == NUMBER for (field, _), one in swept.items() if field == "reflection_limit")
    with pytest.raises(ValueError, match="at least one recorded turn"):
        sweep([])


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["calibrate", *arguments])


def test_the_command_calibrates_a_random_trigger(tmp_path: Path) -> None:
    out = tmp_path / "coin.json"
    options = ["--target-share", "0.9", "--data", "pocket:2", "--max-tokens", "150", "--out", str(out)]
    result = run(*options, "--trigger", "random,takeover_tokens=10")
    assert result.exit_code == 0, result.output
    assert "probability 1: the large model writes" in result.output
    assert "A larger share is not possible" in result.output
    line = result.output.partition("--policy '")[2].partition("'")[0]
    assert parse_policy(line)[1] == parse_policy(f"x:{out}")[1] == DelegationPolicy(RandomTrigger(1), 10)
    assert json.loads(out.read_text(encoding="utf-8"))["trigger"]["type"] == "RandomTrigger"


def test_a_policy_that_does_not_fit_in_a_line_needs_a_file(tmp_path: Path) -> None:
    options = ["--data", "pocket:1", "--target-share", "0.9", "--trigger", 'random,recap_sentence="So: "']
    refused = run(*options)
    assert refused.exit_code == 1
    assert "does not fit in a line" in refused.output
    assert "probability" not in refused.output  # it was refused before any measurement
    file = tmp_path / "coin.json"
    kept = run(*options, "--out", str(file))
    assert f"--policy 'random:{file}'" in kept.output
    assert parse_policy(f"x:{file}")[1].recap_sentence == "So: "


def test_the_command_proposes_cues_and_sweeps(folder: Path) -> None:
    runs = ["--runs", str(folder / "runs.jsonl")]
    result = run("cues", *runs, "--out", str(folder / "mined.json"))
    assert result.exit_code == 0, result.output
    assert "--policy 'mined:affirmation=,reflection=hmm'" in result.output
    assert parse_policy(f"x:{folder}/mined.json")[1].trigger.lexicon.reflection == ("hmm",)
    assert "no cue list is proposed" in run("cues", *runs, "--least", "12").output
    result = run("sweep", *runs)
    assert result.exit_code == 0, result.output
    assert "20 turns, replayed with other numbers" in result.output
    assert "reflection_limit changes these runs" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("wrong", "code", "expected"),
    [
        ([], 2, "--target-share"),
        (["--target-share", "0.2", "--trigger", "guess"], 1, "guess: expected one of cue"),
        (["--target-share", "0.2", "--data", "nowhere"], 1, "nowhere"),
        (["cues", "--runs", "nowhere"], 1, "nowhere"),
        (["sweep", "--runs", "nowhere"], 1, "nowhere"),
    ],
)
def test_invalid_options_give_a_one_line_error(wrong: list[str], code: int, expected: str) -> None:
    result = run(*wrong)
    assert result.exit_code == code
    assert expected in " ".join(result.output.split())
