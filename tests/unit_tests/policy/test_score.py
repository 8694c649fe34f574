"""Steps that the target model scores, and how the policy handles the digit."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_spec_thinking.policy import Delegation, DelegationPolicy
from langchain_spec_thinking.policy.commands import Generate
from langchain_spec_thinking.policy.scored_step import NO_DIGIT
from tests.unit_tests.policy.policy_runs import Stream, as_one_chunk, run_policy, transcript
from tests.unit_tests.policy.test_triggers import LENGTH, SCORE, run


@pytest.mark.parametrize("split", [as_one_chunk, list])
def test_an_accepted_step_is_kept_and_its_author_continues(split: Any) -> None:
    found = run(SCORE, "One.\n\nTwo.\n\n  Three.", " 7", "Three.\n</think>", "8", "A", split=split)
    assert found == [
        "open",
        "speculative draft 1000",
        "+ One.\n\n",
        "-  Three." if split is as_one_chunk else "-  T",
        "target score 4",
        "-  7",
        "+ Two.\n\n ",
        "speculative draft 1000",
        "- </think>",
        "target score 4",
        "- 8",
        "+ Three.\n",
        "close '</think>\\n\\n'",
        "speculative answer 1000",
        "+ A",
        "finish stop",
    ]


def test_a_rejected_step_is_rewritten_by_the_target() -> None:
    assert run(SCORE, "One.\n\n  Two.\n\nThree.", "6", "2.\n\nNext", "Three.") == [
        "open",
        "speculative draft 1000",
        "+ One.\n\n",
        "- Three.",
        "target score 4",
        "- 6",
        "+  ",
        "-  Two.\n\n",
        "target trigger 512 (6)",
        "+ 2.\n\n",
        "- Next",
        "speculative draft 1000",
        "target score 4",
    ]


def test_the_question_follows_the_step() -> None:
    machine = Delegation(DelegationPolicy(trigger=SCORE), thinks=True, max_tokens=99)
    [*_, request] = run_policy(machine, ["One.\n\nTwo.\n\nThree."])
    assert isinstance(request, Generate)
    assert request.prompt_suffix == "Two. ?"


@pytest.mark.parametrize("words", ["", "well", "seven"])
def test_without_a_digit_a_step_is_kept_with_a_note(words: str) -> None:
    found = run(SCORE, "One.\n\nTwo.\n\nThree.", words)
    assert found[-3:] == [f"note {NO_DIGIT}", "+ Two.\n\n", "speculative draft 1000"]


def test_the_last_token_of_a_turn_leaves_room_for_a_score() -> None:
    machine = Delegation(DelegationPolicy(trigger=SCORE), thinks=True, max_tokens=2)
    machine.start()
    machine.receive("One.\n\n", 1)
    machine.receive("Two.", 1)
    [request] = machine.end("length")
    assert isinstance(request, Generate)
    assert request.max_tokens == 4
    assert transcript(machine.receive(" 9")) == ["-  9", "+ Two.", "finish length"]


def test_the_length_limit_of_a_stream_still_counts_after_the_score() -> None:
    machine = Delegation(DelegationPolicy(trigger=SCORE), thinks=True, max_tokens=3)
    machine.start()
    machine.receive("One.\n\n", 1)
    machine.receive("Two.", 1)
    machine.end("length")
    machine.receive(" Well, it is", 3)
    assert transcript(machine.receive(" 9", 1))[-2:] == ["close '\\n</think>\\n\\n'", "target answer 1"]


def test_a_target_with_a_full_context_gets_no_more_score_requests() -> None:
    found = run(SCORE, "One.\n\nTwo.\n\nThree.", Stream("", LENGTH), "Three.\n\nFour.\n</think>A")
    assert found.count("target score 4") == 1
    assert found[-2:] == ["+ A", "finish stop"]


@pytest.mark.parametrize(
    ("streams", "settings", "expected"),
    [
        pytest.param(
            ["A.\n\nTwo.", "9", "B"],
            {},
            ["+ Two.", "close '\\n</think>\\n\\n'", "speculative answer 1000", "+ B", "finish stop"],
            id="an accepted step that ended the thought without a tag",
        ),
        pytest.param(
            ["A.\n\nTwo.", "1", "2.", "B"],
            {},
            ["- Two.", "target trigger 512 (1)", "+ 2.", "close '\\n</think>\\n\\n'", "speculative answer 1000"]
            + ["+ B", "finish stop"],
            id="a rejected step that ended the thought without a tag",
        ),
        pytest.param(["A.\n\nTwo.", "9"], {"thinks": False}, ["+ Two.", "finish stop"], id="an answer that ended"),
        pytest.param(
            ["A.\n\nTwo.STOP more", "9"],
            {"thinks": False, "stop": ["STOP"]},
            ["+ Two.", "finish stop"],
            id="an answer with a stop string",
        ),
        pytest.param([Stream("A.\n\nTwo", LENGTH), "9"], {}, None, id="a stream that was cut short"),
    ],
)
def test_what_ended_with_a_step_ends_after_the_score(
    streams: list[Any], settings: dict[str, Any], expected: list[str] | None
) -> None:
    found = run(SCORE, *streams, **settings)
    expected = expected or ["+ Two", "close '\\n</think>\\n\\n'", "target answer 1000"]
    assert found[-len(expected) :] == expected


def test_a_step_without_an_end_is_scored_after_512_tokens() -> None:
    long = "x " * 600
    machine = Delegation(DelegationPolicy(trigger=SCORE), thinks=True, max_tokens=5000)
    [*_, request] = run_policy(machine, [f"One.\n\n{long}"])
    assert isinstance(request, Generate)
    assert (request.kind, request.prompt_suffix.count("x")) == ("score", 512)


def test_an_accepted_step_does_not_count_as_a_target_step() -> None:
    """The speculative model wrote the step. If the target begins every paragraph, it also begins the next one."""
    policy = DelegationPolicy(trigger=SCORE, takeover_every_boundary=True)
    machine = Delegation(policy, thinks=True, max_tokens=1000)
    lines = transcript(run_policy(machine, ["One.\n\nX", "Target.\n\nMore", "Two.\n\nThree.", "9", "Three."]))
    accepted = lines.index("+ Two.\n\n")
    assert lines[accepted + 1 : accepted + 4] == ["speculative draft 1000", "- Three.", "target trigger 512"]
