"""A backend of a user with one method: what the pair counts, refuses and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking import Backend, ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.backends.base import Call, End, Event, Piece, Request
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_spec_thinking.turn import Turn

SILENT = ScriptedBackend("")


@dataclass(repr=False)
class Whole(Backend):
    """A backend that yields fixed events."""

    events: tuple[Event, ...]
    name: str = "whole"

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        yield from self.events


class CountsWords(Whole):
    def count_tokens(self, text: str) -> int:
        return len(text.split())


def report(small: Backend, target: Backend, **settings: Any) -> dict[str, Any]:
    model = ChatSpeculativeThinking(speculative=small, target=target, **settings)
    return dict(model.invoke("Hi").response_metadata["speculative_thinking"])


@pytest.mark.parametrize(
    ("backend", "tokens"),
    [
        pytest.param(Whole((Piece("x" * 80), End("stop"))), 20, id="estimated by default"),
        pytest.param(CountsWords((Piece("so it is five"), End("stop"))), 4, id="by the count of the backend"),
        pytest.param(Whole((Piece("so it is five", tokens=3), End("stop"))), 3, id="unless the piece has a count"),
        pytest.param(Whole((Piece("so", tokens=0), Piece("x" * 4), End("stop"))), 1, id="not if the count is 0"),
    ],
)
def test_the_tokens_of_a_piece_are_counted(backend: Backend, tokens: int) -> None:
    found = report(backend, SILENT)
    assert found["segments"][0]["tokens"] == found["usage"]["speculative"]["completion_tokens"] == tokens


def test_the_share_of_a_model_that_writes_everything_in_one_piece_is_right() -> None:
    half = "A sentence of it.\n\n"
    small = ScriptedBackend(lambda turn: "End." if turn.answer else "Wait.\n\nWait, I stop.", tokenize=list)
    target = Whole((Piece(half * 20), End("stop")))
    found = report(small, target, policy=DelegationPolicy(takeover_tokens=None))
    takeover = next(segment for segment in found["segments"] if segment["author"] == "target")
    assert takeover["tokens"] == pytest.approx((takeover["end"] - takeover["start"]) / 4, abs=1)
    assert found["usage"]["target"]["completion_tokens"] == len(half) * 20 / 4
    assert found["usage"]["target"]["discarded_tokens"] == len(half) * 20 / 4 - takeover["tokens"]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def calling(**settings: Any) -> Whole:
    backend = Whole((Call(ToolCall("1", "add", '{"a": 1, "b": 2}')), End("stop")))
    for name, value in settings.items():
        setattr(backend, name, value)
    return backend


class Declared(Whole):
    capabilities = Capabilities(tool_calls="text")


def test_the_tokens_of_a_call_are_counted() -> None:
    message = ChatSpeculativeThinking(speculative=calling(), target=SILENT).bind_tools([add]).invoke("Hi")
    assert message.tool_calls[0]["args"] == {"a": 1, "b": 2}
    written = message.response_metadata["speculative_thinking"]["usage"]["speculative"]["completion_tokens"]
    assert written == -(-len('add{"a": 1, "b": 2}') // 4)


IGNORED = (
    "whole may ignore the tools: its backend does not say how it calls tools. Set `Capabilities.tool_calls` if it does."
)


@pytest.mark.parametrize(
    ("backend", "choice", "degraded"),
    [
        pytest.param(Whole((Piece("3"), End("stop"))), "auto", [IGNORED], id="it may ignore the tools"),
        pytest.param(Whole((Piece("3"), End("stop"))), "none", [], id="no call is allowed"),
        pytest.param(Declared((Piece("3"), End("stop"))), "auto", [], id="it says how it calls tools"),
        pytest.param(SILENT, "auto", [], id="a backend of this package"),
    ],
)
def test_a_backend_that_may_ignore_tools_is_reported(backend: Backend, choice: str, degraded: list[str]) -> None:
    model = ChatSpeculativeThinking(speculative=SILENT, target=backend, answer_by="target")
    message = model.bind_tools([add], tool_choice=choice).invoke("Hi")
    assert message.response_metadata["speculative_thinking"]["degraded"] == degraded


class Nameless(Backend):
    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        yield End("stop")


@pytest.mark.parametrize("name", [None, "", 3])
@pytest.mark.parametrize("field", ["speculative", "target"])
def test_a_backend_without_a_name_is_refused(field: str, name: Any) -> None:
    backend = Nameless()
    if name is not None:
        backend.name = name
    pair: dict[str, Any] = {"speculative": SILENT, "target": SILENT, field: backend}
    with pytest.raises(
        ValueError, match=rf"(?s)\b{field}\b.*`name` is the name of its model, got Nameless with {name!r}"
    ):
        ChatSpeculativeThinking(**pair)
