"""Replay of a recorded turn: with its own policy, bit for bit, or with another policy as far as the record allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from langchain_spec_thinking.backends.base import Request
from langchain_spec_thinking.escalated_run import EscalatedRun, Runs
from langchain_spec_thinking.policy import Delegation, DelegationPolicy
from langchain_spec_thinking.policy.commands import Command, Commit, Finish, Generate, Insert
from langchain_spec_thinking.policy.data import from_data, policy_from_data
from langchain_spec_thinking.policy.escalation import AskIfSame, Escalate, Gate
from langchain_spec_thinking.policy.escalation.gate import NOT_FINISHED
from langchain_spec_thinking.report import Report
from langchain_spec_thinking.run import Run
from langchain_spec_thinking.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_spec_thinking.recording.record import Decision, Input, Record
    from langchain_spec_thinking.tools import ToolCall
    from langchain_spec_thinking.turn import Author
    from langchain_spec_thinking.turn_events import TurnEvent

_TEXT_SHOWN = 40
"""How much of the replayed text a difference shows, in characters."""


@dataclass(frozen=True)
class Difference:
    """The point where a replay stops being valid, because from there on the models would get other requests.

    Attributes:
        input: Number of inputs of the record that the policy took before.
        written: Length of the turn at that point, thought and answer together, in characters.
        recorded: The recorded decision, in words.
        replayed: The decision of the replayed policy, in words.
    """

    input: int
    written: int
    recorded: str
    replayed: str

    def __str__(self) -> str:
        """Describe the difference in one line."""
        return (
            f"after {self.written} characters (input {self.input}): recorded: {self.recorded}; "
            f"replayed: {self.replayed}"
        )


@dataclass(frozen=True)
class Replay:
    """The result of a replay.

    Attributes:
        commands: Commands of the policy, as far as the replay is valid.
        turn: The turn that these commands write.
        report: The report on that turn. If the replay is valid, its usage and its cost are the recorded ones, because
            the models got the same requests. Otherwise only its segments are meaningful.
        difference: Where the replay stops being valid. None if it is valid to the end of the record.
    """

    commands: tuple[Command, ...]
    turn: Turn
    report: Report
    difference: Difference | None

    @property
    def valid(self) -> bool:
        """Whether the policy makes the recorded decisions up to the end."""
        return self.difference is None


def replay(record: Record, policy: DelegationPolicy | None = None) -> Replay:
    """Give a policy the inputs of a record. No model is called.

    The replay is valid up to the first decision about which model writes next, or where, that differs from the record.
    It also ends if the policy would stop a model earlier or later than the record did. Up to that point the text is the
    recorded one, on the assumption that an engine writes the same text if only the token limit of a request differs.

    Args:
        record: A record with texts.
        policy: Another policy. None: the recorded policy, which must make the same decisions. A rule of escalation
            gets the recorded samples, and its verdict must be the recorded one.

    Raises:
        ValueError: The record has no texts; the recorded policy cannot be made from data and no other is given; the
            given policy has another budget; or it has a rule of escalation, and the record was made without one.
    """
    if not record.texts:
        msg = "a record without texts cannot be replayed; record with texts=True"
        raise ValueError(msg)
    if policy is not None and policy.budget != from_data(record.policy["budget"]):
        msg = "budget: expected the budget of the recorded policy, because a replay cannot measure spending"
        raise ValueError(msg)
    replayed = policy or policy_from_data(record.policy)
    if replayed.escalation is not None:
        return _replay_escalation(record, replayed, exact=policy is None)
    player = _Player(_attempt_of(record), replayed, exact=policy is None)
    difference = player.play()
    return _result(record, player.commands, player.turn, player.report, difference)


def _result(
    record: Record, commands: Sequence[Command], turn: Turn, report: Report, difference: Difference | None
) -> Replay:
    """Return the result of a replay. A valid one has the recorded usage, because no model is called."""
    if difference is None:
        recorded = Report.from_dict(record.report)
        report.usage, report.saved_costs = recorded.usage, recorded.saved_costs
    return Replay(tuple(commands), turn, report, difference)


def _attempt_of(record: Record) -> Record:
    """Return the record of the attempt alone, if the record has more than that."""
    if (more := record.escalation) is None:
        return record
    return replace(record, thinking=more.thinking, answer=more.answer, calls=more.calls, escalation=None)


def _replay_escalation(record: Record, policy: DelegationPolicy, *, exact: bool) -> Replay:
    """Replay the attempt, then the verdict, then the turn of the large model."""
    recorded, rule = record.escalation, policy.escalation
    if recorded is None or rule is None:
        msg = "escalation: expected no rule of escalation, because the record was made without one and has no samples"
        raise ValueError(msg)
    attempt = _Player(_attempt_of(record), policy, exact=exact)
    target: _Player | None = None
    if recorded.target:
        target = _Player(recorded.target, policy_from_data(recorded.target.policy), exact=exact)
    silent = partial(_silent_run, record)
    runs = Runs(lambda: attempt, lambda _: silent(), _no_question, lambda *_: target or silent())
    run = EscalatedRun(Turn(record.history), policy, Gate(rule, policy.boundary), runs)
    difference = attempt.play(run.receive, lambda: run.gate.stopped) or _replay_verdict(run, record, attempt)
    if difference is None and target and recorded.target:
        run.conclude()
        difference = target.play(run.receive_from_target)
        if (record.answer, record.calls) != (recorded.target.answer, recorded.target.calls):
            run.fall_back()
    elif difference is None and record.finish_reason:
        run.show_held()
    commands = [*attempt.commands, *(target.commands if target else ())]
    return _result(record, commands, run.turn, run.report, difference)


def _replay_verdict(run: EscalatedRun, record: Record, attempt: _Player) -> Difference | None:
    """Let the rule see the recorded answers, and return the difference if its verdict is another one."""
    gate, recorded = run.gate, record.escalation
    if recorded is None:
        return None
    if recorded.finished and not gate.stopped:
        gate.finish(recorded.finished)
    for number, answer in recorded.samples:
        gate.sample(number, answer)
    judged = {(first, second): same for first, second, same in recorded.judged}
    while isinstance(gate.verdict, AskIfSame) and (texts := (gate.verdict.first, gate.verdict.second)) in judged:
        gate.judge(same=judged[texts])
    replayed = gate.verdict.reason if isinstance(gate.verdict, Escalate) else None
    unfinished = record.finish_reason is None and recorded.reason is None  # an error came before the verdict
    older = recorded.reason == NOT_FINISHED.reason and replayed is not None  # this reason came first in older records
    if (gate.decided and (replayed == recorded.reason or older)) or (unfinished and not gate.decided):
        return None
    words = _verdict(replayed) if gate.decided else "the rule needs answers that the record does not have"
    return attempt.difference(_verdict(recorded.reason), words)


def _verdict(reason: str | None) -> str:
    return f"escalated: {reason}" if reason else "the answer is accepted"


def _silent_run(record: Record) -> Run:
    """Return a run that writes nothing, in place of a sample, or of a turn that was not recorded."""
    return Run(Turn(record.history), Delegation(DelegationPolicy(), thinks=False, max_tokens=1), backends={},
               sampling=Request(1))  # fmt: skip


def _no_question(question: AskIfSame) -> NoReturn:
    """Refuse a question, because a replay calls no model."""
    msg = f"internal error: a replay asks no model about {question!r}"
    raise AssertionError(msg)


class _Player(Run):
    """A run whose events come from a record."""

    def __init__(self, record: Record, policy: DelegationPolicy, *, exact: bool) -> None:
        machine = Delegation(policy, **record.machine)
        super().__init__(Turn(record.history), machine, backends={}, sampling=Request(record.machine["max_tokens"]))
        self._now = 0.0  # seconds
        self.report = Report(clock=lambda: self._now)
        self.commands: list[Command] = []
        self._record = record
        self._exact = exact
        self._all_text = record.thinking + record.answer
        self._written = 0  # length of the replayed text, in characters
        self._same_text = True  # so far, the replayed text is the recorded text
        self._last_text = ""  # of the replayed text
        self._index = 0
        self._recorded_author: Author = "speculative"
        self._limits = (0, 0)  # token limits of the running request: recorded, replayed
        self._tokens = 0  # written by the running request so far

    @property
    def author(self) -> Author:
        """The recorded author. It differs from the author in the policy's command if one model stood in for another."""
        return self._recorded_author

    def play(
        self,
        receive: Callable[[TurnEvent], object] = lambda _: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Difference | None:
        """Give the policy the recorded inputs, and return the first difference, or None if there is none.

        Args:
            receive: Receives the events of the replayed turn.
            stopped: Returns whether the turn is stopped. The rest of the record must then be empty.
        """
        decided: dict[int, list[Decision]] = {}
        for decision in self._record.decisions:
            decided.setdefault(decision.input, []).append(decision)
        for index, entry in enumerate(self._record.inputs):
            self._index = index
            if stopped():
                return self._difference("the same model continues", "the rule of escalation stops the attempt")
            if difference := self._compare_limits(entry):
                return difference
            self._now, self._recorded_author = entry.seconds, entry.author or "speculative"
            self._tokens += entry.tokens
            commands = getattr(self._machine, entry.call)(*entry.arguments, **entry.keywords) or []
            if difference := self._compare(decided.get(self._index, []), commands):
                return difference
            self.commands += commands
            for event in self._apply(commands):
                receive(event)
            if entry.call == "call":
                self.report.call(self._recorded_author, entry.tokens)
                receive(self._play_call(self._record.calls[len(self.turn.calls)]))
        return None

    def difference(self, recorded: str, replayed: str) -> Difference:
        """Return a difference at the end of the replayed inputs, in words."""
        return self._difference(recorded, replayed)

    def _play_call(self, call: ToolCall) -> TurnEvent:
        self.turn.calls.append(call)
        return self._blocks.call(self._recorded_author, "answer", call, len(self.report.segments) - 1)

    def _compare_limits(self, entry: Input) -> Difference | None:
        """Check whether the replayed limit stops the model before this input or lets it continue after this input."""
        recorded, replayed = self._limits
        ends = entry.call == "end"
        stopped = replayed < recorded and (
            self._tokens + entry.tokens > replayed or (ends and self._tokens >= replayed)
        )
        reached = ends and entry.arguments[0] == "length" and self._tokens + entry.tokens >= recorded
        if stopped or (replayed > recorded and reached):
            return self._difference(f"a limit of {recorded} tokens", f"a limit of {replayed} tokens")
        return None

    def _compare(self, recorded: Sequence[Decision], commands: Sequence[Command]) -> Difference | None:
        written, same_text, last_text = self._written, self._same_text, self._last_text
        expected = iter(recorded)
        for command in commands:
            if isinstance(command, (Commit, Insert)):
                same_text = same_text and self._all_text.startswith(command.text, written)
                written += len(command.text)
                last_text = (last_text + command.text)[-_TEXT_SHOWN:]
            elif isinstance(command, (Generate, Finish)):
                decision = next(expected, None)
                if decision is None:
                    return self._difference(None, command)
                if not self._agree(decision.command, command):
                    return self._difference(decision.command, command)
                if written != decision.written or not same_text:
                    return self._difference("different text", repr(last_text))
                if isinstance(command, Generate) and isinstance(decision.command, Generate):
                    self._limits, self._tokens = (decision.command.max_tokens, command.max_tokens), 0
        if missing := next(expected, None):
            return self._difference(missing.command, None)
        self._written, self._same_text, self._last_text = written, same_text, last_text
        return None

    def _agree(self, recorded: Generate | Finish, replayed: Generate | Finish) -> bool:
        """Return whether both commands ask a model for the same text. `_compare_limits` compares their limits."""
        if self._exact or isinstance(recorded, Finish) or isinstance(replayed, Finish):
            return recorded == replayed
        same_request = (recorded.author, recorded.prompt_suffix) == (replayed.author, replayed.prompt_suffix)
        return same_request and replayed.top_logprobs <= recorded.top_logprobs

    def _difference(self, recorded: Command | str | None, replayed: Command | str | None) -> Difference:
        return Difference(self._index, self._written, _describe(recorded), _describe(replayed))


def _describe(command: Command | str | None) -> str:
    match command:
        case Generate(author, tokens, kind, cue):
            return f"{author} for {tokens} tokens ({kind}{f': {cue}' if cue else ''})"
        case Finish(reason):
            return f"the turn ends ({reason})"
        case None:
            return "the same model continues"
        case _:
            return str(command)
