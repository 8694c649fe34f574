"""`make soak`: writes many mixed turns in one process and fails if the process uses more and more.

The turns are local and remote, and end, fail, take too long or are cancelled. While no turn runs, the memory, the
objects, the open files, the threads and the tasks are counted. The second half of the counts is compared with the first
half. Nothing may be printed about an error that no caller can handle.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.soak.drawing import draw
from benchmarks.soak.samples import Sample, growth, quiet, sample
from benchmarks.soak.server import listening
from benchmarks.soak.turns import Kind, local_kinds, remote_kinds
from benchmarks.soak.unraisable import collecting_unraisable
from langchain_spec_thinking.backends.local.prefix_cache_pool import CACHES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

AT_ONCE = 4
"""Number of turns that run at the same time."""
WARM_UP_AT_ONCE = CACHES_MAX
"""Number of turns of the same kind that run at the same time before the first sample. They fill the cache pools of both
local models. Otherwise a pool would get another cache, of some megabytes, at a random moment of the soak."""
NO_BUFFERS_OF_THREADS = ("MKL_DISABLE_FAST_MM", "1")
"""An environment variable and its value. Otherwise MKL, with which torch multiplies matrices on CPUs, keeps buffers for
each thread until the thread ends. The process then grows until all threads of a pool have had a long prompt."""
SAMPLES = 100
"""Number of samples, if there are enough turns."""


@dataclass
class Soak:
    """Writes turns and samples the process.

    First it writes turns that warm up the process, some of each kind at the same time. They fill the pools of caches,
    connections and threads. They are in no count, except that of wrong endings.

    Args:
        kinds: The kinds of turns, drawn at random.
        turns: Number of turns.
        seed: Seed of the order.
        progress: Called with a number of further turns that have ended.

    Attributes:
        samples: The samples, in the order of time.
        endings: How many turns of each kind ended in each way.
        wrong: What was not expected, in words.
        unraisable: The errors that Python printed because no caller can handle them.
    """

    kinds: Sequence[Kind]
    turns: int
    seed: int = 0
    progress: Callable[[int], Any] = lambda _: None
    samples: list[Sample] = field(default_factory=list)
    endings: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)
    unraisable: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Write all turns."""
        with collecting_unraisable() as self.unraisable:
            await self._warm_up()
            await self._write()

    async def _warm_up(self) -> None:
        for kind in self.kinds:
            await asyncio.gather(*(self._ending(kind) for _ in range(WARM_UP_AT_ONCE)))
            await quiet()

    async def _write(self) -> None:
        began = time.monotonic()
        drawn = random.Random(self.seed).choices(self.kinds, k=self.turns)  # noqa: S311 - not used for security
        every = max(AT_ONCE, self.turns // SAMPLES)
        for start in range(0, len(drawn), every):
            rest = iter(drawn[start : start + every])
            await asyncio.gather(*(self._work(rest) for _ in range(AT_ONCE)))
            await quiet()
            self.samples.append(sample(min(start + every, self.turns), time.monotonic() - began))

    async def _work(self, kinds: Iterator[Kind]) -> None:
        for kind in kinds:
            ending = await self._ending(kind)
            self.endings.setdefault(kind.name, Counter())[ending] += 1
            self.progress(1)

    async def _ending(self, kind: Kind) -> str:
        """Write a turn, and return how it ended."""
        try:
            ending: str = await kind.write()
        except Exception as error:  # noqa: BLE001 - it is what the soak looks for
            ending = type(error).__name__
            self.wrong[f"{kind.name}: {ending}: {error}"[:300]] += 1
        else:
            if ending not in kind.endings:
                self.wrong[f"{kind.name}: {ending} instead of {' or '.join(kind.endings)}"] += 1
        return ending

    def results(self) -> dict[str, Any]:
        """Return all results for a JSON file."""
        return {
            "turns": self.turns,
            "seed": self.seed,
            "seconds": self.samples[-1].seconds,
            "growth": growth(self.samples),
            "endings": dict(sorted(self.endings.items())),
            "wrong": dict(self.wrong),
            "unraisable": len(self.unraisable),
            "samples": [asdict(one) for one in self.samples],
        }


def passed(results: dict[str, Any]) -> bool:
    """Return whether nothing grew, no error was printed, and every turn ended as it may end."""
    grew = any(figures["grew"] for figures in results["growth"].values())
    return not (results["wrong"] or results["unraisable"] or grew)


def show(results: dict[str, Any], console: Console) -> None:
    """Print the results."""
    console.print(f"{results['turns']} turns in {results['seconds']:.0f} s, seed {results['seed']}")
    for name, figures in results["growth"].items():
        verdict = "GREW" if figures["grew"] else "flat"
        console.print(f"{name}: {figures['first_half']:g}, then {figures['second_half']:g}: {verdict}")
    for words, count in results["wrong"].items():
        console.print(f"{count} times {words}")
    if results["unraisable"]:
        console.print(f"{results['unraisable']} times Python printed an error that no caller can handle (see above)")


async def soak(turns: int, seed: int, *, local: bool = True, progress: Callable[[int], Any] = lambda _: None) -> Soak:
    """Write turns of all kinds.

    Args:
        turns: Number of turns.
        seed: Seed of the order.
        local: Whether to write turns with the pocket models too.
        progress: Called with a number of further turns that have ended.
    """
    async with listening() as url:
        kinds = remote_kinds(url) + (local_kinds() if local else [])
        found = Soak(kinds, turns, seed, progress)
        await found.run()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Write many turns, and see whether the process grows.")
    parser.add_argument("--out", type=Path, default=Path("build/soak.json"), help="JSON file; the plot is beside it")
    parser.add_argument("--turns", type=int, default=2000, help="number of turns")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order of the turns")
    parser.add_argument("--remote-only", action="store_true", help="no turns with local models")
    options = parser.parse_args(arguments)
    if not options.remote_only:
        os.environ.setdefault(*NO_BUFFERS_OF_THREADS)
    with tqdm(total=options.turns, desc="turns", unit="") as bar:
        found = asyncio.run(soak(options.turns, options.seed, local=not options.remote_only, progress=bar.update))
    results = found.results()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    draw(results, options.out.with_suffix(".png"))
    show(results, Console(highlight=False))
    return 0 if passed(results) else 1


if __name__ == "__main__":
    sys.exit(main())
