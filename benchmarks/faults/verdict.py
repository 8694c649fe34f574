"""What came of a turn among faults, against the same turn without any. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from langchain_spec_thinking.errors import BackendError


@dataclass(frozen=True, slots=True)
class Told:
    """What a turn told.

    Attributes:
        text: Thought and answer.
        authors: Each stretch of it: who wrote it, for which reason, and up to which character.
        failure: Why it ended before its end, or without one of the two models; None: it did not.
    """

    text: str
    authors: tuple[tuple[str, str, int], ...] = ()
    failure: str | None = None

    @classmethod
    def by(cls, message: BaseMessage) -> Told:
        """Read a message."""
        report: dict[str, Any] = message.response_metadata["speculative_thinking"]
        thought = "".join(block["reasoning"] for block in message.content_blocks if block["type"] == "reasoning")
        authors = tuple((s["author"], s["kind"], s["end"]) for s in report["segments"])
        return cls(f"{thought}</think>{message.text}", authors, report["degraded"])

    @classmethod
    def until(cls, error: BackendError) -> Told:
        """Read what an error carries."""
        return cls(f"{error.thinking}</think>{error.answer}", (), f"{type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a disturbed turn differs from the undisturbed one.

    Attributes:
        lost: Characters of the undisturbed text that are missing.
        doubled: Characters that are not in the undisturbed text.
        right: The two are the same, also in who wrote what, and neither model was given up.
        why: What is different, in words.
    """

    lost: int
    doubled: int
    right: bool
    why: str


def judge(undisturbed: Told, disturbed: Told) -> Verdict:
    """Compare two turns."""
    lost = doubled = 0
    why = disturbed.failure or (
        "" if disturbed.authors == undisturbed.authors else "another author for a stretch of it"
    )
    steps = SequenceMatcher(None, undisturbed.text, disturbed.text, autojunk=False).get_opcodes()
    for kind, start, end, new_start, new_end in steps:
        if kind == "equal":
            continue
        lost += end - start
        doubled += new_end - new_start
        if doubled + lost == end - start + new_end - new_start:  # the first difference tells most
            seen, expected = disturbed.text[new_start:new_end], undisturbed.text[start:end]
            why = f"{why} at character {start}: {seen[:40]!r} instead of {expected[:40]!r}".strip()
    return Verdict(lost, doubled, disturbed == undisturbed, why)
