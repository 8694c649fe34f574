"""Outcomes of questions: the data of a turn that tables and plots need."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.report import AuthorUsage, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from langchain_spec_thinking.turn import Author

SIDES: tuple[Author, ...] = ("speculative", "target")


@dataclass(frozen=True)
class Outcome:
    """The outcome of one question.

    Attributes:
        question: Id of the question.
        right: Whether the answer is right. False if the turn ended in an error.
        error: The error message, or None.
        tokens: Number of kept tokens by author, each in the author's own vocabulary.
        usage: Billed usage of each model.
        began: Start of the turn, in seconds since 1970.
        seconds: Duration of the turn.
        takeovers: Position and kind of each takeover. The position is where it begins in the thought and answer
            together, from 0 to 1.
        escalated: Whether the large model got the whole question.
    """

    question: str
    right: bool
    error: str | None
    tokens: dict[Author, int]
    usage: dict[Author, AuthorUsage]
    began: float = 0.0
    seconds: float = 0.0
    takeovers: tuple[tuple[float, str], ...] = ()
    escalated: bool = False

    @property
    def length(self) -> int:
        """Number of kept tokens of both models together."""
        return sum(self.tokens.values())

    @classmethod
    def of_line(cls, line: Mapping[str, Any]) -> Outcome:
        """Read a line of `runs.jsonl`."""
        if line["record"] is None:
            usage = {side: AuthorUsage() for side in SIDES}
            return cls(line["id"], False, line["error"], dict.fromkeys(SIDES, 0), usage)  # noqa: FBT003 - an error is not right
        outcome = cls.of_record(line["id"], line["record"], line["alone"])
        return replace(outcome, right=line["right"], error=line["error"])

    @classmethod
    def of_record(cls, question: str, record: Mapping[str, Any], alone: Author | None = None) -> Outcome:
        """Read a record whose answer has not been checked.

        Args:
            question: Id of the question.
            record: The result of `Record.as_dict`.
            alone: The side that answers alone. The pair then uses its model on both sides, and everything counts for
                this side.
        """
        report = record["report"]
        segments = [Segment(**segment) for segment in report["segments"]]
        tokens: dict[Author, int] = dict.fromkeys(SIDES, 0)
        for segment in segments:
            if segment.author in tokens:
                tokens[alone or segment.author] += segment.tokens
        usage = {author: AuthorUsage.from_dict(used) for author, used in report["usage"].items()}
        if alone:
            usage = {author: _sum(usage.values()) if author == alone else AuthorUsage() for author in SIDES}
        before = {"thinking": 0, "answer": len(record["thinking"])}
        length = max(1, len(record["thinking"]) + len(record["answer"]))
        takeovers = [
            ((before[segment.channel] + segment.start) / length, segment.kind)
            for segment in segments
            if segment.is_takeover and not alone
        ]
        escalated = bool(_target_of(record)) or any(segment.kind == "escalation" for segment in segments)
        timing = (record["began"], _seconds(record))
        return cls(question, False, None, tokens, usage, *timing, tuple(takeovers), escalated)  # noqa: FBT003


def _seconds(record: Mapping[str, Any]) -> float:
    """Return how long a turn took. Records without escalation end at their last input."""
    whole: float | None = (record.get("escalation") or {}).get("seconds")
    if whole is not None:
        return whole
    last = record["streams"][-1]["inputs"][-1] if record["streams"] else [0.0]
    target = _target_of(record)
    return float(last[0]) + (_seconds(target) if target else 0.0)


def _target_of(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the record of the large model's turn if it got the whole question."""
    found: Mapping[str, Any] | None = (record.get("escalation") or {}).get("target")
    return found


def _sum(usages: Iterable[AuthorUsage]) -> AuthorUsage:
    usages = list(usages)
    return AuthorUsage(*(sum(getattr(used, field.name) for used in usages) for field in fields(AuthorUsage)))
