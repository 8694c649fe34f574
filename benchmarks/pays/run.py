"""Measure at which level the help of a large model pays: `make bench-pays` writes `build/pays.json`.

A part is a module of this package. `measure(folder, on_turn, quick=...)` returns figures by name of the pair, and keeps
its runs in the folder, so that the command can be repeated after an interruption. `turns(quick=...)` returns how many
turns it runs. If the module has `missing_files()`, this function says which file the part needs and does not find.
"""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.markdown import Markdown
from tqdm import tqdm  # type: ignore[import-untyped]
from transformers.utils import logging

from benchmarks.pays.drawing import draw
from benchmarks.pays.tables import table

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS = ("pocket", "vendors", "general")
"""Modules of this package, in the order in which they run."""


def measure(parts: Sequence[str], folder: Path, *, quick: bool) -> dict[str, Any]:
    """Run parts, and return the figures by name of the pair."""
    pairs: dict[str, Any] = {}
    for name in parts:
        part = import_module(f"benchmarks.pays.{name}")
        (folder / name).mkdir(parents=True, exist_ok=True)
        with tqdm(desc=name, total=part.turns(quick=quick), unit="turn") as bar:

            def on_turn(run: str, turns: int, bar: tqdm[None] = bar) -> None:
                bar.set_postfix_str(run, refresh=False)
                bar.update(turns)

            pairs |= part.measure(folder / name, on_turn, quick=quick)
    return pairs


def _is_ready(name: str, console: Console) -> bool:
    """Return whether a part finds the files that it needs. Otherwise say that the part does not run."""
    missing = getattr(import_module(f"benchmarks.pays.{name}"), "missing_files", lambda: None)()
    if missing:
        console.print(f"The part {name} does not run. {missing}", soft_wrap=True)
    return missing is None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Measure at which level the help of a large model pays.")
    parser.add_argument("--out", type=Path, default=Path("build/pays.json"), help="JSON file; the plots are beside it")
    parser.add_argument("--runs", type=Path, default=Path("build/pays"), help="folder for the runs, which are kept")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="run a short test of the code, with meaningless figures")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    logging.disable_progress_bar()  # the command has its own
    runs = options.runs.with_name(f"{options.runs.name}-quick") if options.quick else options.runs
    console = Console()
    parts = options.only or [name for name in PARTS if _is_ready(name, console)]
    measured = measure(parts, runs, quick=options.quick)
    known = json.loads(options.out.read_text(encoding="utf-8"))["pairs"] if options.out.exists() else {}
    pairs = {**known, **measured}  # parts that did not run keep their figures
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"pairs": pairs}, indent=1) + "\n", encoding="utf-8")
    for name, figures in measured.items():
        console.print(Markdown(f"## {name}\n\n{table(figures)}"))
    if "pocket" in measured:
        draw(measured["pocket"], options.out.with_suffix(".png"))
    console.print(str(options.out), style="dim", soft_wrap=True)


if __name__ == "__main__":
    main()
