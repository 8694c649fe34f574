"""What the process uses, and whether it grows."""

from __future__ import annotations

import asyncio
import gc
import sys
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]

from benchmarks.soak.malloc import allocated_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP = 0.1
"""Share of the samples at the start that do not count. Caches and pools of threads fill up then."""
ALLOWED = {"memory": 12.0, "allocated": 1.0, "blocks": 1000.0, "descriptors": 2.0, "threads": 2.0, "tasks": 1.0}
"""By how much the median of the second half may exceed the median of the first half. Memory is in megabytes."""
_QUIET_SECONDS = 2.0
"""Longest wait for tasks that are just ending, in seconds."""
_MEGABYTE = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process uses while no turn runs.

    Attributes:
        turns: Number of turns so far.
        seconds: Seconds since the start.
        memory: Resident memory without pages of files, which the system takes back at any time, in megabytes.
        allocated: The part of it that `malloc` has handed out, in megabytes. 0 if the C library does not tell.
        blocks: Number of small objects of Python, and of parts of objects, up to 512 bytes each.
        descriptors: Number of open files and sockets.
        threads: Number of threads.
        tasks: Number of tasks of the event loop.
    """

    turns: int
    seconds: float
    memory: float
    allocated: float
    blocks: int
    descriptors: int
    threads: int
    tasks: int


QUANTITIES = tuple(field.name for field in fields(Sample) if field.name in ALLOWED)
"""The names of what must not grow."""


async def quiet() -> None:
    """Collect objects that nothing uses, and wait a moment for tasks that are just ending."""
    gc.collect()  # the event loop closes abandoned streams in tasks of its own
    await asyncio.sleep(0)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=_QUIET_SECONDS)


def sample(turns: int, seconds: float) -> Sample:
    """Measure the process. It must be quiet.

    Args:
        turns: Number of turns so far.
        seconds: Seconds since the start.
    """
    process = psutil.Process()
    with process.oneshot():
        used = process.memory_info()
        memory = (used.rss - getattr(used, "shared", 0)) / _MEGABYTE  # macOS does not tell what is shared
        return Sample(
            turns,
            round(seconds, 2),
            round(memory, 2),
            round(allocated_bytes() / _MEGABYTE, 2),
            sys.getallocatedblocks(),
            process.num_fds(),
            process.num_threads(),
            len(asyncio.all_tasks()),
        )


def growth(samples: Sequence[Sample]) -> dict[str, dict[str, Any]]:
    """Compare the second half of the samples with the first half, for each quantity.

    Args:
        samples: At least four samples, in the order of time.
    """
    counted = [asdict(one) for one in samples[int(len(samples) * WARM_UP) :]]
    middle = len(counted) // 2
    found = {}
    for name in QUANTITIES:
        first, second = (median(one[name] for one in half) for half in (counted[:middle], counted[middle:]))
        grew = second - first > ALLOWED[name]
        found[name] = {"first_half": first, "second_half": second, "allowed": ALLOWED[name], "grew": grew}
    return found
