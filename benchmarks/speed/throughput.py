"""Many turns at once on one event loop: the pair against the same number of streams of the bare SDK.

The server sends tokens at the pace of a real server. So the figures show whether the client can keep up.
"""

from __future__ import annotations

import asyncio
import gc
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from itertools import repeat
from multiprocessing import get_context
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]

from benchmarks.speed import clients
from benchmarks.speed.figures import Figure
from benchmarks.speed.loopback import StreamSettings, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    Read = Callable[[], Awaitable[object]]

RUNS = {1: 2, 16: 2, 64: 7, 256: 4}
"""Number of runs for each number of concurrent turns."""
TOKENS = 75
RATE = 50.0
"""Tokens per second in each stream."""
_WATCHED_EVERY = 0.02
"""Seconds between two measurements of the memory."""
_AT_ONCE = 64
"""Number of concurrent turns whose ratio is the figure."""
_TARGETS = {64: ">= 0.95", 256: ">= 0.98"}


def measure(
    advance: Callable[[], object], *, runs: dict[int, int] | None = None, tokens: int = TOKENS
) -> dict[str, Figure]:
    """Measure the throughput and the memory of concurrent turns.

    Args:
        advance: Called after each step.
        runs: Number of runs for each number of concurrent turns, which must include 64.
        tokens: Length of each stream, in tokens.
    """
    runs = runs or RUNS
    with serving() as server, asyncio.Runner() as loop:
        ratios, rates = loop.run(_ratios(server, StreamSettings(tokens, rate=RATE), runs, advance))
        memory = _memory(server, StreamSettings(tokens, rate=RATE), max(runs))
        advance()
    return {"throughput_vs_direct": versus(ratios, rates), "memory_per_turn": memory}


def versus(ratios: Mapping[int, list[float]], rates: Mapping[int, Mapping[str, float]]) -> Figure:
    """Return the throughput, relative to the bare SDK.

    Args:
        ratios: Our tokens per second divided by the SDK's, one ratio per run, by the number of concurrent turns, which
            must include 64.
        rates: The highest tokens per second of each client, by the number of concurrent turns.
    """
    figures = {n: Figure.of(ratios[n], target=_TARGETS.get(n), tokens_per_second=rates[n]) for n in ratios}
    by_number = {str(n): figure.as_dict() for n, figure in figures.items()}
    return Figure.of(ratios[_AT_ONCE], target=_TARGETS[_AT_ONCE], offered_per_stream=RATE, by_concurrency=by_number)


@asynccontextmanager
async def _clients(url: str, stream_settings: StreamSettings) -> AsyncGenerator[dict[str, Read], None]:
    """Yield the clients that read a story, by name."""
    ours = clients.pair(url, stream_settings)
    async with clients.async_sdk_client(url) as sdk:
        yield {"sdk": lambda: clients.async_sdk_text(sdk), "ainvoke": lambda: ours.ainvoke(clients.QUESTION)}


async def _ratios(
    server: str, stream_settings: StreamSettings, runs: dict[int, int], advance: Callable[[], object]
) -> tuple[dict[int, list[float]], dict[int, dict[str, float]]]:
    """Return the ratios and the highest rates of both clients, by the number of concurrent turns."""
    ratios: dict[int, list[float]] = {}
    rates: dict[int, dict[str, float]] = {}
    async with _clients(stream_settings.url(server), stream_settings) as reads:
        await asyncio.gather(*(read() for read in reads.values()))
        for number, times in runs.items():
            ratios[number], rates[number] = [], dict.fromkeys(reads, 0.0)
            for run in range(times):
                names = list(reads) if run % 2 else list(reversed(reads))
                speeds = {name: number * stream_settings.tokens / await _seconds(reads[name], number) for name in names}
                ratios[number].append(speeds["ainvoke"] / speeds["sdk"])
                rates[number] = {name: max(rates[number][name], rate) for name, rate in speeds.items()}
                advance()
    return ratios, rates


async def _seconds(read: Read, number: int) -> float:
    gc.collect()
    began = time.perf_counter()
    await asyncio.gather(*(read() for _ in range(number)))
    return time.perf_counter() - began


def _memory(server: str, stream_settings: StreamSettings, number: int) -> Figure:
    """Return the memory growth of a process per concurrent turn, including connections."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
        sdk, ainvoke = fresh.map(_growth, ("sdk", "ainvoke"), *map(repeat, (server, stream_settings, number)))
    return Figure.of([ainvoke], unit="KiB", sdk=sdk, concurrent=number, tokens=stream_settings.tokens)


def _growth(client: str, server: str, stream_settings: StreamSettings, number: int) -> float:
    """Return the growth in KiB per turn. A process does not return memory, so each measurement needs a new process."""
    process, most = psutil.Process(), 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(_WATCHED_EVERY)

    async def read() -> float:
        async with _clients(stream_settings.url(server), stream_settings) as reads:
            await reads[client]()
            gc.collect()
            before = process.memory_info().rss
            watching = asyncio.create_task(watch())
            await asyncio.gather(*(reads[client]() for _ in range(number)))
            watching.cancel()
            return float(most - before) / number / 1024

    return asyncio.run(read())
