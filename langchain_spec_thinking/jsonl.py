"""Reads and writes files of JSON lines.

An error names the invalid line. An incomplete last line is removed before more lines are written.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

from langchain_spec_thinking.json_values import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike


def read_lines(
    path: str | PathLike[str], *, allow_incomplete_last_line: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the objects of a file, and yield each with its place (`file, line 3`). Empty lines are skipped.

    Args:
        path: The file.
        allow_incomplete_last_line: Whether to skip an incomplete last line. Use it for a log that may still grow: a
            process is writing that line, or was killed while it wrote it.

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
                value = read_json(line)
            except ValueError as e:
                if allow_incomplete_last_line and not line.endswith(b"\n"):
                    return
                msg = f"{place}: expected a JSON object, got {_shortened(line)} ({e})"
                raise ValueError(msg) from e
            if not isinstance(value, dict):
                msg = f"{place}: expected a JSON object, got {_shortened(line)}"
                raise ValueError(msg)  # noqa: TRY004 - one error type for every bad line
            yield place, value


class LineAppender:
    """Appends lines to a file. Several threads may use one instance.

    If a killed process left an incomplete last line, that line is removed first.

    Args:
        path: The file. Its folder is created if necessary.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = Lock()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        remove_incomplete_last_line(self._path)

    def __call__(self, line: str) -> None:
        """Append a line, given without its line end. When this method returns, the operating system has the line."""
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def remove_incomplete_last_line(path: Path) -> None:
    """Remove an incomplete last line that a killed process left in a file."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, 2)
        end, block = size, 1 << 16
        while end > 0:
            start = max(0, end - block)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                _complete_or_remove(file, start + newline + 1)
                return
            end = start
        _complete_or_remove(file, 0)


def _complete_or_remove(file: BinaryIO, start: int) -> None:
    """Add a line end to the last line if the line is complete; otherwise remove it."""
    file.seek(start)
    last_line = file.read()
    try:
        read_json(last_line)
    except ValueError:
        file.truncate(start)
    else:
        file.write(b"\n")


def _shortened(line: bytes, limit: int = 60) -> str:
    text = line.decode(errors="replace").strip()
    return repr(text if len(text) <= limit else f"{text[:limit]}...")
