"""The speed benchmark on an accelerator, in a few minutes: `python -m benchmarks.speed.accelerator`.

It measures the same figures as `make bench`, on the pocket pair and on a pair with random weights that is as large as
the accelerator's memory allows. The most valuable figures come first. The results are written after every job, so that
little is lost if the command is stopped. If a job fails, or no time is left for it, the next ones still run.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import traceback
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

import torch
from tqdm import tqdm  # type: ignore[import-untyped]
from transformers.utils import logging

from benchmarks.speed import batches, compiled, counts, decoding, drafts, lengths, overhead, sampling
from benchmarks.speed.drawing import draw
from benchmarks.speed.pairs import Pair
from benchmarks.speed.recording import Pass, replay
from benchmarks.speed.run import machine
from benchmarks.speed.tables import markdown
from benchmarks.speed.timing import clock, seconds
from langchain_spec_thinking import pocket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.speed.figures import Figure

_MARGIN = 1.3
"""A job begins only if this multiple of its estimated time is left."""
_COPIED = 1 << 30
"""How many bytes are copied to measure the memory of an accelerator."""
POCKET, ENDLESS, LARGEST = "pocket", "endless pocket", "largest"


class Measure(Protocol):
    """Measures a pair, and returns figures by name."""

    def __call__(self, pair: Pair, bar: tqdm[None]) -> Mapping[str, Figure]:
        """Measure."""


@dataclass(frozen=True)
class Job:
    """Something to measure on one pair.

    Attributes:
        name: Name in the results.
        pair: Which pair to measure.
        measure: The measurement.
        passes: About how many forward passes of the small and of the large model it takes.
        once: Name of a group. If one job of the group was done, the others are not needed.
    """

    name: str
    pair: str
    measure: Measure
    passes: tuple[float, float]
    once: str | None = None


def jobs(*, quick: bool) -> list[Job]:
    """Return the jobs, the most valuable first.

    Args:
        quick: Whether to test only the code. The figures are then meaningless.
    """
    rounds, tokens, few = (1, 120, 8) if quick else (6, 240, 64)
    turns, batch_tokens, repeats = (2, 30, 1) if quick else (16, 48, 2)
    longest = (256,) if quick else (4096, 2048, 1024)
    both = few * (2 * rounds + 2)
    plan = [
        (name, pair, measure, passes)
        for name, pairs, measure, passes in (
            ("overhead", (LARGEST, POCKET), partial(_overhead, tokens, rounds), _mix(tokens, 3 * rounds + 1, 6)),
            ("decoding", (LARGEST, ENDLESS), partial(_decoding, few, rounds), (both, both)),
            ("sampling", (LARGEST, ENDLESS), partial(_sampling, few, rounds), (3 * few * (rounds + 2), 0)),
            ("drafts", (LARGEST, POCKET), partial(_drafts, 1 if quick else 3, 100), (300, 500)),
            (
                "batches",
                (LARGEST, POCKET),
                partial(_batches, turns, batch_tokens, repeats),
                _mix(batch_tokens, repeats * (5 + turns)),
            ),
        )
        for pair in pairs
    ]
    written, texts = (70, 1) if quick else (200, 2)
    record, count = partial(_compiled, written, texts), 2.0 * written * texts
    return [
        *(Job(f"{name}, {pair}", pair, measure, passes) for name, pair, measure, passes in plan),
        *(Job(f"decoding, {one}, compiled", one, record, (count, count)) for one in (LARGEST, POCKET)),
        *(Job(f"lengths to {n}", LARGEST, partial(_lengths, n), _mix(n, 2.3), once="lengths") for n in longest),
        Job("prefetching", LARGEST, partial(_prefetching, 1 if quick else 3, 120), _mix(120, 6)),
        Job("memory", LARGEST, partial(_memory, 24 if quick else 256), _mix(24 if quick else 256, 2)),
        Job("counts", POCKET, partial(_counts, 1 if quick else 6), _mix(300, 6)),
    ]


def _mix(tokens: int, turns: float, share: int = 3) -> tuple[float, float]:
    """Return the passes of turns of which the large model writes one of `share` tokens."""
    return turns * tokens * (1 - 1 / share), turns * tokens / share


def _overhead(tokens: int, rounds: int, pair: Pair, bar: tqdm[None]) -> Mapping[str, Figure]:
    question = pocket.problems()[0].question
    return {"overhead_vs_ideal": overhead.overhead(pair, [question], tokens, rounds, bar)}


def _decoding(tokens: int, rounds: int, pair: Pair, bar: tqdm[None]) -> Mapping[str, Figure]:
    return {"decode_vs_generate": decoding.decode_gain(pair, tokens, rounds, bar)}


def _compiled(tokens: int, rounds: int, pair: Pair, bar: tqdm[None]) -> Mapping[str, Figure]:
    return {"compile_speedup": compiled.compile_gain(pair, tokens, rounds, bar)}


def _sampling(tokens: int, rounds: int, pair: Pair, bar: tqdm[None]) -> Mapping[str, Figure]:
    return {"samples_2_vs_1": sampling.samples_cost(pair, tokens, rounds, bar)}


def _drafts(questions: int, tokens: int, pair: Pair, bar: tqdm[None]) -> Mapping[str, Figure]:
    return {"takeover_speedup": drafts.takeover_speedup(pair, questions, tokens, bar)}


def _batches(turns: int, tokens: int, rounds: int, pair: Pair, bar: tqdm[None]) -> Mapping[str, Figure]:
    return {f"batch_of_{batches.TURNS}": batches.batch_gain(pair, turns, tokens, rounds, bar)}


def _lengths(longest: int, pair: Pair, bar: tqdm[None]) -> Mapping[str, Figure]:
    return lengths.one_long_turn(pair, tuple(n for n in (120, *lengths.LENGTHS) if n <= longest), 1, bar)


def _prefetching(rounds: int, tokens: int, pair: Pair, bar: tqdm[None]) -> Mapping[str, Figure]:
    return {"prefetch_saves": drafts.prefetch_gain(pair, rounds, tokens, bar)}


def _memory(tokens: int, pair: Pair, bar: tqdm[None]) -> Mapping[str, Figure]:
    bar.update()
    return {"memory_per_local_turn": batches.memory(pair, 2, tokens)}


def _counts(turns: int, pair: Pair, bar: tqdm[None]) -> Mapping[str, Figure]:
    return counts.count(pair, turns, bar)


class Pairs:
    """The pairs, loaded at first use."""

    def __init__(self, *, quick: bool) -> None:
        self._load: dict[str, Callable[[], Pair]] = {
            POCKET: Pair.pocket,
            ENDLESS: partial(Pair.pocket, endless=True),
            LARGEST: partial(Pair.shaped, quick=quick),
        }
        self._loaded: dict[str, tuple[Pair, tuple[float, float]]] = {}
        self._failed: dict[str, Exception] = {}

    def __getitem__(self, name: str) -> tuple[Pair, tuple[float, float]]:
        """Return a pair, and the seconds that a pass over one token takes in each of its models."""
        if name in self._failed:  # it would take as long again, and fail again
            raise self._failed[name]
        if name not in self._loaded:
            began = clock()
            try:
                pair = self._load[name]()
            except Exception as e:
                self._failed[name] = e
                raise
            self._loaded[name] = pair, seconds_per_pass(pair)
            took = ", ".join(f"{1e3 * one:.1f}" for one in self._loaded[name][1])
            _say(f"{name} pair: {pair.name}, loaded in {clock() - began:.1f} s; a pass takes {took} ms")
        return self._loaded[name]


def seconds_per_pass(pair: Pair, passes: int = 12) -> tuple[float, float]:
    """Return how long a pass over one token takes in each model, in seconds. The first three passes do not count."""
    result = []
    for model in (0, 1):
        ends = [clock() for _ in replay(pair.models, [Pass(model, past, [1]) for past in range(passes)])]
        result.append(median(after - before for before, after in pairwise(ends[2:])))
    return result[0], result[1]


@dataclass
class Session:
    """The jobs that ran so far, with their results.

    Args:
        folder: Where to write `bench.json` after every job.
        seconds: How long all jobs together may take.
        now: The clock.

    Attributes:
        figures: Figures by name, then by the name of the pair.
        done: Seconds of each job.
        failed: Errors by job.
        skipped: Jobs for which there was no time.
    """

    folder: Path
    seconds: float
    now: Callable[[], float] = time.monotonic
    figures: dict[str, dict[str, Figure]] = field(default_factory=dict)
    done: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start the clock."""
        self._end = self.now() + self.seconds
        self._accelerator = accelerator()

    def run(self, plan: Sequence[Job], pairs: Mapping[str, Any] | Pairs) -> None:
        """Run the jobs, as far as there is time for them."""
        groups: set[str] = set()
        for job in plan:
            if job.once in groups:
                continue
            began = self.now()
            try:
                ran = self._run(job, pairs)
            except Exception as e:  # noqa: BLE001 - whatever fails, the other jobs may work
                self.failed[job.name] = f"{type(e).__name__}: {e}"
                _say(f"{job.name} FAILED\n{traceback.format_exc()}")
                ran = False
            if ran:
                self.done[job.name] = self.now() - began
                _say(f"{job.name}: {self.done[job.name]:.1f} s; {self._end - self.now():.0f} s left")
                groups |= {job.once} if job.once else set()
            self.write()
            _free_memory()

    def _run(self, job: Job, pairs: Mapping[str, Any] | Pairs) -> bool:
        """Run a job. Return whether there was time for it."""
        pair, passes = pairs[job.pair]
        estimate = sum(count * one for count, one in zip(job.passes, passes, strict=True))
        left = self._end - self.now()
        if _MARGIN * estimate > left:
            self.skipped.append(job.name)
            _say(f"{job.name}: skipped, because it takes about {estimate:.0f} s and {left:.0f} s are left")
            return False
        with tqdm(desc=job.name, unit="measurement", mininterval=10) as bar:
            figures = job.measure(pair, bar)
        for name, figure in figures.items():
            self.figures.setdefault(name, {})[pair.name] = figure
            _say(f"  {name}, {pair.name}: {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})")
        return True

    def results(self) -> dict[str, Any]:
        """Return the content of `bench.json`: as that of `make bench`, without the figures of remote models.

        The value of a figure is the value of the first pair that was measured, the largest one. The details list both.
        """
        found = {}
        for name, by_pair in self.figures.items():
            pair, figure = next(iter(by_pair.items()))
            listed = {pair: figure.as_dict() for pair, figure in by_pair.items()}
            found[name] = replace(figure, details={**figure.details, "pair": pair, "pairs": listed}).as_dict()
        return {
            **found,
            "machine": {**machine(), **self._accelerator},
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": self.done,
            "failed": self.failed,
            "skipped": self.skipped,
        }

    def write(self) -> None:
        """Write what is known so far. A stop in the middle leaves the earlier file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / "bench.json.new"
        new.write_text(json.dumps(self.results(), indent=2) + "\n", encoding="utf-8")
        new.replace(self.folder / "bench.json")


def accelerator() -> dict[str, Any]:
    """Return the properties of the accelerator. Nothing if there is none.

    `copied_gigabytes_per_second` is the speed of its memory: bytes read and written by a copy.
    """
    if not torch.cuda.is_available():
        return {}
    source = torch.ones(_COPIED, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = [seconds(partial(target.copy_, source)) for _ in range(10)]
    del source, target
    torch.cuda.empty_cache()
    return {
        "cuda": torch.version.cuda,
        "memory_gigabytes": torch.cuda.get_device_properties(0).total_memory / 1e9,
        "copied_gigabytes_per_second": 2 * _COPIED / median(times) / 1e9,
    }


def _free_memory() -> None:
    """Give back memory that the last job used, so that the next one starts as on a new machine."""
    gc.collect()
    if torch.cuda.is_available():
        _say(f"  most memory in use so far: {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")
        torch.cuda.empty_cache()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command that may be stopped shows what it has done


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        SystemExit: A job failed. The message names it.
    """
    parser = argparse.ArgumentParser(description="Measure how fast a delegated turn is on an accelerator.")
    parser.add_argument("--out", type=Path, default=Path("build/accelerator"), help="folder of the results")
    parser.add_argument("--seconds", type=float, default=390, help="how long all measurements may take (default: 390)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run only jobs whose names begin with one of these")
    parser.add_argument("--quick", action="store_true", help="run a short test of the code, with tiny models")
    options = parser.parse_args(arguments)
    logging.disable_progress_bar()
    session = Session(options.out, options.seconds)
    plan = [job for job in jobs(quick=options.quick) if job.name.startswith(tuple(options.only or ("",)))]
    session.run(plan, Pairs(quick=options.quick))
    results = session.results()
    _say(markdown(results))
    draw(json.loads(json.dumps(results)), options.out / "bench.png")
    if session.failed:
        sys.exit("\n".join(f"{name}: {error}" for name, error in session.failed.items()))


if __name__ == "__main__":
    main()
