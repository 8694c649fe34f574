"""Speed benchmark (`make bench`): writes `build/bench.json`, a plot next to it, and a table on the terminal.

A part is a module with a function `measure(bar, *, quick)`. The function returns figures by name, and calls
`bar.update()` after each measurement. It raises `Skipped` if a file or a program is missing. The command fails if a
figure is missing and was not skipped, is not a finite number, or misses a target that does not depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from rich.console import Console
from tqdm import tqdm  # type: ignore[import-untyped]
from transformers.utils import logging

from benchmarks.speed.drawing import draw
from benchmarks.speed.figures import Skipped
from benchmarks.speed.tables import markdown, met, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.speed.figures import Figure

PARTS = {
    "counts": ("prefill_excess_tokens_per_handover", "wasted_draft_share"),
    "overhead": ("overhead_vs_ideal",),
    "decoding": ("decode_vs_generate",),
    "lengths": ("speedup_vs_naive", "cost_per_token_flat"),
    "batches": ("batch_of_16", "memory_per_local_turn"),
    "sampling": ("samples_2_vs_1",),
    "drafts": ("takeover_speedup", "prefetch_saves"),
    "gguf_files": ("gguf_vs_llama_cpp",),
    "llama_cpp": ("overhead_vs_ideal_llama_cpp",),
    "vllm": ("overhead_vs_ideal_vllm",),
    "remote": (
        "stream_overhead_vs_openai_sdk",
        "time_to_first_token",
        "throughput_vs_direct",
        "memory_per_turn",
        "round_trips_per_takeover",
    ),
    "startup": ("startup_vs_langchain_openai",),
}
"""Modules of this package, in the order in which they run, with the names of their figures."""
COUNTED = ("prefill_excess_tokens_per_handover", "round_trips_per_takeover")
"""Figures that are counted. They must meet their targets on every machine, also in a quick run."""
_MAY_BE_0 = ("tokens", "share", "KiB")
"""Units of figures that can be 0. KiB is the growth of a process, which may reuse memory that it has freed before."""


class Part(Protocol):
    """A part of the benchmark."""

    def __call__(self, bar: tqdm[None], *, quick: bool) -> Mapping[str, Figure]:
        """Return figures by name."""


def part(name: str) -> Part:
    """Return the part with this name."""
    measure: Part = import_module(f"benchmarks.speed.{name}").measure
    return measure


def measure(parts: Sequence[str], *, quick: bool = False, load: Callable[[str], Part] = part) -> dict[str, Any]:
    """Run parts and return the content of `build/bench.json`.

    Args:
        parts: Names of the parts.
        quick: Whether to run only a test of the code. The figures are then meaningless.
        load: Returns the part with a name.
    """
    logging.disable_progress_bar()  # the benchmark shows its own bar
    figures: dict[str, Figure] = {}
    seconds = {}
    skipped: dict[str, str] = {}
    for name in parts:
        began = time.monotonic()
        with tqdm(desc=name, unit="measurement") as bar:
            try:
                figures |= load(name)(bar, quick=quick)
            except Skipped as reason:
                skipped |= dict.fromkeys(PARTS[name], str(reason))
        seconds[name] = time.monotonic() - began
    return {
        **{name: figure.as_dict() for name, figure in figures.items()},
        "machine": machine(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        **({"skipped": skipped} if skipped else {}),
    }


def problems(results: Mapping[str, Any], parts: Sequence[str]) -> list[str]:
    """Return what is wrong with the results of a run. The check does not depend on the machine.

    Args:
        results: Content of `build/bench.json`.
        parts: Names of the parts that ran.
    """
    messages = []
    skipped = results.get("skipped", {})
    for name in (name for part in parts for name in PARTS[part] if name not in skipped):
        figure = results.get(name)
        if figure is None:
            messages.append(f"{name}: expected a figure, got none")
        elif not all(math.isfinite(figure[key]) for key in ("value", "low", "high")):
            messages.append(f"{name}: expected numbers, got {figure['value']} ({figure['low']} to {figure['high']})")
        elif figure["value"] < 0 or (figure["value"] == 0 and figure["unit"] not in _MAY_BE_0):
            messages.append(f"{name}: expected a positive number, got {figure['value']}")
        elif name in COUNTED and not met(figure["value"], figure["target"]):
            messages.append(f"{name}: expected {figure['target']}, got {figure['value']}")
    return messages


def machine() -> dict[str, Any]:
    """Return the properties of the machine.

    `load` is the average number of processes that used a core or waited for one in the last minute.
    """
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load": os.getloadavg()[0],
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main(arguments: Sequence[str] | None = None, load: Callable[[str], Part] = part) -> None:
    """Run the command line.

    Raises:
        SystemExit: A figure is missing or invalid. The message names it.
    """
    parser = argparse.ArgumentParser(description="Measure how fast a delegated turn is.")
    parser.add_argument(
        "--out", type=Path, default=Path("build/bench.json"), help="JSON file; the plot is written next to it"
    )
    parser.add_argument("--only", nargs="+", choices=[*PARTS], default=[*PARTS], metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="run a short test of the code")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print a result file as Markdown without measuring")
    options = parser.parse_args(arguments)
    if options.table:
        print(markdown(json.loads(options.table.read_text(encoding="utf-8"))))  # noqa: T201 - the requested output
        return
    results = measure(options.only, quick=options.quick, load=load)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    draw(json.loads(options.out.read_text(encoding="utf-8")), options.out.with_suffix(".png"))
    console = Console(highlight=False)
    console.print(table(results))
    for name, reason in results.get("skipped", {}).items():
        console.print(f"{name}: skipped. {reason}", markup=False)
    if messages := problems(results, options.only):
        sys.exit("\n".join(messages))


if __name__ == "__main__":
    main()
