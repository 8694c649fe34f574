"""What other numbers of the policy would have done, by replaying recorded runs: valid where no model would differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.policy.data import policy_of
from langchain_spec_thinking.recording.replay import replay

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_spec_thinking.recording.record import Record

VALUES: Mapping[str, Sequence[int | None]] = {
    "takeover_tokens": (10, 20, 40, 80, None),
    "verification_tokens": (30, 60, 125, 250),
    "recap_tokens": (30, 60, 125, 250),
    "reflection_limit": (2, 3, 5, 10, 15, 30),
}
"""The numbers n1, n2, n3 and the reflection limit, and what they are swept over."""


@dataclass(frozen=True)
class Swept:
    """What a value would have done.

    Attributes:
        field: Which number of the policy.
        value: Set to what.
        turns: How many turns were replayed.
        valid: For how many of them the replay is valid to the end: they would have been as they were.
        takeovers: Of those, on average; None where there are none.
        target_share: Of those, the target's share of the kept tokens; None where there are none.
        reached: How far into their text the replays of the others are valid, on average, from 0 to 1.
        recorded: Whether it is the value that ran.
    """

    field: str
    value: int | None
    turns: int
    valid: int
    takeovers: float | None
    target_share: float | None
    reached: float | None
    recorded: bool


def sweep(
    records: Sequence[Record],
    values: Mapping[str, Sequence[int | None]] = VALUES,
    progress: Callable[[], Any] = lambda: None,
) -> list[Swept]:
    """Replay every record with each value of each number, all else as recorded.

    Args:
        records: Turns that were recorded with texts.
        values: What to set the fields of the policy to.
        progress: Called after each value.

    Raises:
        ValueError: There are none, or one cannot be replayed.
    """
    if not records:
        msg = "expected at least one recorded turn, got none"
        raise ValueError(msg)
    found = []
    for field, settings in values.items():
        for value in settings:
            found.append(_swept(records, field, value))
            progress()
    return found


def _swept(records: Sequence[Record], field: str, value: int | None) -> Swept:
    policies = [policy_of(record.policy) for record in records]
    change: dict[str, Any] = {field: value}
    replays = [
        (record, replay(record, replace(policy, **change))) for record, policy in zip(records, policies, strict=True)
    ]
    valid = [record.report for record, again in replays if again.valid]
    lengths = [(again.difference, len(record.thinking + record.answer)) for record, again in replays]
    reached = [difference.written / max(1, length) for difference, length in lengths if difference]
    tokens = [segment["tokens"] for report in valid for segment in report["segments"]]
    target = [s["tokens"] for report in valid for s in report["segments"] if s["author"] == "target"]
    return Swept(
        field,
        value,
        turns=len(records),
        valid=len(valid),
        takeovers=sum(report["takeovers"] for report in valid) / len(valid) if valid else None,
        target_share=sum(target) / max(1, sum(tokens)) if valid else None,
        reached=sum(reached) / len(reached) if reached else None,
        recorded=all(getattr(policy, field) == value for policy in policies),
    )
