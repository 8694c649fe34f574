"""The turns of a file: one that `Trace.save` wrote, or all that `recording` appended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_spec_thinking.recording.recorder import read_records
from langchain_spec_thinking.viewing.trace import Trace, holds_records

if TYPE_CHECKING:
    from os import PathLike


@dataclass(frozen=True)
class StoredTurn:
    """A turn of a file.

    Attributes:
        trace: What can be shown.
        error: The error that ended the turn. None if there was none.
        texts: Whether the file holds the texts of the turn.
    """

    trace: Trace
    error: str | None = None
    texts: bool = True


def read_turns(path: str | PathLike[str]) -> list[StoredTurn]:
    """Read all turns of a file that `Trace.save` or `recording` wrote, in the order of the file.

    Raises:
        ValueError: The file has another format, or holds no turn.
        OSError: The file cannot be read.
    """
    if not holds_records(path):
        return [StoredTurn(Trace.load(path))]
    return [StoredTurn(Trace.of_record(record), record.error, record.texts) for record in read_records(path)]
