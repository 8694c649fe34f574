"""A trigger that returns no decision is an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from langchain_spec_thinking import AllOf, AnyOf, Cue, CueTrigger, DelegationPolicy, Draft, Trigger
from langchain_spec_thinking.policy import Delegation, ScoreRequest
from langchain_spec_thinking.policy.commands import Generate


@dataclass(frozen=True)
class Returns(Trigger):
    value: Any

    def examine(self, draft: Draft) -> Any:
        return self.value


def authors(value: object) -> list[str]:
    """Return the authors of all requests of a thought of two steps, if the trigger returns a value."""
    machine = Delegation(DelegationPolicy(Returns(value)), thinks=True, max_tokens=99)
    commands = [*machine.start(), *machine.receive("One.\n\nTwo is the next number. ")]
    return [command.author for command in commands if isinstance(command, Generate)]


@pytest.mark.parametrize("wrong", [True, False, "takeover", "", 0, ("keep",), ["keep"], Cue], ids=repr)
def test_a_wrong_decision_is_an_error(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"^Returns: expected `examine` to return a Cue") as caught:
        authors(wrong)
    assert str(caught.value).endswith(f"got {wrong!r}")


@pytest.mark.parametrize("combined", [AnyOf, AllOf])
def test_a_wrong_decision_of_a_combined_trigger_is_an_error(combined: type[AnyOf | AllOf]) -> None:
    with pytest.raises(TypeError, match=r"^Returns: expected `examine` to return a Cue"):
        combined(CueTrigger(), Returns(value=True)).examine(Draft("Two", 3))


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        (Cue("", "trigger", 0), ["speculative", "target"]),
        (ScoreRequest("Good?", 5), ["speculative"]),  # the step must end first
        ("keep", ["speculative"]),
        (None, ["speculative"]),
    ],
    ids=["a cue", "a score request", "keep", "none"],
)
def test_a_decision_is_carried_out(right: object, expected: list[str]) -> None:
    assert authors(right) == expected
