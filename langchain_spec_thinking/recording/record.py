"""A turn as the policy saw it: everything it was told, in order, so that it can be decided again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.policy.commands import Finish, Generate
from langchain_spec_thinking.policy.data import as_data, of_data
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
        seconds: When, since the turn began.
        author: Who was writing; None before anybody was.
        call: The method: `start`, `receive`, `end`, ...
        arguments: What it was called with.
        keywords: Likewise, by name.
    """

    seconds: float
    author: Author | None
    call: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """What it cost, in tokens of the author's vocabulary."""
        if self.call == "call":
            return int(self.arguments[0])
        if self.call in {"receive", "end"} and len(self.arguments) > 1:
            return int(self.arguments[1])
        return int(self.keywords.get("tokens", self.call == "receive"))


@dataclass(frozen=True, slots=True)
class Decision:
    """Who was to write next, or that the turn was over.

    Attributes:
        input: The index of the input that led to it.
        written: How much stood in the turn then, thought and answer together, in characters.
        command: What was decided.
    """

    input: int
    written: int
    command: Generate | Finish


@dataclass(frozen=True)
class Record:
    """A turn, finished or not: what was asked, under which settings, what the policy was told, and what came of it.

    No key is ever in it: models are told by their `describe()`.

    Attributes:
        began: When, in seconds since 1970.
        model: Every setting of the model that changes what it writes.
        machine: The settings of the state machine but for the policy.
        policy: The policy, as `policy.data.as_data` returns it.
        history: The conversation.
        inputs: What the policy was told.
        decisions: What it decided.
        thinking: All that was thought.
        answer: All that was answered.
        calls: Tools that were called.
        finish_reason: Why the turn ended; None where it did not.
        error: What broke it off; None where nothing did.
        report: What `response_metadata["speculative_thinking"]` holds.
        texts: Whether the texts are there. Where they are not, each is replaced by its length in characters.
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

    def without_texts(self) -> Record:
        """Return the record without what was said: lengths, tokens, decisions and the report stay."""
        dropped = [{**piece, "text": ""} for piece in self.report["dropped"]]
        degraded = self.report["degraded"] and "something, in words which may quote texts"
        return replace(
            self,
            history=tuple(Message(message.role, "") for message in self.history),
            inputs=tuple(_without_text(one) for one in self.inputs),
            thinking="",
            answer="",
            decisions=tuple(_without_question(one) for one in self.decisions),
            calls=tuple(ToolCall(call.id, call.name, "") for call in self.calls),
            error=self.error and "an error, which may quote texts",
            report={**self.report, "dropped": dropped, "degraded": degraded},
            texts=False,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the record as what a line of JSON holds."""
        streams = [
            {"author": author, "inputs": [_packed(one) for one in inputs]}
            for author, inputs in groupby(self.inputs, key=lambda one: one.author)
        ]
        decisions = [[d.input, d.written, type(d.command).__name__.lower(), asdict(d.command)] for d in self.decisions]
        # Calls of tools repeat their names in every line otherwise; empty fields say nothing.
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
        }

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Record:
        """Read what `as_dict` returned.

        Raises:
            ValueError: It did not return that.
        """
        try:
            held = upgraded(held)
            streams, decisions = held.pop("streams"), held.pop("decisions")
            return cls(
                history=tuple(_message(message) for message in held.pop("history")),
                calls=tuple(ToolCall(**call) for call in held.pop("calls")),
                inputs=tuple(_unpacked(stream["author"], one) for stream in streams for one in stream["inputs"]),
                decisions=tuple(Decision(at, written, _DECISIONS[kind](**d)) for at, written, kind, d in decisions),
                **held,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            msg = f"expected a record of version 1 to {VERSION}, as `recording` writes it"
            raise ValueError(msg) from e

    def to_json(self) -> str:
        """Return the record as a line of JSON, without the line's end."""
        return json.dumps(self.as_dict(), ensure_ascii=False, default=as_data)


_RESULTS = ("thinking", "answer", "finish_reason", "error", "report", "texts")


def _packed(one: Input) -> list[Any]:
    """As short as can be: a turn has hundreds of them."""
    named = [{"keywords": as_data(one.keywords)}] if one.keywords else []
    return [round(one.seconds, 4), INPUTS[one.call], *(as_data(argument) for argument in one.arguments), *named]


def _unpacked(author: Author | None, packed: Sequence[Any]) -> Input:
    seconds, name, *rest = packed
    keywords = rest.pop()["keywords"] if rest and isinstance(rest[-1], dict) and "keywords" in rest[-1] else {}
    return Input(seconds, author, METHODS[name], tuple(of_data(value) for value in rest), of_data(keywords))


def _message(held: Mapping[str, Any]) -> Message:
    calls = tuple(ToolCall(**call) for call in held.get("tool_calls", ()))
    return Message(**{"content": "", **held, "tool_calls": calls})


def _without_question(decision: Decision) -> Decision:
    """Leave out the step that a score is asked for."""
    if not isinstance(decision.command, Generate):
        return decision
    return replace(decision, command=replace(decision.command, prompt_suffix=""))


def _without_text(one: Input) -> Input:
    if one.call == "end":  # its text is the reason
        return one
    arguments = tuple(len(value) if isinstance(value, str) else value for value in one.arguments)
    numbers = {name: value for name, value in one.keywords.items() if isinstance(value, (int, float))}
    return replace(one, arguments=arguments, keywords=numbers)
