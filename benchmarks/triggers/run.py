"""Compare the triggers on the pocket pair at equal shares of the target: `make bench-triggers`."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers.utils import logging

from benchmarks.triggers.entries import ENTRIES, SHARES
from benchmarks.triggers.tables import draw, figures, markdown
from benchmarks.triggers.trials import Trial, VariantAnswers

if TYPE_CHECKING:
    from collections.abc import Sequence

_BARS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)


def compare(trials: Sequence[Trial]) -> list[VariantAnswers]:
    """Run the trials, one on each core at a time. Return their answers in the order of the trials."""
    # Spawn, because a forked child would inherit the state of torch's threads but not the threads.
    context = multiprocessing.get_context("spawn")
    found: dict[Trial, list[VariantAnswers]] = {}
    with (
        ProcessPoolExecutor(min(2, os.cpu_count() or 1), context, _begin) as pool,
        Progress(*_BARS, console=Console(stderr=True)) as progress,
    ):
        bar = progress.add_task("triggers at shares", total=len(trials))
        running = {pool.submit(trial.run): trial for trial in trials}
        for future in as_completed(running):
            found[running[future]] = future.result()
            progress.console.print(running[future].place.name, style="dim")
            progress.advance(bar)
    return [answered for trial in trials for answered in found[trial]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Compare the triggers at matched shares of the target.")
    parser.add_argument("--out", type=Path, default=Path("build/triggers"), help="folder of all files")
    parser.add_argument("--count", type=int, default=200, help="number of problems to answer")
    parser.add_argument("--sample", type=int, default=40, help="number of other problems for the calibration")
    options = parser.parse_args(arguments)
    folder, console = options.out, Console()
    trials = [Trial(folder, options.count, options.sample)]
    trials += [
        Trial(folder, options.count, options.sample, name, share)
        for share in SHARES
        for name, entry in ENTRIES.items()
        if share in entry.shares
    ]
    found = figures(compare(trials))
    (folder / "triggers.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (folder / "triggers.md").write_text(markdown(found), encoding="utf-8")
    draw(found, folder / "triggers.png")
    console.print(Markdown(markdown(found)))
    for file in ("triggers.json", "triggers.md", "triggers.png"):
        console.print(str(folder / file), style="dim", soft_wrap=True)


def _begin() -> None:
    """Set up a process."""
    logging.disable_progress_bar()  # the command has its own
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
