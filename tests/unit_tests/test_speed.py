"""What `make bench` does with its figures; a run of it that is as short as can be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.speed import run
from benchmarks.speed.figures import Figure
from benchmarks.speed.tables import markdown, met, table
from tests.unit_tests.complaints import heard

if TYPE_CHECKING:
    from pathlib import Path

FOUND = {
    "fast": Figure.of([1.0, 1.1], target="<= 1.03", pairs={"one": Figure.of([3.0]).as_dict(), "two": {}}).as_dict(),
    "size": Figure.of([2048.0], unit="MiB").as_dict(),
    "machine": {"cores": 2, "cpu": "a CPU", "device": "cpu", "load": 0.5, "python": "3", "torch": "2", "threads": 1},
    "when": "2026-01-02T03:04:05+00:00",
}
FOUND["fast"]["details"]["pairs"]["two"] = Figure.of([4.0], target=">= 3").as_dict()  # type: ignore[index]


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


def test_the_tables_hold_every_figure() -> None:
    lines = markdown(FOUND).splitlines()
    assert lines[2:6] == [
        "| `fast` | 1.05 | 1 to 1.1 | 2 | <= 1.03 | no |",
        "| - one | 3 | 3 to 3 | 1 |  |  |",
        "| - two | 4 | 4 to 4 | 1 | >= 3 | yes |",
        "| `size` | 2,048 MiB | 2,048 to 2,048 | 1 |  |  |",
    ]
    assert "2026-01-02" in lines[-1]
    assert table(FOUND).row_count == 4


@pytest.mark.enable_socket  # the server of a part is another process on loopback
def test_a_quick_run_measures_every_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    with heard() as complaints:
        run.main(["--quick", "--out", str(file)])
    assert [line for line in complaints if "measurement" not in line] == []  # but for the bar of the run itself
    found = json.loads(file.read_text())
    assert {"overhead_vs_ideal", "speedup_vs_naive", "prefill_excess_tokens_per_handover", "batch_of_16"} <= set(found)
    assert {"takeover_speedup", "prefetch_saves", "stream_overhead_vs_openai_sdk", "throughput_vs_direct"} <= set(found)
    assert found["prefill_excess_tokens_per_handover"]["value"] <= 2
    assert set(found["seconds"]) == set(run.PARTS)
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    run.main(["--table", str(file)])
    assert "`speedup_vs_naive`" in capsys.readouterr().out
