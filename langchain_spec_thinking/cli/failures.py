"""How a command ends if it fails: one message, once, and the exit status 1."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError

from langchain_spec_thinking.cli.console import console, printable
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.invalid_fields import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_PACKAGE = "langchain_spec_thinking"


@contextmanager
def exit_on_failure(*further: type[Exception]) -> Iterator[None]:
    """Print the message of an expected error, and end the command with status 1.

    Args:
        *further: Expected errors besides those of models, packages, files and options.
    """
    expected: tuple[type[Exception], ...] = (BackendError, ImportError, OSError, ValueError, *further)
    try:
        yield
    except expected as e:
        console.print(message_of(e), style="red", markup=False)
        raise typer.Exit(1) from e


@contextmanager
def exit_on_interrupt(folder: Path) -> Iterator[None]:
    """Say on Ctrl-C where the answers are, and end the command with status 130."""
    try:
        yield
    except KeyboardInterrupt as e:
        console.print(f"Interrupted. The answers so far are in {folder}. Run the same command again to continue.")
        raise typer.Exit(130) from e


def message_of(error: BaseException) -> str:
    """Return the message of an error, which may quote a server, as a text that does not control the terminal.

    An error of pydantic gives a line for each setting, without a link.
    """
    if not isinstance(error, ValidationError):
        return printable(str(error))
    lines = []
    for one in error.errors(include_url=False, include_input=False):
        setting, said = ".".join(map(str, one["loc"])), reason_of(one)
        lines.append(f"{setting}: {said}" if setting else said)
    return printable("\n".join(lines))


class HeldLog(logging.Handler):
    """Holds the warnings that this package logs during a turn, so that none repeats what the command prints anyway.

    Without it, Python would print each warning at once, in the middle of the text of the turn.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Hold a message."""
        self._lines.append(printable(record.getMessage()))

    def print_rest(self, printed: Iterable[str]) -> None:
        """Print the messages that contain none of the texts that the command has printed, and forget all."""
        printed = [printable(text) for text in printed]
        for line in self._lines:
            if not any(text in line for text in printed):
                console.print(line, style="yellow", markup=False)
        self._lines.clear()


@contextmanager
def held_log() -> Iterator[HeldLog]:
    """Hold what this package logs inside the `with` block."""
    logger, held = logging.getLogger(_PACKAGE), HeldLog()
    propagates = logger.propagate
    logger.addHandler(held)
    logger.propagate = False
    try:
        yield held
    finally:
        logger.removeHandler(held)
        logger.propagate = propagates
        held.print_rest(())
