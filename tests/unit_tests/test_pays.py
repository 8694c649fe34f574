"""`make bench-pays`: the figures in `build/pays.json`, the choice of a policy, and the tables of the documentation."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.pays import documents, pocket, run
from benchmarks.pays.candidates import CANDIDATES, SHOWN, recommend
from benchmarks.pays.drawing import draw
from benchmarks.pays.figures import equal_cost_share, pair_figures
from benchmarks.pays.pocket import PocketRuns, Sizes
from benchmarks.pays.tables import table, vendor_table
from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.evaluation import Evaluation
from langchain_spec_thinking.evaluation.outcomes import Outcome
from langchain_spec_thinking.price import Price
from langchain_spec_thinking.report import AuthorUsage
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from pathlib import Path

PRICES = {"speculative": Price(0, 0), "target": Price(1, 4, 0.1)}
RIGHTS = {"small": "1000", "large": "1111", "gated": "1110"}
MILLION = 1_000_000


def outcomes_of(rights: str, target_tokens: int, seconds: float = 1.0) -> tuple[Outcome, ...]:
    """Return outcomes whose large model wrote some millions of tokens for each question, in one request."""
    requests = int(target_tokens > 0)
    usage = {
        "speculative": AuthorUsage(requests=1),
        "target": AuthorUsage(requests, prompt_tokens=requests * MILLION, completion_tokens=target_tokens * MILLION),
    }
    return tuple(
        Outcome(str(number), right == "1", None, {"speculative": 1, "target": target_tokens}, usage, seconds=seconds)  # type: ignore[arg-type]
        for number, right in enumerate(rights)
    )


def evaluation(gated_tokens: int = 1, seconds: float = 1.0) -> Evaluation:
    tokens = {"small": 0, "large": 4, "gated": gated_tokens}
    outcomes = {name: outcomes_of(rights, tokens[name], seconds) for name, rights in RIGHTS.items()}
    alone = {"small": "speculative", "large": "target", "gated": None}
    return Evaluation(outcomes, alone, PRICES)  # type: ignore[arg-type]


def test_the_recommended_run_is_compared_with_a_coin_of_its_cost_and_with_the_large_model() -> None:
    found = pair_figures(evaluation(), "gated", evaluation(seconds=3.0))
    assert (found["n"], found["seconds_n"], found["recommended"]) == (4, 4, "gated")
    assert found["prices"]["target"] == {"prompt": 1, "completion": 4, "cached": 0.1}
    gated = found["runs"]["gated"]
    assert (gated["accuracy"], gated["cost"], gated["seconds"]) == (0.75, 5, 3.0)
    assert (gated["target_tokens"], gated["target_requests"]) == (MILLION, 1)
    assert gated["ci95"][0] < 0.75 < gated["ci95"][1]
    # The large model costs 17 and the gated run 5. So the coin sends 5/17 of the questions to the large model.
    assert found["vs_equal_cost_coin"]["difference"] == pytest.approx(0.75 - (0.25 + 0.75 * 5 / 17))
    assert found["vs_target"]["difference"] == pytest.approx(-0.25)
    assert found["vs_target"]["cost_ratio"] == pytest.approx(5 / 17)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@given(st.integers(0, 9))
def test_the_coin_never_costs_more_than_the_run(gated_tokens: int) -> None:
    found = evaluation(gated_tokens)
    share = equal_cost_share(found, "gated")
    cost, most = (sum(found.figures[name].costs) for name in ("gated", "large"))
    assert share == pytest.approx(min(1, cost / most))


@pytest.mark.parametrize("name", ["small", "large"])
def test_a_model_alone_is_as_good_as_its_own_coin(name: str) -> None:
    assert pair_figures(evaluation(), name)["vs_equal_cost_coin"] == {"difference": 0, "ci95": [0, 0]}


@pytest.mark.parametrize(
    ("changes", "recommended", "message"),
    [
        pytest.param({"prices": {}}, "gated", "prices: expected", id="no prices"),
        pytest.param({"alone": dict.fromkeys(RIGHTS)}, "gated", "runs: expected each model alone", id="no large model"),
        pytest.param({}, "two", "two: expected one of the runs, got small, large, gated", id="no such run"),
    ],
)
def test_incomplete_evaluations_are_refused(changes: dict[str, object], recommended: str, message: str) -> None:
    incomplete = Evaluation(**{**vars(evaluation()), **changes})
    with pytest.raises(ValueError, match=message):
        pair_figures(incomplete, recommended)


# -- the choice


def with_runs(**runs: tuple[str, int]) -> Evaluation:
    """Return an evaluation of ten questions in which the small model has 5 right and the large model 10."""
    runs = {"small": ("1111100000", 0), "large": ("1111111111", 8), **runs}
    alone: dict[str, Any] = {"small": "speculative", "large": "target"}
    outcomes = {name: outcomes_of(*fields) for name, fields in runs.items()}
    return Evaluation(outcomes, {name: alone.get(name) for name in runs}, PRICES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("runs", "recommended"),
    [
        pytest.param({"a": ("1111111111", 3), "b": ("1111111111", 2)}, "b", id="the cheaper one of two equal ones"),
        pytest.param({"a": ("1111111111", 3), "b": ("1111111100", 0)}, "a", id="none that loses more than 3 points"),
        pytest.param({"a": ("1111111111", 3), "b": ("1111111111", 6)}, "a", id="none that costs more than half"),
        pytest.param({"a": ("1111111000", 3), "b": ("1111110000", 3)}, "a", id="the best one if all are bad"),
    ],
)
def test_the_recommended_policy_is(runs: dict[str, tuple[str, int]], recommended: str) -> None:
    assert recommend(with_runs(**runs)) == recommended


def test_candidates_have_settings_of_their_own() -> None:
    policies = [repr(policy) for policy in CANDIDATES.values()]
    assert len(set(policies)) == len(policies)
    assert set(SHOWN) <= set(CANDIDATES)


# -- the part `pocket`


def scripted_pair() -> ChatSpeculativeThinking:
    text = "One.\n\nWait, two.</think>\\boxed{5}"
    small = ScriptedBackend(
        lambda turn: text[len(turn.body()) :], "small", thinks=True, logprobs=lambda _: (-0.1, -3.0)
    )
    return ChatSpeculativeThinking(speculative=small, target=ScriptedBackend(text, "large", thinks=True), seed=1)


def test_the_pocket_part_chooses_on_some_questions_and_reports_on_others(tmp_path: Path) -> None:
    turns: list[str] = []
    runs = PocketRuns(tmp_path, Sizes(3, 2, 1), lambda name, _: turns.append(name), scripted_pair)
    found = runs.figures()
    assert (found["n"], found["seconds_n"], found["choice"]["n"]) == (3, 1, 2)
    assert set(found["runs"]) == {"small", "large", *SHOWN, found["recommended"]}
    assert set(found["choice"]["runs"]) == {"small", "large", *CANDIDATES}
    assert len(turns) == 2 * (len(CANDIDATES) + 2) + 4 * len(found["runs"])
    files = {file: file.stat().st_size for file in tmp_path.glob("*/runs.jsonl")}
    assert replace(runs, on_turn=lambda *_: None).figures() == found
    assert {file: file.stat().st_size for file in tmp_path.glob("*/runs.jsonl")} == files


def test_the_questions_of_the_choice_are_not_reported() -> None:
    chosen, reported = (
        {question.question for question in pocket._questions(seed, 50)}  # noqa: SLF001 - the sets themselves
        for seed in (pocket._CHOICE_SEED, pocket._REPORTED_SEED)  # noqa: SLF001
    )
    assert not chosen & reported


def test_a_part_that_does_not_run_keeps_its_figures(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "pays.json"
    out.parent.mkdir()
    out.write_text(json.dumps({"pairs": {"other": {"n": 1}}}), encoding="utf-8")
    run.main(["--only", "vendors", "--quick", "--out", str(out), "--runs", str(tmp_path / "runs")])
    pairs = json.loads(out.read_text(encoding="utf-8"))["pairs"]
    assert pairs["other"] == {"n": 1}
    vendors = [pair for name, pair in pairs.items() if name != "other"]
    assert len(vendors) == 4
    assert all(pair["requests"] == {"sent": 2, "refused": 0, "without_text": 0} for pair in vendors)


def test_a_part_whose_files_are_missing_does_not_run_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "PARTS", ("general",))
    run.main(["--quick"])
    shown = capsys.readouterr().out
    assert "The part general does not run. .venv-llama-server/bin/llama-server: no such file." in shown
    with pytest.raises(FileNotFoundError, match="builds the server"):
        run.main(["--quick", "--only", "general"])


# -- tables, plot and pages


def test_the_table_marks_the_recommended_run(tmp_path: Path) -> None:
    found = pair_figures(evaluation(), "gated")
    small, large, gated = table(found).splitlines()[2:]
    assert small.startswith("| small | 25.0% |")
    assert " | 100% |  | " in large
    assert gated.startswith("| **gated** | 75.0% |")
    assert " | 29% | +27.9 (" in gated
    draw(found, tmp_path / "pays.png")
    assert (tmp_path / "pays.png").stat().st_size > 10_000


def test_the_table_of_vendors_shows_what_requests_brought() -> None:
    found = {**pair_figures(evaluation(), "gated"), "requests": {"sent": 4, "refused": 1, "without_text": 2}}
    assert vendor_table({"scripted, A": found, "b": {}}).splitlines()[2:] == ["| A | 4 | 1 | 2 | 1.00 |"]


def test_the_pages_show_the_measured_figures() -> None:
    measured = json.loads(documents.MEASURED.read_text(encoding="utf-8"))
    for (file, name), written in documents.tables(measured).items():
        page = (documents.ROOT / file).read_text(encoding="utf-8")
        assert documents.with_table(page, name, written) == page, "run `python -m benchmarks.pays.documents`"


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="pays: expected a table between"):
        documents.with_table("a page", "pays", "| a |")
