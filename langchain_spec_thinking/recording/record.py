"""The record of a turn: all inputs and decisions of the policy, in order. A replay repeats the decisions from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.policy.commands import Finish, Generate
from langchain_spec_thinking.policy.data import as_data, from_data
from langchain_spec_thinking.recording.escalation import EscalationRecord
from langchain_spec_thinking.recording.format import INPUTS, METHODS, VERSION, upgraded
from langchain_spec_thinking.tools import ToolCall
from langchain_spec_thinking.turn import Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_spec_thinking.turn import Author

_DECISIONS: dict[str, type[Generate | Finish]] = {"generate": Generate, "finish": Finish}


@dataclass(frozen=True, slots=True)
class Input:
    """One call of the policy's state machine.

    Attributes:
        seconds: Time of the call, in seconds since the turn began.
        author: The model that was writing, or None if no request was running.
        call: Name of the method: `start`, `receive`, `end`, ...
        arguments: Positional arguments of the call.
        keywords: Keyword arguments of the call.
    """

    seconds: float
    author: Author | None
    call: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens of this input, in the author's vocabulary."""
        if self.call == "call":
            return int(self.arguments[0])
        if self.call in {"receive", "end"} and len(self.arguments) > 1:
            return int(self.arguments[1])
        return int(self.keywords.get("tokens", self.call == "receive"))


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision of the policy: which model writes next, or that the turn is finished.

    Attributes:
        input: Index of the input that led to the decision.
        written: Length of the turn at that moment, thought and answer together, in characters.
        command: The command that the policy returned.
    """

    input: int
    written: int
    command: Generate | Finish


@dataclass(frozen=True)
class Record:
    """A turn, finished or not: the conversation, the settings, the inputs and decisions of the policy, and the result.

    A record holds no API keys, because it describes models by their `describe()`.

    Attributes:
        began: Start of the turn, in seconds since 1970.
        model: Every setting of the model that changes what it writes.
        machine: Settings of the state machine, without the policy.
        policy: The policy, as `policy.data.as_data` returns it.
        history: The conversation.
        inputs: Inputs of the policy.
        decisions: Decisions of the policy.
        thinking: The whole thought.
        answer: The whole answer.
        calls: Tool calls of the answer.
        finish_reason: Why the turn ended. None if it did not end.
        error: The error that ended the turn. None if there was no error.
        report: The content of `response_metadata["speculative_thinking"]`.
        escalation: The samples, the verdict and the turn of the large model, if the policy has a rule of escalation.
            `inputs` and `decisions` are then those of the small model's attempt.
        texts: Whether the record holds texts. If it does not, the inputs hold the length of each text in characters.
    """

    began: float
    model: dict[str, Any]
    machine: dict[str, Any]
    policy: dict[str, Any]
    history: tuple[Message, ...]
    inputs: tuple[Input, ...]
    decisions: tuple[Decision, ...]
    thinking: str
    answer: str
    calls: tuple[ToolCall, ...]
    finish_reason: str | None
    error: str | None
    report: dict[str, Any]
    texts: bool = True
    escalation: EscalationRecord | None = None

    def without_texts(self) -> Record:
        """Return a copy without texts. It keeps lengths, tokens, decisions and the report."""
        dropped = [{**piece, "text": ""} for piece in self.report["dropped"]]
        degraded = ["something, in words which may quote texts"] * len(self.report["degraded"])
        return replace(
            self,
            history=tuple(Message(message.role, "") for message in self.history),
            inputs=tuple(_without_text(entry) for entry in self.inputs),
            thinking="",
            answer="",
            decisions=tuple(_without_question(entry) for entry in self.decisions),
            calls=tuple(ToolCall(call.id, call.name, "") for call in self.calls),
            error=self.error and "an error; its text is not recorded",
            report={**self.report, "dropped": dropped, "degraded": degraded},
            texts=False,
            escalation=self.escalation and self.escalation.without_texts(),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the record as a dict that JSON can hold."""
        streams = [
            {"author": author, "inputs": [_to_list(entry) for entry in inputs]}
            for author, inputs in groupby(self.inputs, key=lambda entry: entry.author)
        ]
        decisions = [[d.input, d.written, type(d.command).__name__.lower(), asdict(d.command)] for d in self.decisions]
        # Empty fields are left out, since most messages have no tool calls and no tool's name.
        history = [{name: value for name, value in asdict(message).items() if value} for message in self.history]
        plain = {name: getattr(self, name) for name in ("began", "model", "machine", "policy", *_RESULTS)}
        calls = [asdict(call) for call in self.calls]
        return {
            "version": VERSION,
            **plain,
            "history": history,
            "calls": calls,
            "decisions": decisions,
            "streams": streams,
            **({"escalation": self.escalation.as_dict()} if self.escalation else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Record:
        """Make a record from the dict that `as_dict` returned.

        Raises:
            ValueError: The dict is not in the format of `as_dict`.
        """
        try:
            data = upgraded(data)
            streams, decisions = data.pop("streams"), data.pop("decisions")
            escalation = data.pop("escalation", None)
            return cls(
                history=tuple(_message(message) for message in data.pop("history")),
                calls=tuple(ToolCall(**call) for call in data.pop("calls")),
                inputs=tuple(_from_list(stream["author"], entry) for stream in streams for entry in stream["inputs"]),
                decisions=tuple(Decision(at, written, _DECISIONS[kind](**d)) for at, written, kind, d in decisions),
                escalation=EscalationRecord.from_dict(escalation, cls.from_dict) if escalation else None,
                **data,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            msg = f"expected a record of version 1 to {VERSION}, as written by `recording`"
            raise ValueError(msg) from e

    def to_json(self) -> str:
        """Return the record as a line of JSON, without a newline at the end."""
        return json.dumps(self.as_dict(), ensure_ascii=False, default=as_data)


_RESULTS = ("thinking", "answer", "finish_reason", "error", "report", "texts")


def _to_list(entry: Input) -> list[Any]:
    """Return an input as a short list, because a turn has hundreds of inputs."""
    named = [{"keywords": as_data(entry.keywords)}] if entry.keywords else []
    return [round(entry.seconds, 4), INPUTS[entry.call], *(as_data(argument) for argument in entry.arguments), *named]


def _from_list(author: Author | None, data: Sequence[Any]) -> Input:
    seconds, name, *rest = data
    keywords = rest.pop()["keywords"] if rest and isinstance(rest[-1], dict) and "keywords" in rest[-1] else {}
    return Input(seconds, author, METHODS[name], tuple(from_data(value) for value in rest), from_data(keywords))


def _message(data: Mapping[str, Any]) -> Message:
    calls = tuple(ToolCall(**call) for call in data.get("tool_calls", ()))
    return Message(**{"content": "", **data, "tool_calls": calls})


def _without_question(decision: Decision) -> Decision:
    """Remove the text that a score request adds to the prompt: the step to be scored and the question."""
    if not isinstance(decision.command, Generate):
        return decision
    return replace(decision, command=replace(decision.command, prompt_suffix=""))


def _without_text(entry: Input) -> Input:
    if entry.call == "end":  # the only string among its arguments is the finish reason
        return entry
    arguments = tuple(len(value) if isinstance(value, str) else value for value in entry.arguments)
    numbers = {name: value for name, value in entry.keywords.items() if isinstance(value, (int, float))}
    return replace(entry, arguments=arguments, keywords=numbers)
