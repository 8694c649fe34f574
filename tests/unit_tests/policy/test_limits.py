"""The behaviour of the policy at a limit: of tokens, of the context of a model, or of reflections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking.policy import Delegation, DelegationPolicy
from langchain_spec_thinking.policy.commands import Finish, Generate
from tests.unit_tests.policy.policy_runs import LENGTH, NO_VERIFICATION, Stream, run_policy, transcript

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.commands import EndReason


def test_excessive_reflection_is_ended_with_growing_limits() -> None:
    policy = DelegationPolicy(reflection_limit=2, reflection_limit_growth=1, reflection_limit_max=3, recap_tokens=150)
    machine = Delegation(policy, thinks=True, max_tokens=10**6)
    small_then_target: list[Any] = ["\n\nwait.", Stream("Alternatively.", LENGTH)]
    recap: list[Any] = ["\n\nSo what", Stream("Fine.", LENGTH)]
    streams: list[Any] = 2 * small_then_target + recap + 3 * small_then_target + recap + 3 * small_then_target + recap
    takeovers = [line for line in transcript(run_policy(machine, streams)) if line.startswith(("insert", "target"))]
    sentence = "insert Let me check whether there are some wrong steps:"
    reflection = "target reflection 20 (wait)"
    assert takeovers == [
        *2 * [reflection],
        sentence,
        "target excessive_reflection 150",
        *3 * [reflection],
        sentence,
        "target excessive_reflection 175",
        *3 * [reflection],
        sentence,
        "target excessive_reflection 200",
    ]


@pytest.mark.parametrize(
    ("takeover", "reflections"),
    [("Hm, let us wait", 0), ("Hm, let us wait ", 1), ("Wait, let us go", 1)],
    ids=["in the last word, which is dropped", "in the last word, which is kept", "in an earlier word"],
)
def test_a_cue_in_a_takeover_counts_if_its_word_is_kept(takeover: str, reflections: int) -> None:
    machine = Delegation(DelegationPolicy(NO_VERIFICATION.trigger, reflection_limit=1), thinks=True, max_tokens=1000)
    run = transcript(run_policy(machine, ["One.\n\nwait.", Stream(takeover, LENGTH), " on.\n\nSo what", "Fine."]))
    assert len([line for line in run if line.startswith("insert")]) == reflections


@pytest.mark.parametrize("kept", ["Yes.", "Therefore."])
def test_only_a_kept_sentence_counts_as_reflection(kept: str) -> None:
    policy = DelegationPolicy(reflection_limit=1)
    machine = Delegation(policy, thinks=True, max_tokens=10**6)
    streams: list[Any] = 5 * ["\n\nwait.", Stream(kept, LENGTH)]
    assert not any(line.startswith("insert") for line in transcript(run_policy(machine, streams)))


def test_the_recap_sentence_can_be_left_out() -> None:
    policy = DelegationPolicy(reflection_limit=1, recap_sentence="")
    machine = Delegation(policy, thinks=True, max_tokens=10**6)
    lines = transcript(run_policy(machine, ["\n\nwait.", Stream("Wait.", LENGTH), "\n\nSo"]))
    assert lines[-2:] == ["- So", "target excessive_reflection 125"]


def run_with_tokens(machine: Delegation, *streams: tuple[str, int, EndReason]) -> list[str]:
    """Run the policy on streams of one piece each, with the given number of tokens."""
    commands = machine.start()
    for text, tokens, reason in streams:
        new = machine.receive(text, tokens) if text else []
        commands += new
        if not any(isinstance(command, (Generate, Finish)) for command in new):
            commands += machine.end(reason)
    return transcript(commands)


def test_a_turn_ends_when_no_tokens_are_left() -> None:
    machine = Delegation(NO_VERIFICATION, thinks=True, max_tokens=5)
    lines = run_with_tokens(machine, ("One.\n\nTwo", 5, "length"))
    assert lines == ["open", "speculative draft 5", "+ One.\n\nTwo", "finish length"]


def test_if_the_context_of_one_model_is_full_the_other_answers() -> None:
    machine = Delegation(NO_VERIFICATION, thinks=True, max_tokens=100)
    lines = run_with_tokens(machine, ("Thinking on", 3, "length"), ("So.", 1, "stop"))
    assert lines[2:] == [
        "+ Thinking on",
        "close '\\n</think>\\n\\n'",
        "target answer 97",
        "+ So.",
        "finish stop",
    ]


def test_a_target_with_a_full_context_gets_no_more_requests() -> None:
    machine = Delegation(DelegationPolicy.non_reasoning(opening_tokens=0), thinks=False, max_tokens=100)
    lines = run_with_tokens(machine, ("A\n\nb", 3, "stop"), ("", 0, "length"), ("b\n\nwait c\n\nd", 9, "stop"))
    assert lines == [
        "speculative draft 100",
        "+ A\n\n",
        "- b",
        "target trigger 20",
        "speculative draft 97",
        "+ b\n\nwait c\n\nd",
        "finish stop",
    ]


def test_tokens_kept_never_exceed_the_limit() -> None:
    machine = Delegation(NO_VERIFICATION, thinks=True, max_tokens=10)
    machine.start()
    machine.receive("One. ", 4)
    commands = machine.receive("\n\nwait now", 3)
    # Two of the ten characters are kept, so one of the three tokens is kept, and 5 of 10 tokens are left.
    assert transcript(commands)[-1] == "target reflection 5 (wait)"
    machine.receive("Hm. ", 5)
    assert transcript(machine.end("length")) == ["+  ", "finish length"]
