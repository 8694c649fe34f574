"""Hooks of pytest that unit tests and integration tests share."""

import os

from tests.deadlines import (
    pytest_addoption,
    pytest_configure,
    pytest_runtest_call,
    pytest_runtest_teardown,
    pytest_timeout_cancel_timer,
    pytest_timeout_set_timer,
    pytest_unconfigure,
)

_TERMINAL_VARIABLES = (
    *("COLORTERM", "FORCE_COLOR", "GITHUB_ACTIONS", "NO_COLOR", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
    *("COLUMNS", "LINES", "TERMINAL_WIDTH", "TYPER_USE_RICH", "_TYPER_FORCE_DISABLE_TERMINAL"),
)
"""Variables that change the colours and the width of what a command prints. typer reads some when it is imported."""
_PROXY_VARIABLES = [name for name in os.environ if name.lower() in {"http_proxy", "https_proxy", "all_proxy"}]
"""Variables that name a proxy. A proxy knows no server of a test."""


def pytest_sessionstart() -> None:
    """Forget the terminal and the proxy of the machine that runs the tests. pytest has read its colours before."""
    for name in (*_TERMINAL_VARIABLES, *_PROXY_VARIABLES):
        os.environ.pop(name, None)


__all__ = [
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_call",
    "pytest_runtest_teardown",
    "pytest_sessionstart",
    "pytest_timeout_cancel_timer",
    "pytest_timeout_set_timer",
    "pytest_unconfigure",
]
