"""The command for accelerators: its jobs are fakes that measure nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.speed.accelerator import LARGEST, POCKET, Job, Session, jobs
from benchmarks.speed.figures import Figure
from benchmarks.speed.run import PARTS
from benchmarks.speed.tables import markdown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PAIRS: dict[str, Any] = {
    LARGEST: (SimpleNamespace(name="random, 1.5B + 32B"), (0.01, 0.02)),
    POCKET: (SimpleNamespace(name="pocket"), (0.001, 0.002)),
}
"""Pairs without models, with the seconds of a pass in each model."""


@dataclass
class Measured:
    """A measurement that takes some seconds on a fake clock, or fails.

    Attributes:
        values: The figures, by name.
    """

    clock: Clock
    values: dict[str, float]
    seconds: float = 1
    error: Exception | None = None
    seen: list[str] = field(default_factory=list)

    def __call__(self, pair: Any, bar: Any) -> Mapping[str, Figure]:
        bar.update()
        self.clock.time += self.seconds
        self.seen.append(pair.name)
        if self.error:
            raise self.error
        return {name: Figure.of([value]) for name, value in self.values.items()}


@dataclass
class Clock:
    """A clock that stands still until something takes time."""

    time: float = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def session(folder: Path, clock: Clock, seconds: float = 60) -> Session:
    return Session(folder, seconds, clock)


def test_a_figure_has_the_value_of_the_pair_that_was_measured_first(tmp_path: Path, clock: Clock) -> None:
    plan = [
        Job("large", LARGEST, Measured(clock, {"a": 1.5}), (1, 1)),
        Job("pocket", POCKET, Measured(clock, {"a": 3.0}), (1, 1)),
    ]
    session(tmp_path, clock).run(plan, PAIRS)
    results = json.loads((tmp_path / "bench.json").read_text())
    assert (results["a"]["value"], results["a"]["details"]["pair"]) == (1.5, "random, 1.5B + 32B")
    assert list(results["a"]["details"]["pairs"]) == ["random, 1.5B + 32B", "pocket"]
    assert results["seconds"] == {"large": 1, "pocket": 1}
    assert "| - pocket | 3 | 3 to 3 | 1 |  |  |" in markdown(results).splitlines()


def test_a_job_that_fails_does_not_stop_the_others(tmp_path: Path, clock: Clock) -> None:
    plan = [
        Job("wrong", LARGEST, Measured(clock, {}, error=RuntimeError("no memory")), (1, 1)),
        Job("absent", "no such pair", Measured(clock, {}), (1, 1)),
        Job("right", POCKET, Measured(clock, {"a": 2.0}), (1, 1)),
    ]
    done = session(tmp_path, clock)
    done.run(plan, PAIRS)
    results = json.loads((tmp_path / "bench.json").read_text())
    assert results["a"]["value"] == 2
    assert results["failed"] == {"wrong": "RuntimeError: no memory", "absent": "KeyError: 'no such pair'"}


def test_the_results_are_written_after_every_job(tmp_path: Path, clock: Clock) -> None:

    def stopped(pair: Any, bar: Any) -> Mapping[str, Figure]:  # noqa: ARG001
        assert json.loads((tmp_path / "bench.json").read_text())["a"]["value"] == 2
        raise KeyboardInterrupt

    plan = [
        Job("first", POCKET, Measured(clock, {"a": 2.0}), (1, 1)),
        Job("second", POCKET, stopped, (1, 1)),
    ]
    with pytest.raises(KeyboardInterrupt):
        session(tmp_path, clock).run(plan, PAIRS)
    assert [file.name for file in tmp_path.iterdir()] == ["bench.json"]


def test_a_job_for_which_no_time_is_left_is_skipped(tmp_path: Path, clock: Clock) -> None:
    late, short = Measured(clock, {"a": 1.0}), Measured(clock, {"b": 1.0})
    plan = [
        Job("first", POCKET, Measured(clock, {"c": 1.0}, seconds=50), (1, 1)),
        Job("late", LARGEST, late, (500, 500)),  # takes 15 of the 10 seconds that are left
        Job("short", POCKET, short, (500, 500)),
    ]
    done = session(tmp_path, clock)
    done.run(plan, PAIRS)
    assert (late.seen, short.seen, done.skipped) == ([], ["pocket"], ["late"])


@pytest.mark.parametrize(("seconds", "expected"), [(60, "long"), (6, "short")])
def test_the_first_job_of_a_group_for_which_there_is_time_is_enough(
    tmp_path: Path, clock: Clock, seconds: float, expected: str
) -> None:
    plan = [
        Job("long", LARGEST, Measured(clock, {"a": 1.0}), (500, 500), once="lengths"),
        Job("short", LARGEST, Measured(clock, {"a": 2.0}), (50, 50), once="lengths"),
    ]
    done = session(tmp_path, clock, seconds)
    done.run(plan, PAIRS)
    assert list(done.done) == [expected]


def test_every_part_of_local_models_has_a_job() -> None:
    """Both columns of the documents have the same rows, except what an accelerator does not change."""
    names = {job.once or job.name.partition(",")[0] for job in jobs(quick=True)}
    not_here = {"remote", "gguf_files", "startup", "llama_cpp", "vllm"}
    assert names - {"prefetching", "memory"} == set(PARTS) - not_here
