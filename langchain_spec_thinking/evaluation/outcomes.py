"""What came of a question: the little of a turn that tables and plots are made of."""

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
    """What came of one question.

    Attributes:
        question: The question's id.
        right: Whether the answer is right. An error is not.
        error: What went wrong.
        tokens: Kept, by author, each in its vocabulary.
        usage: What each model was paid for.
        began: In seconds since 1970.
        seconds: How long the turn took.
        takeovers: Where in the text, thought and answer, each began, from 0 to 1, and of what kind it was.
    """

    question: str
    right: bool
    error: str | None
    tokens: dict[Author, int]
    usage: dict[Author, AuthorUsage]
    began: float = 0.0
    seconds: float = 0.0
    takeovers: tuple[tuple[float, str], ...] = ()

    @property
    def length(self) -> int:
        """Tokens kept, whoever wrote them."""
        return sum(self.tokens.values())

    @classmethod
    def of_line(cls, line: Mapping[str, Any]) -> Outcome:
        """Read a line of `runs.jsonl`."""
        if line["record"] is None:
            usage = {side: AuthorUsage() for side in SIDES}
            return cls(line["id"], False, line["error"], dict.fromkeys(SIDES, 0), usage)  # noqa: FBT003 - not right
        outcome = cls.of_record(line["id"], line["record"], line["alone"])
        return replace(outcome, right=line["right"], error=line["error"])

    @classmethod
    def of_record(cls, question: str, record: Mapping[str, Any], alone: Author | None = None) -> Outcome:
        """Read a record whose answer nobody has checked.

        Args:
            question: The question's id.
            record: What `Record.as_dict` returns.
            alone: The side that is the whole pair: it is a pair of a model with itself, and counts for that side.
        """
        report = record["report"]
        segments = [Segment(**segment) for segment in report["segments"]]
        tokens: dict[Author, int] = dict.fromkeys(SIDES, 0)
        for segment in segments:
            if segment.author in tokens:
                tokens[alone or segment.author] += segment.tokens
        usage = {author: AuthorUsage(**used) for author, used in report["usage"].items()}
        if alone:
            usage = {author: _sum(usage.values()) if author == alone else AuthorUsage() for author in SIDES}
        before = {"thinking": 0, "answer": len(record["thinking"])}
        length = max(1, len(record["thinking"]) + len(record["answer"]))
        takeovers = [
            ((before[segment.channel] + segment.start) / length, segment.kind)
            for segment in segments
            if segment.is_takeover and not alone
        ]
        last = record["streams"][-1]["inputs"][-1] if record["streams"] else [0.0]
        return cls(question, False, None, tokens, usage, record["began"], last[0], tuple(takeovers))  # noqa: FBT003


def _sum(usages: Iterable[AuthorUsage]) -> AuthorUsage:
    usages = list(usages)
    return AuthorUsage(*(sum(getattr(used, field.name) for used in usages) for field in fields(AuthorUsage)))
