"""Collection of unwanted output of other libraries: warnings, log lines and progress bars."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING

import transformers

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGGERS = ("transformers", "torch", "accelerate", "huggingface_hub")
_CATEGORIES = (FutureWarning, DeprecationWarning, UserWarning)


class _CollectingHandler(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(f"{record.name}: {record.getMessage()}")


@contextmanager
def collect_output() -> Iterator[list[str]]:
    """Collect the output of the libraries inside the `with` block. The list is complete at the end of the block."""
    output: list[str] = []
    handler, screen = _CollectingHandler(output), io.StringIO()
    once = transformers.utils.logging.warning_once  # its cache remembers the warnings that it has logged
    once.cache_clear()
    before = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_warning()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as warned, redirect_stderr(screen):
            warnings.simplefilter("always")
            yield output
    finally:
        transformers.utils.logging.set_verbosity(before)
        for logger in loggers:
            logger.removeHandler(handler)
    output += [f"{w.category.__name__}: {w.message}" for w in warned if issubclass(w.category, _CATEGORIES)]
    output += [line for line in screen.getvalue().splitlines() if line.strip()]
