"""Compares a turn with faults to the same turn without faults. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from langchain_spec_thinking.errors import BackendError


@dataclass(frozen=True, slots=True)
class TurnResult:
    """The result of a turn.

    Attributes:
        text: Thought and answer.
        authors: The parts of the text. Each has an author, a kind, and its end in characters.
        failure: Why the turn ended early, or continued with only one of the two models. None if neither happened.
    """

    text: str
    authors: tuple[tuple[str, str, int], ...] = ()
    failure: str | None = None

    @classmethod
    def from_message(cls, message: BaseMessage) -> TurnResult:
        """Read the result from a message."""
        report: dict[str, Any] = message.response_metadata["speculative_thinking"]
        thought = "".join(block["reasoning"] for block in message.content_blocks if block["type"] == "reasoning")
        authors = tuple((s["author"], s["kind"], s["end"]) for s in report["segments"])
        return cls(f"{thought}</think>{message.text}", authors, "; ".join(report["degraded"]) or None)

    @classmethod
    def from_error(cls, error: BackendError) -> TurnResult:
        """Read the result from an error."""
        return cls(f"{error.thinking}</think>{error.answer}", (), f"{type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a turn with faults differs from the turn without faults.

    Attributes:
        lost: Number of characters that are missing.
        doubled: Number of characters that are extra.
        right: Whether the two turns are the same, including the authors, and no model was lost.
        why: The difference, in words.
    """

    lost: int
    doubled: int
    right: bool
    why: str


def compare(without_faults: TurnResult, with_faults: TurnResult) -> Verdict:
    """Compare two turns."""
    lost = doubled = 0
    why = with_faults.failure or ("" if with_faults.authors == without_faults.authors else "a part has another author")
    steps = SequenceMatcher(None, without_faults.text, with_faults.text, autojunk=False).get_opcodes()
    for kind, start, end, new_start, new_end in steps:
        if kind == "equal":
            continue
        lost += end - start
        doubled += new_end - new_start
        if doubled + lost == end - start + new_end - new_start:  # report only the first difference
            seen, expected = with_faults.text[new_start:new_end], without_faults.text[start:end]
            why = f"{why} at character {start}: {seen[:40]!r} instead of {expected[:40]!r}".strip()
    return Verdict(lost, doubled, with_faults == without_faults, why)
