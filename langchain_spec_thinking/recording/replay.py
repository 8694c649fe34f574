"""Replay of a recorded turn: with its own policy, bit for bit, or with another policy as far as the record allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.base import Request
from langchain_spec_thinking.policy import Delegation, DelegationPolicy
from langchain_spec_thinking.policy.commands import Command, Commit, Finish, Generate, Insert
from langchain_spec_thinking.policy.data import as_data, policy_from_data
from langchain_spec_thinking.report import Report
from langchain_spec_thinking.run import Run
from langchain_spec_thinking.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.recording.record import Decision, Input, Record
    from langchain_spec_thinking.turn import Author

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
        report: The report on that turn. Only its segments are meaningful. Its usage is not, since no model is called.
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
        policy: Another policy. None: the recorded policy, which must make the same decisions.

    Raises:
        ValueError: The record has no texts; the recorded policy cannot be made from data and no other is given; or the
            given policy has another budget.
    """
    if not record.texts:
        msg = "a record without texts cannot be replayed; record with texts=True"
        raise ValueError(msg)
    if policy is not None and as_data(policy.budget) != record.policy["budget"]:
        msg = "budget: expected the budget of the recorded policy, because a replay cannot measure spending"
        raise ValueError(msg)
    player = _Player(record, policy or policy_from_data(record.policy), exact=policy is None)
    difference = player.play()
    return Replay(tuple(player.commands), player.turn, player.report, difference)


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

    def play(self) -> Difference | None:
        """Give the policy the recorded inputs, and return the first difference, or None if there is none."""
        decided: dict[int, list[Decision]] = {}
        for decision in self._record.decisions:
            decided.setdefault(decision.input, []).append(decision)
        for index, entry in enumerate(self._record.inputs):
            self._index = index
            if difference := self._compare_limits(entry):
                return difference
            self._now, self._recorded_author = entry.seconds, entry.author or "speculative"
            self._tokens += entry.tokens
            commands = getattr(self._machine, entry.call)(*entry.arguments, **entry.keywords) or []
            if difference := self._compare(decided.get(self._index, []), commands):
                return difference
            self.commands += commands
            self._apply(commands)
            if entry.call == "call":
                self.report.call(self._recorded_author, entry.tokens)
                self.turn.calls.append(self._record.calls[len(self.turn.calls)])
        return None

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
