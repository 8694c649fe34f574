"""The report of a turn with a rule of escalation, put together from the reports of its attempts."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from langchain_spec_thinking.report import DROPPED_TEXT_MAX, AuthorUsage, DraftUsage, Dropped, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_spec_thinking.report import Report
    from langchain_spec_thinking.run import Run
    from langchain_spec_thinking.turn import Author


def thought_up_to(report: Report, end: int) -> list[Segment]:
    """Return the segments of a thought up to a place, in characters. A segment that is cut loses some of its tokens."""
    segments = [one for one in report.segments if one.channel == "thinking" and one.start < end]
    return [one if one.end <= end else _cut(one, end) for one in segments]


def moved(segments: Iterable[Segment], thought: int, reason: str) -> list[Segment]:
    """Return the segments of the large model's turn as segments of the shown turn.

    Args:
        segments: The segments.
        thought: Length of the thought before them, in characters.
        reason: Why the large model got the question.
    """
    return [_moved(segment, thought if segment.channel == "thinking" else 0, reason) for segment in segments]


def moved_drops(dropped: Iterable[Dropped], thought: int) -> list[Dropped]:
    """Return dropped texts of the large model's turn with their places in the shown turn."""
    return [replace(one, at=one.at + (thought if one.channel == "thinking" else 0)) for one in dropped]


def unshown_answer(run: Run) -> list[Dropped]:
    """Return the answer of a turn as dropped text, if there is one."""
    tokens: dict[Author, int] = {}
    for segment in run.report.segments:
        if segment.channel == "answer" and segment.author != "inserted":
            tokens[segment.author] = tokens.get(segment.author, 0) + segment.tokens
    text = run.turn.answer or " ".join(f"{call.name}({call.arguments})" for call in run.turn.calls)
    author = max(tokens, key=lambda one: tokens[one], default=None)
    return [Dropped(author, "answer", 0, text[:DROPPED_TEXT_MAX], sum(tokens.values()))] if author and text else []


def unshown_thought(run: Run, end: int) -> list[Dropped]:
    """Return the part of a thought after a place as dropped text, if there is one."""
    text = run.turn.thinking[end:]
    kept = sum(segment.tokens for segment in thought_up_to(run.report, end))
    tokens = sum(one.tokens for one in run.report.segments if one.channel == "thinking") - kept
    return [Dropped("speculative", "thinking", end, text[:DROPPED_TEXT_MAX], tokens)] if text.strip() else []


def add_usage(total: AuthorUsage, used: AuthorUsage, before: AuthorUsage) -> None:
    """Add to a total what a model used since an earlier moment, with everything that it wrote as discarded tokens.

    Args:
        total: The total.
        used: What the model has used.
        before: What it had used at the earlier moment.
    """
    for field in fields(AuthorUsage):
        name = "completion_tokens" if field.name == "discarded_tokens" else field.name
        more = (getattr(used, name) or 0) - (getattr(before, name) or 0)
        setattr(total, field.name, (getattr(total, field.name) or 0) + more)


def with_discarded(usage: dict[Author, AuthorUsage], dropped: Iterable[Dropped]) -> dict[Author, AuthorUsage]:
    """Return a copy of the usage in which the tokens of dropped texts count as discarded."""
    copies = {author: replace(used) for author, used in usage.items()}
    for one in dropped:
        copies[one.author].discarded_tokens += one.tokens
    return copies


def both_drafts(first: DraftUsage, second: DraftUsage) -> DraftUsage:
    """Return the sum of two usages of drafts."""
    return DraftUsage(
        first.accepted_tokens + second.accepted_tokens,
        first.written_tokens + second.written_tokens,
    )


def _cut(segment: Segment, end: int) -> Segment:
    share = (end - segment.start) / (segment.end - segment.start)
    return replace(segment, end=end, tokens=round(segment.tokens * share))


def _moved(segment: Segment, by: int, reason: str) -> Segment:
    leads = segment.kind == "lead"
    kind, cue = ("escalation", reason) if leads else (segment.kind, segment.cue)
    return replace(segment, start=segment.start + by, end=segment.end + by, kind=kind, cue=cue)
