"""No test hangs: every test has a deadline, and its deadline ends it.

pytest-timeout says how many seconds a test has: `timeout` in the configuration, `--timeout`, or the marker of a test.

- A coroutine is cancelled `timeout_grace` seconds before. The test fails, and the run goes on.
- Anything else that is not done then ends the process, after every thread's stack is written to standard error. This
  covers fixtures, threads, and coroutines that do not let themselves be cancelled. A thread in C counts the seconds, so
  no event loop can swallow the end and no lock can hold it up. pytest-xdist reports the end of a worker as the failure
  of its test, and starts another worker.
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
"""How many seconds an item has."""
STDERR = pytest.StashKey[int]()
"""The standard error of the process, which pytest captures during tests."""


class Settings(Protocol):
    """What pytest-timeout read of its settings for one test."""

    @property
    def timeout(self) -> float:
        """How many seconds the test has."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the setting."""
    told = "Seconds from the cancellation of a coroutine to the end of the process."
    parser.addini("timeout_grace", told, default="30")


def pytest_configure(config: pytest.Config) -> None:
    """Keep standard error before pytest captures it."""
    config.stash[STDERR] = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)


def pytest_timeout_set_timer(item: pytest.Item, settings: Settings) -> bool:
    """Take the place of pytest-timeout's own timers."""
    item.stash[SECONDS] = settings.timeout
    _arm(item)
    return True


def pytest_timeout_cancel_timer() -> bool:
    """Take the place of pytest-timeout's own timers."""
    faulthandler.cancel_dump_traceback_later()
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Give a coroutine its deadline."""
    if isinstance(item, pytest.Function) and SECONDS in item.stash:
        seconds = max(item.stash[SECONDS] - float(item.config.getini("timeout_grace")), 0)
        inner = getattr(item.obj, "hypothesis", None)  # Hypothesis calls the coroutine for each of its examples
        if inner and inspect.iscoroutinefunction(inner.inner_test):
            inner.inner_test = _within(seconds, inner.inner_test)
        elif inspect.iscoroutinefunction(item.obj):
            item.obj = _within(seconds, item.obj)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Set the deadline again: pytest takes it away when a test fails, but its fixtures can still hang."""
    if SECONDS in item.stash:
        _arm(item)
    return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Set a deadline for the end of the process, which waits for its threads. A worker waits for its controller."""
    if not hasattr(config, "workerinput"):
        faulthandler.dump_traceback_later(float(config.getini("timeout_grace")), exit=True, file=config.stash[STDERR])


def _arm(item: pytest.Item) -> None:
    faulthandler.dump_traceback_later(item.stash[SECONDS], exit=True, file=item.config.stash[STDERR])


def _within(seconds: float, test: Coroutine) -> Coroutine:
    """Return the test with a deadline. It fails too if it swallows its cancellation and ends."""

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
                pytest.fail(f"The test was not done after {seconds:g} seconds. Captured stderr shows its tasks.")

    return limited
