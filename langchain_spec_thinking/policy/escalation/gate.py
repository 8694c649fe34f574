"""The gate of one turn: it collects the evidence, calls the rule, and remembers the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from langchain_spec_thinking.policy.escalation.base import AskIfSame, Escalate, Evidence

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.escalation.base import Answer, Escalation, Verdict

_FIRST_CHARACTERS = 200
"""How much text must be new before the rule is called again, in characters."""
_GROWTH = 20
"""The text must also have grown by this fraction. Each call reads the whole text, so calls must become rarer."""
_STEP_CHARACTERS = 1000
"""How long to wait for the end of a step, in characters. After that, the end of a word will do."""
NOT_FINISHED: Final = Escalate("the small model did not finish its answer")


@dataclass
class Gate:
    r"""Decides whether the large model gets the question of one turn. It is pure: inputs come from outside.

    The same inputs lead to the same verdict. Chunks of text change nothing.

    Args:
        rule: The rule.
        boundary: The delimiter between steps.

    Attributes:
        verdict: What the rule says. None: more evidence is necessary. An `AskIfSame` must be answered by `judge`.
        stopped: Whether the rule stopped the attempt before its end.
    """

    rule: Escalation
    boundary: str = "\n\n"
    verdict: Verdict | None = None
    stopped: bool = False
    answer: Answer | None = None
    samples: dict[int, Answer] = field(default_factory=dict)
    judged: dict[tuple[str, str], bool] = field(default_factory=dict)
    _examined: str = ""
    _new: str = ""

    @property
    def decided(self) -> bool:
        """Whether the verdict is final."""
        return isinstance(self.verdict, Escalate) or self.verdict == "accept"

    def read(self, text: str) -> int | None:
        """Receive the next text of the attempt: of the thought, or of the answer after it.

        Returns:
            How much of `text` belongs to the attempt, in characters, if the rule stops the attempt here. Otherwise
            None.
        """
        self._new += text
        while not self.stopped and (end := self._end_of_step()) is not None:
            self._examined, self._new = self._examined + self._new[:end], self._new[end:]
            # Samples arrive at any time. Without them, the place depends on the text alone.
            verdict = self.rule.examine(Evidence(self._examined, boundary=self.boundary))
            if isinstance(verdict, Escalate):
                self.verdict, self.stopped = verdict, True
                return len(text) - len(self._new)
        return None

    def finish(self, answer: Answer) -> None:
        """Receive the finished answer of the attempt. If it is not usable, the question is escalated.

        A rule with samples may have escalated before, because of them. So its reason comes first: otherwise the reason
        would depend on the order in which attempt and samples end.
        """
        self.answer = answer
        if answer.usable or self.rule.further_samples:
            self._examine()
        if not answer.usable and not isinstance(self.verdict, Escalate):
            self.verdict = NOT_FINISHED

    def sample(self, number: int, answer: Answer) -> None:
        """Receive a finished sample. `number` counts from 0, in the order in which the samples were started."""
        self.samples[number] = answer
        self._examine()

    def judge(self, *, same: bool) -> None:
        """Receive the reply of the small model to the question that the verdict asks."""
        if not isinstance(self.verdict, AskIfSame):
            msg = "internal error: no question is open"
            raise AssertionError(msg)  # noqa: TRY004 - a defect of the caller
        self.judged[self.verdict.first, self.verdict.second] = same
        self._examine()

    def _examine(self) -> None:
        if self.decided:
            return
        numbers = tuple(sorted(self.samples))
        samples = tuple(self.samples[number] for number in numbers)
        text = self._examined + self._new if self.answer else self._examined
        self.verdict = self.rule.examine(Evidence(text, self.answer, samples, numbers, self.judged, self.boundary))
        if self.verdict is None and self.answer and self.answer.usable and len(samples) >= self.rule.further_samples:
            msg = f"{type(self.rule).__name__}: expected a verdict, because all answers are finished, got None"
            raise TypeError(msg)

    def _end_of_step(self) -> int | None:
        """Return the next place at which the rule may stop the attempt, in characters of the new text."""
        first = max(_FIRST_CHARACTERS, len(self._examined) // _GROWTH)
        if len(self._new) < first:
            return None
        found = self._new.find(self.boundary, max(0, first - len(self.boundary)))
        word = next((at + 1 for at in range(first + _STEP_CHARACTERS, len(self._new)) if self._new[at].isspace()), None)
        longest = first + 2 * _STEP_CHARACTERS
        ends = [found + len(self.boundary) if found >= 0 else None, word, longest]
        end = min(end for end in ends if end is not None)
        return end if end <= len(self._new) else None
