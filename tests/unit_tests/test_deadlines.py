"""Tests of the deadlines: every test that hangs is ended and fails, for each way to hang."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]

CANCELLED = {
    "a coroutine waits forever": """
        async def test_it():
            await asyncio.Event().wait()
    """,
    "a callback of the loop swallows exceptions raised in it": """
        async def test_it():
            def again():
                loop.call_soon(again)

            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda *_: None)
            again()
            await asyncio.Event().wait()
    """,
    "a method waits forever": """
        class TestIt:
            async def test_it(self):
                await asyncio.Event().wait()
    """,
    "an example of Hypothesis waits forever": """
        from hypothesis import given, strategies

        @given(strategies.just(1))
        async def test_it(one):
            await asyncio.Event().wait()
    """,
    "a coroutine swallows its cancellation and ends": """
        async def test_it():
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
    """,
}
"""Tests that are cancelled, so that the run goes on."""

ENDED = {
    "a coroutine swallows every cancellation": """
        async def test_it():
            while True:
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
    """,
    "a leftover task swallows every cancellation": """
        async def test_it():
            async def stay():
                while True:
                    with suppress(asyncio.CancelledError):
                        await asyncio.Event().wait()

            task = asyncio.create_task(stay())
            await asyncio.sleep(0)
            assert task is None
    """,
    "an asynchronous fixture never begins": """
        @pytest.fixture
        async def slow():
            await asyncio.Event().wait()

        async def test_it(slow):
            pass
    """,
    "an asynchronous fixture never ends": """
        @pytest.fixture
        async def slow():
            yield
            await asyncio.Event().wait()

        async def test_it(slow):
            pass
    """,
    "a fixture never ends after a failure": """
        @pytest.fixture
        def slow():
            yield
            threading.Event().wait()

        def test_it(slow):
            assert slow
    """,
    "a loop is busy": """
        def test_it():
            while True:
                pass
    """,
    "one call into C is busy": """
        def test_it():
            re.match("(a+)+b", "a" * 1000)
    """,
    "an exception is swallowed wherever it is raised": """
        def test_it():
            while True:
                with suppress(BaseException):
                    threading.Event().wait()
    """,
    "a pool waits for its thread": """
        def test_it():
            with ThreadPoolExecutor(1) as pool:
                pool.submit(threading.Event().wait)
    """,
    "a loop of its own runs forever": """
        def test_it():
            asyncio.run(asyncio.Event().wait())
    """,
}
"""Tests whose deadline ends the process."""

BEGIN = """
import asyncio, re, threading, time, pytest
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
"""
PLUGINS = ("pytest_asyncio.plugin", "pytest_timeout", "tests.deadlines")


def run_pytest(folder: Path, tests: Iterable[str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the tests, each in its own file. A run that hangs raises `TimeoutExpired`."""
    for number, test in enumerate(tests):
        (folder / f"test_{number}.py").write_text(BEGIN + dedent(test), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", str(folder), f"--rootdir={folder}", *options]
    command += [part for name in PLUGINS for part in ("-p", name)]
    settings = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # loading all plugins takes seconds
    return subprocess.run(  # noqa: S603 - our own command
        command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=90, check=False
    )


def outcomes(result: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how many tests of a run have which outcome, as pytest itself reads its last line."""
    found = pytest.RunResult.parse_summary_nouns(result.stdout.splitlines())
    return {name: count for name, count in found.items() if name != "warnings"}


def test_coroutines_are_cancelled_and_the_run_goes_on(tmp_path: Path) -> None:
    options = ("--tb=line", "-p", "_hypothesis_pytestplugin")
    result = run_pytest(tmp_path, CANCELLED.values(), "--timeout=80", "-o", "timeout_grace=79.8", *options)
    assert result.stdout.count(": Failed: The test did not finish within 0.2 seconds") == len(CANCELLED)
    assert outcomes(result) == {"failed": len(CANCELLED)}
    assert result.returncode == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("test", ENDED.values(), ids=ENDED)
def test_a_test_that_cannot_be_cancelled_ends_the_process_and_shows_its_stacks(test: str, tmp_path: Path) -> None:
    result = run_pytest(tmp_path, [test], "--timeout=0.5", "-o", "timeout_grace=0.3")
    assert "Timeout (0:00:0" in result.stderr
    assert "most recent call first" in result.stderr
    assert result.returncode == 1


def test_a_test_fails_if_its_worker_ends(tmp_path: Path) -> None:
    hangs, passes = ENDED["a loop is busy"], "def test_next(): pass"
    result = run_pytest(tmp_path, [hangs, passes], "--timeout=1", "-p", "xdist", "--numprocesses=1")
    assert re.search(r"crash.*test_0\.py::test_it", result.stdout)
    assert outcomes(result) == {"failed": 1, "passed": 1}


def test_an_idle_worker_waits_for_the_others(tmp_path: Path) -> None:
    """The second worker waits for longer than a process may take to end."""
    slow = """
        def test_it():
            time.sleep(9)
    """
    options = ("--timeout=80", "-o", "timeout_grace=8", "-p", "xdist", "--numprocesses=2")
    result = run_pytest(tmp_path, [slow, "def test_next(): pass"], *options)
    assert outcomes(result) == {"passed": 2}
    assert "Timeout" not in result.stderr
    assert result.returncode == 0


def test_a_leftover_thread_does_not_block_the_end(tmp_path: Path) -> None:
    thread = """
        def test_it():
            threading.Thread(target=threading.Event().wait).start()
    """
    result = run_pytest(tmp_path, [thread], "--timeout=80", "-o", "timeout_grace=0.5")
    assert outcomes(result) == {"passed": 1}
    assert result.returncode == 1
    assert "most recent call first" in result.stderr
