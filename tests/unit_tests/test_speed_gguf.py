"""Tests of the figure that compares GGUF files in this process with llama.cpp's server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.speed import run
from benchmarks.speed.figures import Figure, Skipped
from benchmarks.speed.gguf_files import FILE, PLAN, available, versus

if TYPE_CHECKING:
    from pathlib import Path

    from tqdm import tqdm  # type: ignore[import-untyped]


def test_the_value_is_the_ratio_of_the_fastest_rounds() -> None:
    figure = versus({"in_process": [5.0, 10.0, 8.0], "llama_cpp": [20.0, 25.0, 40.0]}, threads=1)
    assert (figure.value, figure.low, figure.high, figure.runs) == (0.25, 0.2, 0.4, 3)
    assert figure.details["tokens_per_second"] == {"in_process": 10.0, "llama_cpp": 40.0}
    assert figure.details["threads"] == 1


def test_only_models_that_are_there_are_measured(tmp_path: Path) -> None:
    server = tmp_path / "llama-server"
    with pytest.raises(Skipped, match=r"llama-server: no such file\. `make .+` builds the server$"):
        available(PLAN, tmp_path, server)
    server.touch()
    with pytest.raises(Skipped, match=rf"no GGUF file in .+: expected one of smollm2-135m-instruct/{FILE}"):
        available(PLAN, tmp_path, server)
    model = PLAN[0][0]
    (tmp_path / model).mkdir()
    (tmp_path / model / FILE).touch()
    assert available(PLAN, tmp_path, server) == [entry for entry in PLAN if entry[0] == model]


def test_a_skipped_part_has_a_reason_and_is_no_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def load(name: str) -> run.Part:
        def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
            bar.update()
            assert not quick
            if name == "gguf_files":
                msg = "No [server] here."
                raise Skipped(msg)
            return {figure: Figure.of([1.0], target="<= 2") for figure in run.PARTS[name]}

        return measure

    file = tmp_path / "bench.json"
    run.main(["--only", "counts", "gguf_files", "--out", str(file)], load)
    assert json.loads(file.read_text())["skipped"] == {"gguf_vs_llama_cpp": "No [server] here."}
    assert "gguf_vs_llama_cpp: skipped. No [server] here." in " ".join(capsys.readouterr().out.split())
