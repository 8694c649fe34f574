"""A rule that accepts the answers on which the small model agrees with itself."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final, Literal

from langchain_spec_thinking.policy.escalation.base import AskIfSame, Escalate, Escalation
from langchain_spec_thinking.policy.escalation.comparison import same_answer
from langchain_spec_thinking.policy.escalation.registry import register_escalation

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_spec_thinking.policy.escalation.base import Answer, Evidence, Verdict

SAMPLES_MIN, SAMPLES_MAX = 2, 16
DIFFER: Final = Escalate("the answers of the small model are not all the same")
"""The verdict has the same words for every pair of answers, because samples arrive in any order."""


@register_escalation
@dataclass(frozen=True)
class Agreement(Escalation):
    r"""Escalates unless all answers of the small model are the same (arXiv:2310.03094).

    The small model answers `samples` times. The first answer is the attempt, which is shown if all are the same. The
    further answers are drawn at the same time and not shown. Drawing stops as soon as two answers differ.

    Answers are the same if their values are equal. The value is the content of the last `\boxed{}`, what follows
    "the answer is", a choice letter, yes or no, JSON, a short text, or the numbers of the last sentence. Tool calls
    are the same if names and arguments are equal. Formulas are compared with math-verify if it is installed (extra
    `[evaluate]`). If the answers are longer texts, the small model itself compares them, and the report says so.

    Attributes:
        samples: How many answers must be the same, that of the attempt included. 2 to 16. More samples make fewer wrong
            answers pass, and send more questions to the large model.
        temperature: Sampling temperature of the further answers. With 0 they would all be alike.
        compare: `"auto"`, or a function that takes the texts of two answers and returns whether they are the same. It
            must be symmetric. Define the function in a module that can be imported: a LangChain cache does not know
            other functions, such as a lambda, in another process.
    """

    samples: int = 2
    temperature: float | None = 0.8
    compare: Literal["auto"] | Callable[[str, str], bool] = "auto"
    stops_attempts = False

    def __post_init__(self) -> None:
        """Refuse invalid values, with the name of the field in the error."""
        if isinstance(self.samples, bool) or not isinstance(self.samples, int) or not _in_range(self.samples):
            msg = f"samples: expected a whole number from {SAMPLES_MIN} to {SAMPLES_MAX}, got {self.samples!r}"
            raise ValueError(msg)
        if self.temperature is not None and not self.temperature > 0:
            msg = f"temperature: expected a number above 0, because equal samples say nothing, got {self.temperature!r}"
            raise ValueError(msg)
        if self.compare != "auto" and not callable(self.compare):
            msg = (
                f"compare: expected 'auto' or a function of two texts, got {self.compare!r}. A file holds only the "
                "name of a function: create the policy in Python"
            )
            raise ValueError(msg)
        object.__setattr__(self, "further_samples", self.samples - 1)

    def examine(self, evidence: Evidence) -> Verdict | None:
        """Compare all answers that are finished."""
        answers = evidence.answers
        if any(not answer.usable for answer in answers):
            return DIFFER
        compare = self.compare if callable(self.compare) else None
        pairs = [(a, b, same_answer(a, b, compare)) for a, b in combinations(answers, 2)]
        if any(same is False for _, _, same in pairs):
            return DIFFER
        if evidence.answer is None or len(answers) < self.samples:
            return None
        return _judge([(a, b) for a, b, same in pairs if same is None and a is evidence.answer], evidence)


def _in_range(samples: int) -> bool:
    return SAMPLES_MIN <= samples <= SAMPLES_MAX


def _judge(pairs: list[tuple[Answer, Answer]], evidence: Evidence) -> Verdict:
    """Return what the small model says about pairs of free texts, or the question for the first open pair."""
    judged = evidence.judged or {}
    replies = {(a.text, b.text): judged.get((a.text, b.text)) for a, b in pairs}
    if False in replies.values():
        return DIFFER
    unknown = next((texts for texts, same in replies.items() if same is None), None)
    return AskIfSame(*unknown) if unknown else "accept"
