"""Deadlines that end every test, so that no test hangs.

pytest-timeout reads the number of seconds for a test from `timeout` in the configuration, from `--timeout`, or from the
marker of the test.

- A coroutine is cancelled `timeout_grace` seconds before its deadline. The test fails, and the run goes on.
- If a test is not done at its deadline, the stacks of all threads are written to standard error and the process ends.
  This covers fixtures, threads, and coroutines that swallow their cancellation. A thread in C counts the seconds, so
  that no event loop and no lock can prevent the end. pytest-xdist reports the end of a worker as the failure of its
  test, and starts another worker.
"""

from __future__ import annotations

import asyncio
import faulthandler
import inspect
import os
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    Coroutine = Callable[..., Awaitable[object]]

SECONDS = pytest.StashKey[float]()
"""Deadline of an item, in seconds."""
STDERR = pytest.StashKey[int]()
"""File descriptor of the process's standard error, which pytest captures during tests."""


class Settings(Protocol):
    """The settings of pytest-timeout for one test."""

    @property
    def timeout(self) -> float:
        """Deadline of the test, in seconds."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting `timeout_grace`."""
    description = "Seconds from the cancellation of a coroutine to the end of the process."
    parser.addini("timeout_grace", description, default="30")


def pytest_configure(config: pytest.Config) -> None:
    """Keep a copy of standard error before pytest captures it."""
    config.stash[STDERR] = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)


def pytest_timeout_set_timer(item: pytest.Item, settings: Settings) -> bool:
    """Start the deadline of a test instead of pytest-timeout's own timer."""
    item.stash[SECONDS] = settings.timeout
    _arm(item)
    return True


def pytest_timeout_cancel_timer() -> bool:
    """Stop the deadline of a test."""
    faulthandler.cancel_dump_traceback_later()
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Add the deadline to a test that is a coroutine."""
    if isinstance(item, pytest.Function) and SECONDS in item.stash:
        seconds = max(item.stash[SECONDS] - float(item.config.getini("timeout_grace")), 0)
        inner = getattr(item.obj, "hypothesis", None)  # Hypothesis calls the coroutine once for each example
        if inner and inspect.iscoroutinefunction(inner.inner_test):
            inner.inner_test = _within(seconds, inner.inner_test)
        elif inspect.iscoroutinefunction(item.obj):
            item.obj = _within(seconds, item.obj)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Start the deadline again. pytest stops it when a test fails, but the fixtures of the test can still hang."""
    if SECONDS in item.stash:
        _arm(item)
    return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Set a deadline for the end of the process, which waits for its threads.

    A worker of pytest-xdist gets no such deadline, because it waits for its controller.
    """
    if not hasattr(config, "workerinput"):
        faulthandler.dump_traceback_later(float(config.getini("timeout_grace")), exit=True, file=config.stash[STDERR])


def _arm(item: pytest.Item) -> None:
    faulthandler.dump_traceback_later(item.stash[SECONDS], exit=True, file=item.config.stash[STDERR])


def _within(seconds: float, test: Coroutine) -> Coroutine:
    """Return the test with a deadline. The test also fails if it swallows its cancellation and then ends."""

    @wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> None:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await test(*args, **kwargs)
        finally:
            if limit.expired():
                for task in asyncio.all_tasks():
                    task.print_stack()
                pytest.fail(f"The test did not finish within {seconds:g} seconds. Captured stderr shows its tasks.")

    return limited
