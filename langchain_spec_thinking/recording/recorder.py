"""Recording of turns while they are written. Each turn becomes one line of a file."""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.escalated_run import EscalatedRun
from langchain_spec_thinking.jsonl import LineAppender, read_lines
from langchain_spec_thinking.policy.commands import Command, Commit, Finish, Generate, Insert
from langchain_spec_thinking.policy.data import as_data
from langchain_spec_thinking.recording.escalation import EscalationRecord
from langchain_spec_thinking.recording.record import Decision, Input, Record
from langchain_spec_thinking.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    from langchain_spec_thinking.backends.base import Event
    from langchain_spec_thinking.policy import Delegation, DelegationPolicy
    from langchain_spec_thinking.turn import Turn
    from langchain_spec_thinking.turn_events import TurnEvent
    from langchain_spec_thinking.turn_runs import AnyRun, TurnRuns

_CURRENT: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def recording(to: str | PathLike[str] | Callable[[Record], object], *, texts: bool = True) -> Iterator[None]:
    """Record every turn that begins inside the `with` block.

    ```python
    with recording("runs.jsonl"):
        model.invoke("What is 17 * 23?")
    ```

    It does not matter how the model is called: by `invoke`, `stream`, `batch`, or in a chain. A turn is written to the
    file when it ends. A turn that never ended is written at the end of the block.

    Args:
        to: A file to which lines of JSON are appended, or a function that takes each record.
        texts: Whether records hold the texts. Records without texts hold lengths, tokens, decisions and the report;
            they cannot be replayed.
    """
    recorder = Recorder(to if callable(to) else _appending(to), texts=texts)
    token = _CURRENT.set(recorder)
    try:
        yield
    finally:
        _CURRENT.reset(token)
        recorder.close()


def read_records(path: str | PathLike[str]) -> list[Record]:
    """Read a file that `recording` wrote.

    Raises:
        ValueError: A line is not a record. The message names the line.
        OSError: The file cannot be read.
    """
    records = []
    for place, data in read_lines(path, allow_incomplete_last_line=True):
        try:
            records.append(Record.from_dict(data))
        except ValueError as e:
            msg = f"{place}: {e}"
            raise ValueError(msg) from e
    return records


def current_recorder() -> Recorder | None:
    """Return the recorder of the current context, or None if turns are not recorded here."""
    return _CURRENT.get()


class Recorder:
    """Makes runs that are recorded, and passes on each record when the turn ends.

    Args:
        keep: Function that takes each record.
        texts: Whether records hold the texts.
    """

    def __init__(self, keep: Callable[[Record], object], *, texts: bool = True) -> None:
        self._keep = keep
        self._texts = texts
        self._unfinished: set[AnyRun] = set()

    def new_run(self, model: dict[str, Any], runs: TurnRuns) -> AnyRun:
        """Make the recorded run of a turn.

        Args:
            model: Every setting of the model that changes what it writes.
            runs: The settings of the turn.
        """
        model_settings = as_data({name: value for name, value in model.items() if name != "policy"})
        rule = runs.policy.escalation
        on_end = _ignore if rule else self._finish

        def make_run(
            policy: DelegationPolicy, machine: dict[str, Any], turn: Turn, delegation: Delegation, **keywords: Any
        ) -> Run:
            settings = {"model": model_settings, "machine": as_data(machine), "policy": as_data(policy)}
            return RecordedRun(settings, on_end, turn, delegation, **keywords)

        recorded = replace(runs, make_run=make_run)
        run = recorded.escalated_run(rule, self._finish) if rule else recorded.run()
        self._unfinished.add(run)
        return run

    def close(self) -> None:
        """Record the turns that never ended."""
        for run in list(self._unfinished):
            self._finish(run, "the turn did not finish")

    def _finish(self, run: AnyRun, error: str | None) -> None:
        if run in self._unfinished:
            self._unfinished.discard(run)
            record = run.record(error) if isinstance(run, RecordedRun) else escalated_record(run, error)
            self._keep(record if self._texts else record.without_texts())


