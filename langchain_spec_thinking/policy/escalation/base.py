"""The interface of a rule that gives the whole question to the target (large) model.

Theory of operation
===================

The speculative (small) model first answers alone: this is the attempt. Its thought is shown while it is written. Its
answer is held. A rule looks at the attempt, and at further answers (samples) if it asks for them. It accepts the held
answer, or it escalates: then the target model gets the question.

A rule is pure. It looks at `Evidence` and returns a verdict. `Gate` calls it and remembers its verdict. `Gate` also
chooses the places in the text at which a rule may stop an attempt, so that chunks and time change nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_spec_thinking.tools import ToolCall


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the small model.

    Attributes:
        text: The text of the answer, without the thought.
        calls: The tool calls of the answer.
        complete: Whether the model ended the answer itself. False: its tokens ran out, it failed, or it called a tool
            that does not exist.
        logprob: Mean log-probability of the most likely token at each place of the answer, in nats. None if it was not
            requested or is not known.
        lowest_logprob: The lowest of these log-probabilities. None like `logprob`.
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    complete: bool = True
    logprob: float | None = None
    lowest_logprob: float | None = None

    @property
    def usable(self) -> bool:
        """Whether the answer is complete and not empty, and all its calls can be made."""
        return self.complete and bool(self.text.strip() or self.calls) and all(map(_can_be_made, self.calls))


def _can_be_made(call: ToolCall) -> bool:
    """Return whether a call has a name and an object of arguments. Calls without arguments may leave out the object."""
    return bool(call.name) and (not call.arguments.strip() or isinstance(call.parsed(), dict))


@dataclass(frozen=True, slots=True)
class Escalate:
    """A verdict: the large model gets the question.

    Attributes:
        reason: Why, as a clause that the report shows: `"the answers of the small model differ"`. It must not quote an
            answer, because records without texts hold it.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class AskIfSame:
    """A verdict: the small model must first say whether two texts say the same.

    The reply is in `Evidence.judged` when the rule is called again.
    """

    first: str
    second: str


Verdict = Escalate | AskIfSame | Literal["accept"]
"""What a rule says. `"accept"`: the held answer is shown."""


@dataclass(frozen=True, slots=True)
class Evidence:
    r"""What is known about an attempt.

    Attributes:
        text: The attempt so far: the thought, then the answer. While the attempt is written, this text ends at the end
            of a step, or of a word in a very long step.
        answer: The answer of the attempt. None while the attempt is written.
        samples: The further answers that are finished, in the order of their numbers.
        numbers: The numbers of `samples`, from 0. Samples end in any order, so a number may be missing.
        judged: Replies of the small model to `AskIfSame`, by the two texts.
        boundary: The delimiter between steps.
    """

    text: str = ""
    answer: Answer | None = None
    samples: tuple[Answer, ...] = ()
    numbers: tuple[int, ...] = ()
    judged: Mapping[tuple[str, str], bool] | None = None
    boundary: str = "\n\n"

    @property
    def answers(self) -> tuple[Answer, ...]:
        """All finished answers. That of the attempt comes first."""
        return (self.answer, *self.samples) if self.answer else self.samples

    def with_first_samples(self, count: int) -> Evidence:
        """Return the same evidence with only the first `count` samples, as far as they are finished.

        A rule that is combined with others gets all samples. If it used those that end first, its verdict would depend
        on time.
        """
        first = [(number, one) for number, one in zip(self.numbers, self.samples, strict=True) if number < count]
        return replace(self, samples=tuple(one for _, one in first), numbers=tuple(number for number, _ in first))


class Escalation(ABC):
    """A rule that decides whether the large model gets the question.

    To write your own rule, override `examine`, and the attributes that need another value. Make the class a frozen
    dataclass, so that two equal rules are equal. Decorate it with `register_escalation` if saved policies and recorded
    runs should be able to name it.

    ```python
    @register_escalation
    @dataclass(frozen=True)
    class Unsure(Escalation):
        '''Escalates if the small model says that it is not sure.'''

        stops_attempts = False

        def examine(self, evidence: Evidence) -> Verdict | None:
            if evidence.answer is None:
                return None
            return Escalate("it is not sure") if "not sure" in evidence.answer.text else "accept"
    ```

    Attributes:
        further_samples: How many answers the small model writes besides the attempt. They are not shown.
        temperature: The sampling temperature of these answers. None: that of the model.
        needs_logprobs: Whether the rule needs `Answer.logprob` or `Answer.lowest_logprob`.
        stops_attempts: Whether the rule may escalate because of the text of an unfinished attempt. If the service of
            the small model bills what it writes after a request is cancelled, the attempt then takes several short
            requests. False: only samples may lead to a verdict before the attempt is finished.
    """

    further_samples: int = 0
    temperature: float | None = None
    needs_logprobs: bool = False
    stops_attempts: bool = True

    @abstractmethod
    def examine(self, evidence: Evidence) -> Verdict | None:
        """Return the verdict; None if more evidence is necessary.

        The rule is called at the ends of steps, whenever a sample is finished, and when the attempt is finished. It
        must have a verdict if the attempt and all samples are finished. A verdict must be monotonic: with more
        evidence, the rule must say the same. Otherwise the result would depend on time.

        While the attempt is written, the rule is also called without samples. If it escalates, the attempt ends at
        this place of its text.
        """
