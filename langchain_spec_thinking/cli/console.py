"""The terminal that the commands print to."""

from __future__ import annotations

from rich.console import Console

console = Console(highlight=False)
_UNPRINTABLE = dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(127, 160)]) | dict.fromkeys(
    range(0xD800, 0xE000), "\ufffd"
)
"""Leaves out characters that would control the terminal, except tabs and line breaks, and replaces half characters."""


def printable(text: str) -> str:
    """Return a text that a terminal can show and that does not control the terminal."""
    return text.translate(_UNPRINTABLE)
