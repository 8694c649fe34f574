"""The part of a record that is about escalation: what the rule saw, what it said, and the turn of the large model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.policy.escalation import Answer, Escalate
from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langchain_spec_thinking.policy.escalation import Gate
    from langchain_spec_thinking.recording.record import Record


@dataclass(frozen=True, slots=True)
class EscalationRecord:
    """What happened to the answer of the small model.

    Attributes:
        thinking: The thought of the attempt, with the part that is not shown.
        answer: The answer of the attempt, as far as it was written.
        calls: Tool calls of that answer.
        finished: What the rule saw of the finished answer. None: the attempt was stopped.
        samples: The samples that the rule saw, with their numbers, in the order in which they ended.
        judged: Pairs of texts that the small model compared, and whether they say the same.
        reason: Why the rule escalated the question. None: it did not.
        target: The record of the large model's turn. None: there was none.
        seconds: How long the whole turn took, with the wait for samples. None: not known, in older records.
    """

    thinking: str
    answer: str
    calls: tuple[ToolCall, ...]
    finished: Answer | None
    samples: tuple[tuple[int, Answer], ...]
    judged: tuple[tuple[str, str, bool], ...]
    reason: str | None
    target: Record | None
    seconds: float | None = None

    @classmethod
    def of(cls, gate: Gate, attempt: Record, target: Record | None, seconds: float) -> EscalationRecord:
        """Return the record of a gate, from the record of the attempt, that of the large model's turn, and the time."""
        return cls(
            attempt.thinking,
            attempt.answer,
            attempt.calls,
            gate.answer,
            tuple(gate.samples.items()),
            tuple((*texts, same) for texts, same in gate.judged.items()),
            gate.verdict.reason if isinstance(gate.verdict, Escalate) else None,
            target,
            seconds,
        )

    def without_texts(self) -> EscalationRecord:
        """Return a copy without texts."""
        return replace(
            self,
            thinking="",
            answer="",
            calls=tuple(ToolCall(call.id, call.name, "") for call in self.calls),
            finished=self.finished and _without_text(self.finished),
            samples=tuple((number, _without_text(answer)) for number, answer in self.samples),
            judged=tuple(("", "", same) for _, _, same in self.judged),
            target=self.target and self.target.without_texts(),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return this record as a dict that JSON can hold."""
        return {
            "thinking": self.thinking,
            "answer": self.answer,
            "calls": [asdict(call) for call in self.calls],
            "finished": self.finished and asdict(self.finished),
            "samples": [[number, asdict(answer)] for number, answer in self.samples],
            "judged": [list(pair) for pair in self.judged],
            "reason": self.reason,
            "target": self.target and self.target.as_dict(),
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], record_of: Callable[[Mapping[str, Any]], Record]) -> EscalationRecord:
        """Return the record that `as_dict` converted.

        Args:
            data: The data.
            record_of: Makes a record from a dict.
        """
        rest = {name: data[name] for name in ("thinking", "answer", "reason")}
        return cls(
            calls=_calls(data["calls"]),
            finished=_answer(data["finished"]) if data["finished"] else None,
            samples=tuple((number, _answer(answer)) for number, answer in data["samples"]),
            judged=tuple((first, second, same) for first, second, same in data["judged"]),
            target=record_of(data["target"]) if data["target"] else None,
            seconds=data.get("seconds"),
            **rest,
        )


def _calls(data: Any) -> tuple[ToolCall, ...]:  # noqa: ANN401 - as a file holds it
    return tuple(ToolCall(**call) for call in data)


def _answer(data: Mapping[str, Any]) -> Answer:
    return Answer(**{**data, "calls": _calls(data["calls"])})


def _without_text(answer: Answer) -> Answer:
    return replace(answer, text="", calls=tuple(ToolCall(call.id, call.name, "") for call in answer.calls))
