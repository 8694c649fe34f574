"""Pairs with a rule of escalation whose models say what a test wants, and readers of their messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

from langchain_spec_thinking import (
    Agreement,
    Backend,
    ChatSpeculativeThinking,
    DelegationPolicy,
)
from langchain_spec_thinking.backends.base import End, Piece, Usage
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.drivers import drive
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn
    from langchain_spec_thinking.turn_events import TurnEvent

QUESTION = "What is 2 + 3?"
DIFFER = "the answers of the small model are not all the same"
THOUGHT = "I add 2 and 3.\n\nSo it is five."
LARGE = "Hm, two and three.</think>\n\nIt is 5."
ESSAYS = (
    "The first thing to say about the sea is that nobody has ever seen all of it at the same time.",
    "Nobody has ever seen the whole sea at once, and that is the first thing that one should say about it.",
)
LOOP = "We try the same thing once more and then once more again, " * 6 + "\n\n"
SMALL_BLOCK = ("speculative", THOUGHT)
LONG = "So it goes.\n\n" * 100
WITH_CUE = "I add.\n\nWait, no.\n\nSo"
THE_REST = DelegationPolicy(takeover_tokens="rest", escalation=Agreement())


@dataclass
class Answers(Backend):
    """A small model that gives its answers one after the other: the first to the attempt, the others to samples.

    Requests of samples are those with a seed of their own, so it does not matter which request comes first.
    """

    answers: list[str] = field(default_factory=list)
    thought: str | None = THOUGHT
    name: str = "small"
    requests: list[tuple[Request, Turn]] = field(default_factory=list)
    logprobs: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        self.thinks = self.thought is not None

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(top_logprobs_max=1 if self.logprobs else 0)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        self.requests.append((request, turn))
        yield Usage(prompt_tokens=10)
        asks = "say the same?" in turn.history[-1].content
        number = 0 if request.seed is None else request.seed // 1_000_003
        answer = "yes" if asks else self.answers[number]
        if turn.thinks and not turn.thinking_closed:
            answer = f"{self.thought}</think>\n\n{answer}"
        for at in range(0, len(answer), 4):
            yield Piece(answer[at : at + 4], 1, self.logprobs if request.top_logprobs else None)
        yield End("stop")


def pair(*answers: str, thought: str | None = THOUGHT, large: Any = None, **settings: Any) -> ChatSpeculativeThinking:
    """Return a gated pair whose small model gives these answers."""
    fields: dict[str, Any] = {
        "speculative": Answers(list(answers), thought),
        "target": ScriptedBackend(LARGE, name="large", thinks=True) if large is None else large,
        "policy": DelegationPolicy.gated(),
        "seed": 0,
    }
    return ChatSpeculativeThinking(**{**fields, **settings})


def gated(*rule: Any, **settings: Any) -> DelegationPolicy:
    return DelegationPolicy.gated(**({"escalation": rule[0]} if rule else {}), **settings)


def report(message: AIMessage) -> dict[str, Any]:
    data: dict[str, Any] = message.response_metadata["speculative_thinking"]
    return data


def blocks(message: AIMessage) -> list[tuple[str, str]]:
    """Return the author and the text of each block."""
    return [
        (block.get("extras", {}).get("author", "answer"), str(block.get("reasoning", block.get("text"))))
        for block in message.content
        if isinstance(block, dict)
    ]


def merged(chunks: Iterable[AIMessageChunk]) -> AIMessageChunk:
    first, *rest = chunks
    for chunk in rest:
        first += chunk
    return first


def events_of(model: ChatSpeculativeThinking) -> list[TurnEvent]:
    return list(drive(model.new_run([HumanMessage(QUESTION)])))


def long_thinker(turn: Turn) -> str:
    return "It is 5." if turn.closing else LONG


def scripted(answers: list[str], thought: str | None) -> ScriptedBackend:
    """Return a small model with native calls. The seed says which answer a request gets."""

    class Seeded(ScriptedBackend):
        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            answer = answers[(request.seed or 0) // 1_000_003]
            opened = turn.thinks and not turn.thinking_closed
            text = f"{thought}</think>\n\n{answer}" if opened else answer
            yield from ScriptedBackend(text, thinks=self.thinks).continue_turn(turn, request)

    return Seeded(name="small", thinks=thought is not None)


@dataclass
class Failing(Backend):
    """A large model that fails after a text."""

    text: str = ""
    name: str = "large"
    thinks: bool = True
    error: BackendError = field(default_factory=lambda: BackendError("it is gone"))

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        if self.text:
            yield Piece(self.text, 1)
        raise self.error
