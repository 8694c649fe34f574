"""Turns are kept as they are written, in a file of one line each."""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from langchain_spec_thinking.drivers import Run
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.jsonl import Appending, read_lines
from langchain_spec_thinking.policy.commands import Command, Commit, Finish, Generate, Insert
from langchain_spec_thinking.policy.data import as_data
from langchain_spec_thinking.recording.record import Decision, Input, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    from langchain_spec_thinking.backends.base import Event
    from langchain_spec_thinking.drivers import TurnEvent
    from langchain_spec_thinking.policy import Delegation, DelegationPolicy
    from langchain_spec_thinking.turn import Turn

_CURRENT: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def recording(to: str | PathLike[str] | Callable[[Record], object], *, texts: bool = True) -> Iterator[None]:
    """Keep every turn that begins within, however the model is called: `invoke`, `stream`, `batch`, in a chain.

    ```python
    with recording("runs.jsonl"):
        model.invoke("What is 17 * 23?")
    ```

    A turn is written when it is over. One that was broken off and never ended is written at the end of the block.

    Args:
        to: A file that lines of JSON are appended to, or a function that takes each record.
        texts: Whether what was said is kept. Without it a record tells lengths, tokens, decisions and the report, and
            cannot be replayed.
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
        ValueError: A line is none of its lines; the line is named.
        OSError: The file cannot be read.
    """
    records = []
    for place, held in read_lines(path, growing=True):
        try:
            records.append(Record.from_dict(held))
        except ValueError as e:
            msg = f"{place}: {e}"
            raise ValueError(msg) from e
    return records


def current_recorder() -> Recorder | None:
    """Return who keeps the turns that begin here."""
    return _CURRENT.get()


class Recorder:
    """Makes runs that are noted, and hands their records on.

    Args:
        keep: Takes each record.
        texts: Whether what was said is kept.
    """

    def __init__(self, keep: Callable[[Record], object], *, texts: bool = True) -> None:
        self._keep = keep
        self._texts = texts
        self._unfinished: set[NotedRun] = set()

    def new_run(self, model: dict[str, Any], machine: dict[str, Any], policy: DelegationPolicy) -> Callable[..., Run]:
        """Return what makes a run that is noted, called as `Run` is.

        Args:
            model: Every setting of the model that changes what it writes.
            machine: The settings of the state machine but for the policy.
            policy: The policy.
        """
        told = {name: value for name, value in model.items() if name != "policy"}
        settings = {"model": as_data(told), "machine": as_data(machine), "policy": as_data(policy)}

        def new_run(turn: Turn, delegation: Delegation, *rest: Any, **named: Any) -> Run:
            run = NotedRun(settings, self._over, turn, delegation, *rest, **named)
            self._unfinished.add(run)
            return run

        return new_run

    def close(self) -> None:
        """Write down what never ended."""
        for run in list(self._unfinished):
            self._over(run, "broken off")

    def _over(self, run: NotedRun, error: str | None) -> None:
        if run in self._unfinished:
            self._unfinished.discard(run)
            record = run.record(error)
            self._keep(record if self._texts else record.without_texts())


class NotedRun(Run):
    """A turn on its way, of which is noted what its state machine is told, and when.

    Args:
        settings: The fields of the record that tell settings.
        over: Told when the turn is over, with the error that ended it.
        turn: The turn to write.
        machine: The policy, not started yet.
        *rest: As of `Run`.
        **named: Likewise.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        over: Callable[[NotedRun, str | None], None],
        turn: Turn,
        machine: Delegation,
        *rest: Any,
        **named: Any,
    ) -> None:
        super().__init__(turn, cast("Delegation", _Noted(machine, self._note)), *rest, **named)
        self._settings = settings
        self._over = over
        self._began = time.time()
        self._inputs: list[Input] = []
        self._decisions: list[Decision] = []
        self._length = 0  # of the text, in characters

    def receive(self, event: Event) -> list[TurnEvent]:
        """Take in what the backend has to say."""
        happened = super().receive(event)
        self._look_whether_over()
        return happened

    def recover(self, error: BackendError) -> list[TurnEvent]:
        """Go on after the running request failed, or raise."""
        try:
            happened = super().recover(error)
        except BackendError as e:
            self._over(self, f"{type(e).__name__}: {e}")
            raise
        self._look_whether_over()
        return happened

    def record(self, error: str | None) -> Record:
        """Return what was noted so far."""
        return Record(
            began=self._began,
            **self._settings,
            history=self.turn.history,
            inputs=tuple(self._inputs),
            decisions=tuple(self._decisions),
            thinking=self.turn.thinking,
            answer=self.turn.answer,
            calls=tuple(self.turn.calls),
            finish_reason=None if self.wanted or error else self.finish_reason,
            error=error,
            report=self.report.as_dict(),
        )

    def _look_whether_over(self) -> None:
        if self.wanted is None:
            self._over(self, None)

    def _note(self, call: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        author = self.author if self.wanted else None
        self._inputs.append(Input(self.report.seconds, author, call, arguments, keywords))

    def _apply(self, commands: Sequence[Command]) -> list[TurnEvent]:
        for command in commands:
            if isinstance(command, (Commit, Insert)):
                self._length += len(command.text)
            elif isinstance(command, (Generate, Finish)):
                self._decisions.append(Decision(len(self._inputs) - 1, self._length, command))
        return super()._apply(commands)


class _Noted:
    """A state machine every call of which is noted, whatever its methods are called and take."""

    def __init__(self, machine: Delegation, note: Callable[[str, tuple[Any, ...], dict[str, Any]], None]) -> None:
        self._machine = machine
        self._note = note

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the machine has
        held = getattr(self._machine, name)
        if not callable(held):
            return held

        def noted(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401
            self._note(name, arguments, keywords)
            return held(*arguments, **keywords)

        return noted


def _appending(path: str | PathLike[str]) -> Callable[[Record], None]:
    append = Appending(path)
    return lambda record: append(record.to_json())
