"""Reads and writes files of JSON lines.

An error names the invalid line. An incomplete last line is removed before more lines are written.
"""

from __future__ import annotations

import json
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike


def read_lines(path: str | PathLike[str], *, growing: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the objects of a file, and yield each with its place (`file, line 3`). Empty lines are skipped.

    Args:
        path: The file.
        growing: Whether the file is a log that may still grow. An incomplete last line is then skipped: a process is
            writing it, or was killed while it wrote it.

    Raises:
        ValueError: A line is not a JSON object.
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            place = f"{path}, line {number}"
            if not line.strip():
                continue
            try:
                held = json.loads(line.decode())
            except ValueError as e:
                if growing and not line.endswith(b"\n"):
                    return
                msg = f"{place}: expected a JSON object, got {_short(line)} ({e})"
                raise ValueError(msg) from e
            if not isinstance(held, dict):
                msg = f"{place}: expected a JSON object, got {_short(line)}"
                raise ValueError(msg)  # noqa: TRY004 - one error type for every bad line
            yield place, held


class Appending:
    """Appends lines to a file. Several threads may use one instance.

    If a killed process left an incomplete last line, that line is removed first.

    Args:
        path: The file. Its folder is created if necessary.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = Lock()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        cut_off_half_line(self._path)

    def __call__(self, line: str) -> None:
        """Append a line, given without its line end. When this method returns, the operating system has the line."""
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def cut_off_half_line(path: Path) -> None:
    """Remove an incomplete last line that a killed process left in a file."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, 2)
        end, step = size, 1 << 16
        while end > 0:
            start = max(0, end - step)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                _end(file, start + found + 1)
                return
            end = start
        _end(file, 0)


def _end(file: BinaryIO, start: int) -> None:
    """Add a line end to the last line if the line is complete; otherwise remove it."""
    file.seek(start)
    rest = file.read()
    try:
        json.loads(rest)
    except ValueError:
        file.truncate(start)
    else:
        file.write(b"\n")


def _short(line: bytes, most: int = 60) -> str:
    text = line.decode(errors="replace").strip()
    return repr(text if len(text) <= most else f"{text[:most]}...")
