"""Replay recorded runs with other numbers of the policy. A replay is valid until a request would have differed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.policy.data import policy_from_data
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
"""Values that are tried for n1, n2, n3 and the reflection limit."""


@dataclass(frozen=True)
class Swept:
    """The effect of one value.

    Attributes:
        field: Field of the policy.
        value: Value of the field.
        turns: Number of turns that were replayed.
        valid: Number of turns whose replay is valid to the end. The value would not have changed their text.
        takeovers: Mean number of takeovers in these valid turns. None if there are none.
        target_share: The target's share of the kept tokens in these valid turns. None if there are none.
        reached: Mean share of the text for which the other replays are valid, from 0 to 1. None if there are none.
        recorded: Whether all turns ran with this value.
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
    """Replay every record with each value of each field. Keep all other settings as recorded.

    Args:
        records: Turns that were recorded with texts.
        values: Values to try, by field of the policy.
        progress: Called after each value.

    Raises:
        ValueError: There are no records, or one cannot be replayed.
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
    policies = [policy_from_data(record.policy) for record in records]
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
