"""What `make bench` does with its figures. The parts are fakes that measure nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.speed import run
from benchmarks.speed.figures import Figure
from benchmarks.speed.tables import markdown, met, table

if TYPE_CHECKING:
    from pathlib import Path

RESULTS = {
    "fast": Figure.of([1.0, 1.1], target="<= 1.03", pairs={"one": Figure.of([3.0]).as_dict(), "two": {}}).as_dict(),
    "size": Figure.of([2048.0], unit="MiB").as_dict(),
    "machine": {"cores": 2, "cpu": "a CPU", "device": "cpu", "load": 0.5, "python": "3", "torch": "2", "threads": 1},
    "when": "2026-01-02T03:04:05+00:00",
}
RESULTS["fast"]["details"]["pairs"]["two"] = Figure.of([4.0], target=">= 3").as_dict()  # type: ignore[index]


@pytest.mark.parametrize(
    ("value", "target", "expected"),
    [
        (1.03, "<= 1.03", True),
        (1.04, "<= 1.03", False),
        (3, ">= 3 at 2k tokens, growing", True),
        (2.9, ">= 3", False),
        (0.95, "0.95 to 1.05", True),
        (1.06, "0.95 to 1.05", False),
        (7, None, None),
    ],
)
def test_a_target_is_met_or_missed(value: float, target: str | None, expected: bool | None) -> None:
    assert met(value, target) is expected


def test_a_target_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="about 3"):
        met(3, "about 3")


def test_the_tables_contain_every_figure() -> None:
    lines = markdown(RESULTS).splitlines()
    assert lines[2:6] == [
        "| `fast` | 1.05 | 1 to 1.1 | 2 | <= 1.03 | no |",
        "| - one | 3 | 3 to 3 | 1 |  |  |",
        "| - two | 4 | 4 to 4 | 1 | >= 3 | yes |",
        "| `size` | 2,048 MiB | 2,048 to 2,048 | 1 |  |  |",
    ]
    assert "2026-01-02" in lines[-1]
    assert table(RESULTS).row_count == 4


LENGTHS: dict[str, Any] = {
    "tokens": [100, 200],
    "naive_ms_per_token": [2.0, 3.0],
    "ms_per_token": [1.0, 1.0],
    "ideal_ms_per_token": [0.9, 0.9],
    "by_length": {"200": Figure.of([2.5]).as_dict()},
}
"""The figures of one part that the drawing reads."""


class Parts:
    """All parts, with figures that are given and not measured.

    Args:
        **figures: Figures that differ from the default, by name. None leaves a figure out.
    """

    def __init__(self, **figures: Figure | None) -> None:
        self.figures = figures
        self.quick: dict[str, bool] = {}

    def __call__(self, name: str) -> run.Part:
        def measure(bar: Any, *, quick: bool) -> dict[str, Figure]:
            bar.update()
            self.quick[name] = quick
            usual = Figure.of([1.0], target="<= 2", **LENGTHS)
            results = {figure: self.figures.get(figure, usual) for figure in run.PARTS[name]}
            return {name: figure for name, figure in results.items() if figure}

        return measure


def test_a_run_writes_draws_and_shows_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, parts = tmp_path / "deep" / "bench.json", Parts()
    run.main(["--quick", "--out", str(file)], parts)
    results = json.loads(file.read_text())
    assert {figure for figures in run.PARTS.values() for figure in figures} | {"machine", "when", "seconds"} == set(
        results
    )
    assert list(results["seconds"]) == list(run.PARTS)
    assert parts.quick == dict.fromkeys(run.PARTS, True)
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    run.main(["--table", str(file)])
    assert "`speedup_vs_naive`" in capsys.readouterr().out


def test_single_parts_can_run(tmp_path: Path) -> None:
    parts = Parts()
    run.main(["--only", "counts", "--out", str(tmp_path / "bench.json")], parts)
    assert parts.quick == {"counts": False}


def problems(parts: Parts) -> list[str]:
    names = [*run.PARTS]
    return run.problems(run.measure(names, load=parts), names)


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ({"batch_of_16": None}, "batch_of_16: expected a figure, got none"),
        ({"batch_of_16": Figure.of([float("nan")])}, "batch_of_16: expected numbers, got nan (nan to nan)"),
        ({"batch_of_16": Figure(1, 0, float("inf"), 1)}, "batch_of_16: expected numbers, got 1 (0 to inf)"),
        ({"batch_of_16": Figure.of([0.0])}, "batch_of_16: expected a positive number, got 0.0"),
        ({"memory_per_turn": Figure.of([-1.0], unit="KiB")}, "memory_per_turn: expected a positive number, got -1.0"),
        (
            {"prefill_excess_tokens_per_handover": Figure.of([3.0], unit="tokens", target="<= 2")},
            "prefill_excess_tokens_per_handover: expected <= 2, got 3.0",
        ),
    ],
)
def test_a_missing_or_impossible_figure_is_a_problem(figure: dict[str, Any], message: str) -> None:
    assert problems(Parts(**figure)) == [message]


@pytest.mark.parametrize(
    "figure",
    [
        {"batch_of_16": Figure.of([3.0], target="<= 2")},
        {"prefill_excess_tokens_per_handover": Figure.of([0.0], unit="tokens", target="<= 2")},
        {"memory_per_turn": Figure.of([0.0], unit="KiB")},
    ],
)
def test_a_missed_speed_target_or_no_growth_is_not_a_problem(figure: dict[str, Any]) -> None:
    assert problems(Parts(**figure)) == []


def test_a_run_with_a_missing_figure_is_written_and_fails(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    with pytest.raises(SystemExit, match="batch_of_16: expected a figure, got none"):
        run.main(["--quick", "--out", str(file)], Parts(batch_of_16=None))
    assert json.loads(file.read_text())["overhead_vs_ideal"]


@pytest.mark.parametrize("name", run.PARTS)
def test_every_part_is_a_module(name: str) -> None:
    assert callable(run.part(name))
