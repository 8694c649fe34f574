"""The table of transitions is the whole machine: every transition of it happens, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_spec_thinking.policy import CueTrigger, Delegation, DelegationPolicy, Lexicon, ScoreAndAccept
from langchain_spec_thinking.policy.states import TRANSITIONS, State
from tests.unit_tests.policy.policy_runs import Stream, run_policy
from tests.unit_tests.policy.test_properties import POLICIES, STREAMS

PAGE = Path(__file__).parents[3] / "docs" / "method.md"
STOP, LENGTH, DROP = ("end", "stop"), ("end", "length"), ("drop_held_text",)
"""Inputs of the machine that are not text: a method with its arguments."""
CUE = {"policy": DelegationPolicy(CueTrigger())}
OPENING = {"policy": DelegationPolicy(opening_tokens=9)}
SCORE = {"policy": DelegationPolicy(ScoreAndAccept(5))}
EVERY = {"policy": DelegationPolicy(takeover_every_boundary=True)}
INTERVAL = {"policy": DelegationPolicy(takeover_interval=50)}
REST = {"policy": DelegationPolicy(takeover_tokens="rest")}
SCORE_REST = {"policy": DelegationPolicy(ScoreAndAccept(5), takeover_tokens="rest")}
PAPER = {"policy": DelegationPolicy.paper()}
EXCESSIVE = {"policy": DelegationPolicy(reflection_limit=1)}
BY_TARGET = {"answer_by": "target"}
NO_TOKENS = {"max_tokens": 0}
NO_THOUGHT = {"thinks": False}
STRUCTURED = {**NO_THOUGHT, "structured_answer": True}

SCRIPTS: Final[dict[State, dict[str, tuple[dict[str, Any], list[Any]]]]] = {
    State.IDLE: {
        "the turn starts": (CUE, []),
        "an answer is requested": ({**STRUCTURED, "answer_may_think": False}, []),
        "the turn ends": (NO_TOKENS, []),
    },
    State.BEGIN: {
        "the policy has an opening": (OPENING, ["One"]),
        "the policy has no opening": (CUE, ["One"]),
        "the answer begins": (STRUCTURED, ["One"]),
    },
    State.WRITING: {
        "a boundary arrives": (CUE, ["One.\n\n"]),
        "the author closes the thought and answers": (CUE, ["One.</think>"]),
        "an answer is requested": (BY_TARGET, ["One.</think>"]),
        "the other model begins the turn": (NO_THOUGHT, [" ", STOP]),
        "the turn ends": (NO_THOUGHT, ["One.", STOP]),
    },
    State.DRAFT: {
        "the draft is kept": (CUE, ["One.\n\nTwo.\n\n"]),
        "takeovers are stopped": (EVERY, ["One.\n\nTwo", LENGTH, "Two.\n\nThree"]),
        "the last takeover is too recent": (INTERVAL, ["One.\n\nWait,", "No.\n\n", LENGTH, "Wait,"]),
        "the other model writes the rest": (REST, ["One.\n\nWait,"]),
        "the trigger decides for a takeover": (CUE, ["One.\n\nWait,"]),
        "the policy takes over at every boundary": (EVERY, ["One.\n\nTwo"]),
        "the sentence contains a verification cue": (
            {"policy": DelegationPolicy(CueTrigger(Lexicon(reflection=("wait",))))},
            ["One.\n\nI check it.\n\nTwo"],
        ),
        "the thought has too many reflections": (EXCESSIVE, ["One.\n\nWait,", "Wait.\n\n", LENGTH, "Two"]),
        "the trigger requests a score": (SCORE, ["One.\n\nTwo.\n\nThree"]),
        "the author closes the thought and answers": (CUE, ["One.\n\n</think>"]),
        "an answer is requested": (BY_TARGET, ["One.\n\n</think>"]),
        "the other model begins the turn": (NO_THOUGHT, [" \n\n", STOP]),
        "the turn ends": (NO_THOUGHT, ["One.\n\n", STOP]),
    },
    State.SCORE: {
        "the score is too low": (SCORE, ["One.\n\nTwo.\n\nThree", "4"]),
        "the other model writes the rest": (SCORE_REST, ["One.\n\nTwo.\n\nThree", "4"]),
        "the leading model continues at a boundary": (SCORE, ["One.\n\nTwo.\n\nThree", "5"]),
        "the leading model continues inside a step": (SCORE, ["One.\n\n" + "x " * 600, "5"]),
        "an answer is requested": (SCORE, ["One.\n\nTwo.</think>", "5"]),
        "the turn ends": ({**SCORE, **NO_THOUGHT}, ["One.\n\nTwo.", STOP, "5"]),
    },
    State.TAKEOVER: {
        "the sentence contains a verification cue": (CUE, ["One.\n\nWait,", "I check it.", LENGTH]),
        "the leading model continues at a boundary": (CUE, ["One.\n\nWait,", "No.\n\n", LENGTH]),
        "the leading model continues inside a step": (CUE, ["One.\n\nWait,", "No.", LENGTH]),
        "the author closes the thought and answers": ({**CUE, **BY_TARGET}, ["One.\n\nWait,", "No.</think>"]),
        "an answer is requested": (CUE, ["One.\n\nWait,", "No.</think>"]),
        "the other model begins the turn": ({**OPENING, **NO_THOUGHT}, [STOP]),
        "the turn ends": ({**CUE, **NO_THOUGHT}, ["One.\n\nWait,", "No.", STOP]),
    },
    State.CLOSING: {
        "the answer begins": (CUE, ["One.</think>\n\n", "Two"]),
        "another model continues": (CUE, ["One.</think>\n\n", DROP]),
        "the takeover continues in the answer": (PAPER, ["One.\n\nWait,", LENGTH, "No.</think> A"]),
        "the leading model continues at a boundary": (PAPER, ["One.</think>\n\nA"]),
        "the leading model continues inside a step": (PAPER, ["One.</think>A"]),
    },
    State.ANSWER: {
        "an answer is requested": (CUE, ["One.</think>\n\n", STOP]),
        "the other model begins the turn": (STRUCTURED, [STOP]),
        "the turn ends": (CUE, ["One.</think>\n\nTwo", STOP]),
    },
    State.DONE: {},
}
"""For each transition: settings of the machine, and inputs after which the transition has happened."""


class ObservedDelegation(Delegation):
    """A machine that keeps its transitions: the state before, the cause, and the state after."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**{"policy": DelegationPolicy(), "thinks": True, "max_tokens": 10**6, **keywords})
        self.transitions: list[tuple[State, str, State]] = []

    def _move(self, cause: str) -> None:
        before = self._state
        super()._move(cause)
        self.transitions.append((before, cause, self._state))

    @property
    def states(self) -> list[State]:
        """The current state, after the states that the transitions led to."""
        return [State.IDLE, *(after for _, _, after in self.transitions), self._state]


