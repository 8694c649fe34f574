"""A turn with a rule of escalation: the attempt of the small model, its samples, and the turn of the large model.

Theory of operation
===================

Each of these turns is an ordinary `Run`, with its own state machine, its own faults and its own report. `EscalatedRun`
holds them together. The drivers (`drivers.py`) do the following with it:

1. They write the attempt and give its events to `receive`. The thought is shown at once, and the answer is held.
   Meanwhile samples are drawn; `collect` receives those that ended. If `attempt_over`, they cancel the attempt. If not
   `undecided`, they cancel the samples.
2. While `undecided`, they write the turns of `next_question`, in which the small model compares two texts. If there is
   none, they wait for a sample.
3. `conclude` shows the held answer, or makes `target`: the turn of the large model. They write that turn and give its
   events to `receive_from_target`, and its error to `recover`.
4. `end` ends the turn.

Time decides only when drawing stops. Samples arrive at any time, so they never cut a thought that is shown. If they
differ before the thought is finished, only the answer after it is not written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking import escalated_report as reports
from langchain_spec_thinking.errors import BackendError, TurnTimeoutError
from langchain_spec_thinking.policy.escalation import Answer, AskIfSame, Escalate
from langchain_spec_thinking.report import AuthorUsage, Report, Segment, Takeover, TakeoverStart
from langchain_spec_thinking.shown_turn import SEPARATOR, ShownTurn
from langchain_spec_thinking.turn_events import Delta
from langchain_spec_thinking.writers import warn_of_failed_target, with_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from langchain_spec_thinking.deadline import Deadline
    from langchain_spec_thinking.policy.escalation import Gate
    from langchain_spec_thinking.policy.settings import DelegationPolicy
    from langchain_spec_thinking.run import Run
    from langchain_spec_thinking.samples import Sample
    from langchain_spec_thinking.turn import Turn
    from langchain_spec_thinking.turn_events import TurnEvent
    from langchain_spec_thinking.writers import OnTargetFailure

_ATTEMPT, _TARGET = 0, 1
_FREE_TEXT = "the answers are longer texts, so the small model itself compared them"


@dataclass(frozen=True)
class Thought:
    """A thought that the large model continues.

    Attributes:
        turn: The turn that holds it.
        tokens: Its length in tokens, each in the vocabulary of its author.
    """

    turn: Turn
    tokens: int


@dataclass(frozen=True)
class Runs:
    """The functions that make the runs of a turn.

    Attributes:
        attempt: Makes the attempt.
        sample: Makes a sample, by its number from 0.
        question: Makes a turn in which the small model says whether two texts say the same.
        target: Makes the turn of the large model, from the thought that it continues (None: from the conversation
            alone). The second argument says whether an answer of the small model is held.
    """

    attempt: Callable[[], Run]
    sample: Callable[[int], Run]
    question: Callable[[AskIfSame], Run]
    target: Callable[[Thought | None, bool], Run]


class EscalatedRun:
    """One turn with a rule of escalation while it is written. The first comment of the file says how to call it.

    Args:
        turn: The turn that is shown. It is empty.
        policy: The settings of the method.
        gate: The gate, with the rule of the policy.
        runs: The functions that make the runs.
        on_target_failure: What to do if the target model fails before its answer begins: `"continue"` with the held
            answer, or `"raise"` the error.
        on_end: Called at the end of the turn with the error that ended it, if any.

    Attributes:
        turn: The turn that is shown, as far as it is written.
        attempt: The attempt of the small model.
        samples: The samples. They are not started yet.
        target: The turn of the large model. None: the question was not escalated.
        escalated: Why the large model got the question. None if it did not.
        continued: The thought that the large model continues. Empty if it starts anew.
        finish_reason: Why the turn ended, as in `Run`.
    """

    def __init__(
        self,
        turn: Turn,
        policy: DelegationPolicy,
        gate: Gate,
        runs: Runs,
        *,
        on_target_failure: OnTargetFailure = "continue",
        on_end: Callable[[EscalatedRun, str | None], None] | None = None,
    ) -> None:
        self.turn = turn
        self.gate = gate
        self.attempt = runs.attempt()
        self.samples = [runs.sample(number) for number in range(gate.rule.further_samples)]
        self.target: Run | None = None
        self.escalated: str | None = None
        self.continued = ""
        self.finish_reason: str = "stop"
        self._policy = policy
        self._runs = runs
        self._on_target_failure = on_target_failure
        self._on_end = on_end
        self._shown = ShownTurn(turn)
        self._held: list[TurnEvent] = []
        self._thought = 0  # length of the attempt's thought that is shown, in characters
        self._unseen: list[tuple[Run, AuthorUsage]] = [(run, AuthorUsage()) for run in self.samples]
        self._notes: tuple[list[str], list[str]] = [], []  # before and after the turn of the large model
        self._began = TakeoverStart("escalation", None, "")
        self._shows_held = False
        self._ended = False

    @property
    def deadline(self) -> Deadline:
        """The deadline of the turn. All its runs have the same one."""
        return self.attempt.deadline

    @property
    def reply_fields(self) -> dict[str, Any]:
        """What a server sent along with the tool calls of the answer that is shown."""
        return self._answering.reply_fields

    @property
    def refusal(self) -> str:
        """The words with which the model whose answer is shown refused to answer. Empty if it did not."""
        return self._answering.refusal

    @property
    def _answering(self) -> Run:
        """The run whose answer is shown."""
        return self.attempt if self._shows_held or self.target is None else self.target

    # -- the attempt and its samples

    def receive(self, event: TurnEvent) -> list[TurnEvent]:
        """Receive an event of the attempt, and return what to show."""
        if self.gate.stopped:
            return []
        if not isinstance(event, Delta):
            return self._show_or_hold(event)
        kept = self.gate.read(event.text)
        if kept is None:
            return self._show_or_hold(event)
        cut = self._show_or_hold(replace(event, text=event.text[:kept])) if kept else []
        open_takeover = self.attempt.report.hand_back(self.attempt.turn)
        return [*cut, *open_takeover]

    def _show_or_hold(self, event: TurnEvent) -> list[TurnEvent]:
        channel = event.channel if isinstance(event, Delta) else self.attempt.turn.channel
        if channel == "answer":
            self._held.append(event)
            return []
        if not isinstance(event, Delta):
            return [event]
        self._thought += len(event.text)
        return [*self._shown.show(event, self.attempt.turn, attempt=_ATTEMPT)]

    @property
    def attempt_over(self) -> bool:
        """Whether the rest of the attempt is not needed: it was stopped, or its answer will not be shown."""
        certain = isinstance(self.gate.verdict, Escalate)
        return self.gate.stopped or (certain and self.attempt.turn.channel == "answer")

    def finish_attempt(self) -> None:
        """Note that the attempt ended, unless the rest of it was not needed."""
        if not self.attempt_over:
            self.gate.finish(_answer(self.attempt))

    @property
    def undecided(self) -> bool:
        """Whether samples, or replies to questions, may change the verdict. If not, running samples are cancelled."""
        return not self.gate.decided

    def collect(self, ended: Iterable[Sample]) -> None:
        """Receive samples that ended.

        Raises:
            BaseException: A sample ended with an error that is not a `BackendError`.
        """
        for number, error in ended:
            if error is not None and not isinstance(error, BackendError):
                raise error
            if error is not None:
                self._note(f"a sample of the small model failed: {error}")
            run = self.samples[number]
            self.gate.sample(number, replace(_answer(run), complete=False) if error else _answer(run))

    def next_question(self) -> Run | None:
        """Return the turn in which the small model compares two texts; None if nothing is to be compared."""
        if not isinstance(self.gate.verdict, AskIfSame):
            return None
        self._note(_FREE_TEXT)
        run = self._runs.question(self.gate.verdict)
        self._unseen.append((run, AuthorUsage()))
        return run

    def receive_reply(self, run: Run, error: BackendError | None) -> None:
        """Receive the reply of the small model to a question, or the error of the request."""
        if error:
            self._note(f"the small model could not compare its answers: {error}")
        reply = "" if error else run.turn.answer
        self.gate.judge(same=reply.strip().casefold().startswith("yes"))

    # -- the verdict

    def conclude(self) -> list[TurnEvent]:
        """Show the held answer, or make the turn of the large model. Return the resulting events."""
        self._count_unseen()
        self._note_unread()
        verdict = self.gate.verdict
        if not isinstance(verdict, Escalate):
            return self.show_held()
        spent = self._policy.budget and self._policy.budget.spent(self.report)
        if spent and self._has_answer:
            self._note(f"the budget is spent, so the answer of the small model is shown: {spent.words}")
            return self.show_held()
        self.escalated = verdict.reason
        continues = self._thought > 0 and self._policy.escalate_to == "continue"
        self.continued = self.turn.thinking if continues else ""
        thought = Thought(self.turn, sum(one.tokens for one in self._shown_thought)) if continues else None
        self.target = self._runs.target(thought, self._has_answer)
        self.target.report.usage = self.attempt.report.usage  # so that the budget counts both
        self._began = TakeoverStart("escalation", verdict.reason, self._held_text)
        return [self._began]

    def _note_unread(self) -> None:
        """Report cancelled answers that are billed to their end."""
        samples = [run for number, run in enumerate(self.samples) if number not in self.gate.samples]
        names = [run.backend.name for run in (self.attempt, *samples) if run.billed_after_cancel]
        if names:
            answers = "1 cancelled answer" if len(names) == 1 else f"{len(names)} cancelled answers"
            self._note(
                f"the service of {names[0]} writes {answers} to the end and bills this, and `usage` does not count it. "
                "Short requests would cost more, because each one reads the text again"
            )

    def receive_from_target(self, event: TurnEvent) -> list[TurnEvent]:
        """Receive an event of the large model's turn, and return what to show."""
        if self.target is None or not isinstance(event, Delta):
            return []
        separate = self._policy.escalate_to == "restart"
        return [*self._shown.show(event, self.target.turn, attempt=_TARGET, separate=separate)]

    def recover(self, error: BackendError) -> list[TurnEvent]:
        """Show the held answer because the large model failed, or raise the error with the text so far.

        Raises:
            BackendError: There is no time left, no answer is held, the large model has begun its answer, or
                `on_target_failure` says so.
        """
        begun = self.turn.answer or self.turn.calls
        if isinstance(error, TurnTimeoutError) or begun or not self._has_answer or self._on_target_failure == "raise":
            raise error
        reason = f"the large model failed, so the answer of the small model is shown: {error}"
        self._note(reason)
        if self.target:
            warn_of_failed_target(self.target.backend.name, reason)
        return self.fall_back()

    def fall_back(self) -> list[TurnEvent]:
        """Show the held answer in place of an answer of the large model."""
        events = self._end_of_takeover()
        self.escalated = None
        return [*events, *self.show_held()]

    def end(self) -> list[TurnEvent]:
        """End the turn, and return the last events."""
        events: list[TurnEvent] = []
        if self.escalated and self.target:
            self.finish_reason = self.target.finish_reason
            events = self._end_of_takeover()
        self._finish(None)
        return events

    def fail(self, error: BackendError) -> None:
        """Note the error that ends the turn, and give it the text that was shown."""
        with_text(error, self.turn)
        self._finish(f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Count what cancelled requests have used. The drivers call this at the end of the turn."""
        self._count_unseen()

    def _finish(self, error: str | None) -> None:
        self._count_unseen()
        if self._on_end and not self._ended:
            self._ended = True
            self._on_end(self, error)

    # -- held text

    @property
    def _has_answer(self) -> bool:
        """Whether a whole answer of the small model is held."""
        return self.gate.answer is not None and self.gate.answer.usable

    @property
    def _held_text(self) -> str:
        return "".join(event.text for event in self._held if isinstance(event, Delta))

    def show_held(self) -> list[TurnEvent]:
        """Show the held answer."""
        self._shows_held = True
        self.finish_reason = self.attempt.finish_reason
        shown: list[TurnEvent] = []
        for event in self._held:
            if isinstance(event, Delta):
                shown += self._shown.show(event, self.attempt.turn, attempt=_ATTEMPT)
            else:
                shown.append(event)
        return shown

    def _end_of_takeover(self) -> list[TurnEvent]:
        """Return the end of the escalation as an event, with the answer of the large model."""
        if self.target is None:
            return []
        segments = [segment for segment in self.target.report.segments if segment.author == "target"]
        return [
            Takeover(
                kind=self._began.kind,
                cue=self._began.cue,
                draft=self._began.draft,
                author="target",
                channel="answer",
                text=self.turn.answer,
                start=0,
                end=len(self.turn.answer),
                tokens=sum(segment.tokens for segment in segments),
                seconds=self.target.report.seconds,
            )
        ]

    # -- the report

    @property
    def report(self) -> Report:
        """The report of the turn so far. It is made anew each time."""
        attempt, target = self.attempt.report, self.target.report if self.target else Report()
        separator = self._separator()
        before = self._thought + (len(SEPARATOR) if separator else 0)
        unshown = reports.unshown_thought(self.attempt, self._thought)
        unshown += [] if self._shows_held else reports.unshown_answer(self.attempt)
        samples = [one for run in self.samples for one in reports.unshown_answer(run)]
        return Report(
            segments=[
                *self._shown_thought,
                *separator,
                *reports.moved(target.segments, before, self._began.cue or ""),
                *(segment for segment in attempt.segments if segment.channel == "answer" and self._shows_held),
            ],
            dropped=[*attempt.dropped, *samples, *unshown, *reports.moved_drops(target.dropped, before)],
            usage=reports.with_discarded(attempt.usage, unshown),
            prices=attempt.prices,
            drafts=reports.both_drafts(attempt.drafts, target.drafts),
            prompt_tokens=attempt.prompt_tokens,
            degraded=_joined(attempt.degraded, self._notes[0], target.degraded, self._notes[1]),
            escalated=(None if self._large_wrote_nothing else self.escalated) or attempt.escalated,
        )

    @property
    def _large_wrote_nothing(self) -> bool:
        """Whether the large model failed before its first text, so that the small model wrote its turn."""
        target = self.target
        return bool(target and target.target_lost and all(one.author != "target" for one in target.report.segments))

    def add_degraded(self, words: str) -> None:
        """Report that something is not as configured."""
        self._note(words)

    @property
    def _shown_thought(self) -> list[Segment]:
        """The segments of the attempt's thought that are shown."""
        return reports.thought_up_to(self.attempt.report, self._thought)

    def _separator(self) -> list[Segment]:
        at = self._shown.separator_at
        return [] if at is None else [Segment("inserted", "thinking", "escalation", at, at + len(SEPARATOR))]

    def _note(self, words: str) -> None:
        """Report that something did not work as configured."""
        self._notes[1 if self.target else 0].append(words)

    def _count_unseen(self) -> None:
        """Add what samples and questions have used since the last call to the usage of the turn."""
        for number, (run, before) in enumerate(self._unseen):
            used = replace(run.report.usage["speculative"])
            reports.add_usage(self.attempt.report.usage["speculative"], used, before)
            self._unseen[number] = run, used


def _answer(run: Run) -> Answer:
    turn = run.turn
    known = turn.tools is None or all(call.name in turn.tools.names for call in turn.calls)
    answer = Answer(turn.answer, tuple(turn.calls), known and run.finish_reason == "stop")
    if not (logprobs := run.answer_logprobs):
        return answer
    return replace(answer, logprob=sum(logprobs) / len(logprobs), lowest_logprob=min(logprobs))


def _joined(*notes: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(words for some in notes for words in some))
