"""Services that write on and bill after a cancel: which requests are short, and what the report says."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from langchain_spec_thinking import Agreement, Stall
from langchain_spec_thinking.backends.base import End, Piece
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.hidden_reasoning import note_hidden_reasoning
from tests.unit_tests.gated_pairs import DIFFER, QUESTION, Answers, gated, pair, report

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_spec_thinking import Escalation
    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn

STEP = 1_000_003
"""How far apart the seeds of two samples are. The attempt has the seed 0."""
SECONDS = 10
"""How long a test waits for something that happens at once if the code is right, in seconds."""


@dataclass
class WritesOn(Answers):
    """A small model whose service writes on and bills after a cancel."""

    last_begun: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(stopped_tokens_max=8, stops_on_cancel=False)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        self.requests.append((request, turn))
        number = 0 if request.seed is None else request.seed // STEP
        if number == 2:
            yield Piece("It", 1)
            self.last_begun.set()
            while not self.over.wait(0.001):
                yield Piece(" ", 0)
            return
        assert len(self.answers) < 3 or self.last_begun.wait(SECONDS)
        whole = f"<think>\n{self.thought}</think>\n\n{self.answers[number]}"
        left = request.max_tokens
        for word in re.findall(r"\s*\S+", whole.removeprefix(turn.body()))[: max(0, left)]:
            yield Piece(word, 1)
            left -= 1
        yield End("stop" if left > 0 else "length")


CUT = [
    ("an attempt that a rule may stop takes short requests", Stall(), ["It is 5."], True),
    ("an attempt that no rule stops takes one request", Agreement(), ["5", "5"], False),
]


@pytest.mark.parametrize(("rule", "answers", "short"), [row[1:] for row in CUT], ids=[row[0] for row in CUT])
def test_requests_are_short_only_if_that_saves_something(rule: Escalation, answers: list[str], short: bool) -> None:
    small = WritesOn(answers)
    message = pair(speculative=small, policy=gated(rule)).invoke(QUESTION)
    assert message.text == answers[0]
    limits = [request.max_tokens for request, _ in small.requests]
    assert (max(limits) <= 8) == short
    assert len(limits) == 2
    assert report(message)["degraded"] == []


def test_a_model_that_hides_its_reasoning_gets_no_short_requests() -> None:
    """It would reason anew for each of them."""
    small = WritesOn(["5"], name="a model that hides its reasoning")
    note_hidden_reasoning(small)
    pair(speculative=small, policy=gated(Stall())).invoke(QUESTION)
    assert len(small.requests) == 1


def test_a_cancelled_answer_that_is_billed_to_its_end_is_reported() -> None:
    small = WritesOn(["4", "5", "6"])
    try:
        found = report(pair(speculative=small, policy=gated(Agreement(samples=3))).invoke(QUESTION))
    finally:
        small.over.set()
    assert found["escalated"] == DIFFER
    assert [words for words in found["degraded"] if "writes 1 cancelled answer to the end and bills this" in words]