def escalated_record(run: AnyRun, error: str | None) -> Record:
    """Return the record of a turn with a rule of escalation up to now."""
    if not isinstance(run, EscalatedRun) or not isinstance(run.attempt, RecordedRun):
        msg = f"expected a recorded turn with a rule of escalation, got {run!r}"
        raise TypeError(msg)
    attempt, target = run.attempt.record(None), run.target
    of_target = target.record(None) if isinstance(target, RecordedRun) else None
    if of_target:
        of_target = replace(of_target, thinking=of_target.thinking.removeprefix(run.continued))
    escalation = EscalationRecord.of(run.gate, attempt, of_target, run.attempt.report.seconds)
    return replace(
        attempt,
        thinking=run.turn.thinking,
        answer=run.turn.answer,
        calls=tuple(run.turn.calls),
        finish_reason=None if error else run.finish_reason,
        error=error,
        report=run.report.as_dict(),
        escalation=escalation,
    )


def _ignore(run: RecordedRun, error: str | None) -> None:
    """Do nothing at the end of a run that is a part of a turn."""


class RecordedRun(Run):
    """A run that keeps every input of its state machine, with its time.

    Args:
        settings: The fields of the record that hold settings: `model`, `machine` and `policy`.
        on_end: Called at the end of the turn with the run and the error that ended it, if any.
        turn: The turn to write.
        machine: The policy, not started yet.
        **keywords: Further arguments of `Run`.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        on_end: Callable[[RecordedRun, str | None], None],
        turn: Turn,
        machine: Delegation,
        **keywords: Any,
    ) -> None:
        super().__init__(turn, cast("Delegation", _RecordingMachine(machine, self._record_call)), **keywords)
        self._settings = settings
        self._on_end = on_end
        self._began = time.time()
        self._inputs: list[Input] = []
        self._decisions: list[Decision] = []
        self._length = 0  # of thought and answer together, in characters

    def receive(self, event: Event) -> list[TurnEvent]:
        """Process an event of the backend, and record the turn if it has ended."""
        events = super().receive(event)
        self._record_if_finished()
        return events

    def recover(self, error: BackendError) -> list[TurnEvent]:
        """Continue after the running request failed, or record the turn and raise the error."""
        try:
            events = super().recover(error)
        except BackendError as e:
            self._on_end(self, f"{type(e).__name__}: {e}")
            raise
        self._record_if_finished()
        return events

    def record(self, error: str | None) -> Record:
        """Return the record of the turn up to now."""
        return Record(
            began=self._began,
            **self._settings,
            history=self.turn.history,
            inputs=tuple(self._inputs),
            decisions=tuple(self._decisions),
            thinking=self.turn.thinking,
            answer=self.turn.answer,
            calls=tuple(self.turn.calls),
            finish_reason=None if self.pending_request or error else self.finish_reason,
            error=error,
            report=self.report.as_dict(),
        )

    def _record_if_finished(self) -> None:
        if self.pending_request is None:
            self._on_end(self, None)

    def _record_call(self, call: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        author = self.author if self.pending_request else None
        self._inputs.append(Input(self.report.seconds, author, call, arguments, keywords))

    def _apply(self, commands: Sequence[Command]) -> list[TurnEvent]:
        for command in commands:
            if isinstance(command, (Commit, Insert)):
                self._length += len(command.text)
            elif isinstance(command, (Generate, Finish)):
                self._decisions.append(Decision(len(self._inputs) - 1, self._length, command))
        return super()._apply(commands)


class _RecordingMachine:
    """A wrapper of a state machine that reports every method call, independent of names and arguments."""

    def __init__(
        self, machine: Delegation, record_call: Callable[[str, tuple[Any, ...], dict[str, Any]], None]
    ) -> None:
        self._machine = machine
        self._record_call = record_call

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of the machine
        attribute = getattr(self._machine, name)
        if not callable(attribute):
            return attribute

        def recorded(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401
            self._record_call(name, arguments, keywords)
            return attribute(*arguments, **keywords)

        return recorded


def _appending(path: str | PathLike[str]) -> Callable[[Record], None]:
    append = LineAppender(path)
    return lambda record: append(record.to_json())
