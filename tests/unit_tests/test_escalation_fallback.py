"""A model of a turn with a rule of escalation fails: which answer is shown, and what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from langchain_spec_thinking import (
    Stall,
)
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.gated_pairs import (
    DIFFER,
    LOOP,
    QUESTION,
    THOUGHT,
    Answers,
    Failing,
    gated,
    pair,
    report,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn

FAILED = "the large model failed, so the answer of the small model is shown: it is gone"


@pytest.mark.parametrize("text", ["", "Hm, two"], ids=["at once", "in its thought"])
async def test_a_large_model_that_fails_leaves_the_answer_of_the_small_model(text: str) -> None:
    model = pair("4", "5", large=Failing(text))
    for message in (model.invoke(QUESTION), await model.ainvoke(QUESTION)):
        assert message.text == "4"
        assert report(message)["escalated"] is None
        assert report(message)["degraded"] == [FAILED]


def test_a_large_model_that_fails_raises_if_asked_to() -> None:
    with pytest.raises(BackendError, match="it is gone") as caught:
        pair("4", "5", large=Failing("Hm"), on_target_failure="raise").invoke(QUESTION)
    assert (caught.value.thinking, caught.value.answer) == (f"{THOUGHT}\n\nHm", "")


def test_a_large_model_that_fails_in_its_answer_is_continued_by_the_small_model() -> None:
    message = pair("4", "5", large=Failing("So.</think>\n\nIt is")).invoke(QUESTION)
    assert message.text.startswith("It is")
    assert "so the small model continued alone" in report(message)["degraded"][0]


def test_without_an_answer_the_small_model_starts_anew_if_the_large_one_fails() -> None:
    small = ScriptedBackend(lambda _: LOOP * 9 if small.requests[1:] == [] else "So.</think>\n\n5", thinks=True)
    message = pair(speculative=small, large=Failing(), policy=gated(Stall())).invoke(QUESTION)
    assert message.text == "5"
    assert report(message)["escalated"] is None  # the large model wrote nothing


def test_an_error_of_the_attempt_ends_the_turn() -> None:
    with pytest.raises(BackendError, match="it is gone") as caught:
        pair(speculative=Failing("So.", "small")).invoke(QUESTION)
    assert caught.value.answer == ""


def test_a_sample_that_fails_sends_the_question_to_the_large_model() -> None:
    class HalfFailing(Answers):
        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            if request.seed:
                raise BackendError("too many requests")
            return super().continue_turn(turn, request)

    found = report(pair(speculative=HalfFailing(["5"])).invoke(QUESTION))
    assert found["escalated"] == DIFFER
    assert found["degraded"] == ["a sample of the small model failed: too many requests"]


async def test_a_defect_in_a_sample_is_not_hidden() -> None:
    class Broken(Answers):
        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            if request.seed:
                msg = "a defect"
                raise ZeroDivisionError(msg)
            return super().continue_turn(turn, request)

    model = pair(speculative=Broken(["5"]))
    with pytest.raises(ZeroDivisionError):
        model.invoke(QUESTION)
    with pytest.raises(ZeroDivisionError):
        await model.ainvoke(QUESTION)
