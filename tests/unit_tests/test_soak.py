"""The soak: a short one, and that each kind of growth is detected."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.soak.drawing import draw
from benchmarks.soak.malloc import allocated_bytes
from benchmarks.soak.run import WARM_UP_AT_ONCE, Soak, main, passed, soak
from benchmarks.soak.samples import ALLOWED, QUANTITIES, Sample, growth
from benchmarks.soak.turns import Ending, Kind
from langchain_spec_thinking.backends.local.prefix_cache_pool import CACHES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Alone = Callable[..., Any]
    """Calls a function with arguments in a process of its own, and returns what it returns."""

FLAT = Sample(turns=0, seconds=0.0, memory=500.0, allocated=200.0, blocks=2_000_000, descriptors=20, threads=9, tasks=1)


@pytest.fixture(scope="module")
def alone() -> Iterator[Alone]:
    """Call functions that measure the process in new processes.

    Other tests leave free memory in their process. A leak takes this memory first, and the process does not grow.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def test_a_short_soak_is_flat(tmp_path: Path, alone: Alone) -> None:
    out = tmp_path / "soak.json"
    assert alone(main, ["--turns", "60", "--remote-only", "--out", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["unraisable"] == 0
    assert found["turns"] == sum(sum(endings.values()) for endings in found["endings"].values()) == 60
    assert {ending for endings in found["endings"].values() for ending in endings} == {"answer", "error", "cancelled"}
    assert out.with_suffix(".png").stat().st_size > 0


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_growth_is_detected(quantity: str) -> None:
    """A quantity that grows by its limit in each tenth of the run exceeds the limit in the second half."""
    growing = [replace(FLAT, **{quantity: getattr(FLAT, quantity) + ALLOWED[quantity] * i / 10}) for i in range(100)]
    assert [name for name, figures in growth(growing).items() if figures["grew"]] == [quantity]


def test_growth_in_the_warm_up_is_allowed() -> None:
    samples = [*[replace(FLAT, memory=100.0 * i) for i in range(5)], *[FLAT] * 45]
    assert not any(figures["grew"] for figures in growth(samples).values())


@contextmanager
def leaking(what: str) -> Iterator[Kind]:
    """Yield a kind of turn that leaks one thing each time."""
    kept: list[object] = []
    files: list[int] = []
    end = threading.Event()

    async def write() -> Ending:
        if what == "descriptors":
            files.append(os.open(os.devnull, os.O_RDONLY))
        if what == "threads":
            thread = threading.Thread(target=end.wait)
            thread.start()
        if what == "tasks":
            kept.append(asyncio.create_task(asyncio.Event().wait()))
        if what == "memory":
            kept.append(bytearray(os.urandom(2**21)))
        if what == "allocated":
            kept.append(bytearray(2**18))
        if what == "blocks":
            kept.append([object() for _ in range(200)])
        return "answer"

    try:
        yield Kind(what, write, ("answer",))
    finally:
        end.set()
        for file in files:
            os.close(file)


def results_of_a_leak(what: str) -> dict[str, Any]:
    """Return the results of a soak whose turns leak one thing."""
    with pytest.MonkeyPatch.context() as patch, leaking(what) as kind:
        patch.setattr("benchmarks.soak.samples._QUIET_SECONDS", 0.0)
        found = Soak([kind], 32)
        asyncio.run(found.run())
    return found.results()


@pytest.mark.parametrize("what", QUANTITIES)
def test_a_leak_fails_the_soak(what: str, alone: Alone) -> None:
    if what == "allocated" and not allocated_bytes():
        pytest.skip("this C library does not tell what it has handed out")
    results = alone(results_of_a_leak, what)
    assert results["growth"][what]["grew"]
    assert not passed(results)


async def test_the_warm_up_fills_a_pool_of_caches() -> None:
    """Without the warm-up, the pool would grow when by chance more turns than before use it at the same time."""
    pool: list[object] = []
    made: set[object] = set()

    async def write() -> Ending:
        cache = pool.pop() if pool else object()
        made.add(cache)
        await asyncio.sleep(0)
        pool.append(cache)
        return "answer"

    found = Soak([Kind("pooled", write, ("answer",))], 8)
    await found.run()
    assert len(made) == CACHES_MAX
    assert found.endings == {"pooled": {"answer": 8}}


@pytest.mark.parametrize(("ending", "words"), [("error", "error instead of answer"), ("raises", "KeyError")])
async def test_a_turn_that_ends_in_another_way_fails_the_soak(ending: str, words: str) -> None:
    async def write() -> Ending:
        if ending == "raises":
            raise KeyError
        return "error"

    found = Soak([Kind("odd", write, ("answer",))], 8)
    await found.run()
    assert words in " ".join(found.results()["wrong"])
    assert not passed(found.results())


async def test_an_error_that_python_prints_fails_the_soak(capfd: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def __del__(self) -> None:
            raise KeyError("broken")

    async def write() -> Ending:
        Broken()
        return "answer"

    found = Soak([Kind("prints", write, ("answer",))], 8)
    before = sys.unraisablehook
    sys.unraisablehook = sys.__unraisablehook__  # pytest has its own, which makes this test fail
    try:
        await found.run()
    finally:
        sys.unraisablehook = before
    assert found.results()["unraisable"] == 8 + WARM_UP_AT_ONCE
    assert not passed(found.results())
    assert capfd.readouterr().err.count("KeyError: 'broken'") == 8 + WARM_UP_AT_ONCE


def allocated_with_and_without(size: int) -> tuple[int, int]:
    """Return by how many bytes the count grows with 16 MiB of blocks of this size, and then without these blocks."""
    before = allocated_bytes()
    kept = [bytearray(size) for _ in range(2**24 // size)]
    grown = allocated_bytes() - before
    kept.clear()
    return grown, allocated_bytes() - before


@pytest.mark.parametrize("size", [1000, 2**22], ids=["of the heap", "of a mapping of its own"])
def test_memory_that_malloc_has_handed_out_is_counted(size: int, alone: Alone) -> None:
    if not allocated_bytes():
        pytest.skip("this C library does not tell what it has handed out")
    grown, left = alone(allocated_with_and_without, size)
    assert grown == pytest.approx(2**24, rel=0.1)
    assert left == pytest.approx(0, abs=2**20)


@pytest.mark.enable_socket  # of this machine only
async def test_local_and_remote_turns_are_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []

    async def remember(self: Soak) -> None:
        found.extend(kind.name for kind in self.kinds)

    monkeypatch.setattr(Soak, "run", remember)
    await soak(1, 0)
    assert {name.partition(",")[0] for name in found} == {"local", "remote"}


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    samples = [{name: getattr(FLAT, name) for name in ("turns", *QUANTITIES)}] * 8
    draw({"samples": samples, "growth": growth([FLAT] * 8)}, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").stat().st_size > 0