def rows(table: Any) -> list[tuple[State, str]]:
    return [(state, cause) for state, causes in table.items() for cause in causes]


@pytest.mark.parametrize(
    ("state", "cause"), [pytest.param(*row, id=f"{row[0].name}: {row[1]}") for row in rows(TRANSITIONS)]
)
def test_each_transition_of_the_table_happens(state: State, cause: str) -> None:
    keywords, inputs = SCRIPTS[state][cause]
    machine = ObservedDelegation(**keywords)
    machine.start()
    for given_input in inputs:
        method, *arguments = given_input if isinstance(given_input, tuple) else ("receive", given_input)
        getattr(machine, method)(*arguments)
    assert (state, cause, TRANSITIONS[state][cause]) in machine.transitions


def test_there_is_a_script_for_each_transition_and_no_other() -> None:
    assert rows(SCRIPTS) == rows(TRANSITIONS)


@given(POLICIES, st.booleans(), st.booleans(), STREAMS)
@settings(max_examples=500, deadline=None)
def test_no_other_transition_happens(
    policy: DelegationPolicy, thinks: bool, structured: bool, streams: list[Stream]
) -> None:
    machine = ObservedDelegation(policy=policy, thinks=thinks, structured_answer=structured)
    run_policy(machine, streams)
    # If the state changed without a transition, a transition would not begin in the state that the one before led to.
    assert [before for before, _, _ in machine.transitions] == machine.states[:-2]
    assert machine.states[-1] is machine.states[-2]


def test_a_transition_that_is_not_in_the_table_is_an_error() -> None:
    machine = Delegation(DelegationPolicy(), thinks=True, max_tokens=10)
    machine.start()
    with pytest.raises(AssertionError, match="no transition from BEGIN for 'the turn starts'"):
        machine.start()


def test_every_state_can_be_left_and_leads_to_the_end() -> None:
    ended = {State.DONE}
    for _ in State:
        ended |= {state for state, causes in TRANSITIONS.items() if ended & set(causes.values())}
    assert ended == set(TRANSITIONS) == set(State)


def page_rows() -> list[str]:
    """Write the table of transitions as Markdown, with one row for each state."""
    return [
        f"| `{state.name}` | {state} | {'<br>'.join(f'{cause}: `{to.name}`' for cause, to in causes.items())} |"
        for state, causes in TRANSITIONS.items()
    ]


def test_the_page_about_the_method_shows_the_table() -> None:
    shown = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert shown == page_rows()
