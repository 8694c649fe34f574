"""How long takeovers are, and how far apart: the rest, the interval, and the end at white space."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_spec_thinking.policy import (
    Delegation,
    DelegationPolicy,
    FirstTokenEntropy,
    RandomTrigger,
    ScoreAndAccept,
    TargetLeads,
)
from langchain_spec_thinking.policy.commands import Commit, Generate
from langchain_spec_thinking.policy.takeover_text import WORD_TOKENS
from langchain_spec_thinking.policy.thinking_limit import ThinkingLimit
from tests.unit_tests.policy.policy_runs import LENGTH, NO_VERIFICATION, Stream, run_policy, transcript
from tests.unit_tests.policy.test_properties import POLICIES, STREAMS, cut, decisions, stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_spec_thinking.policy.commands import Command

REST: Any = {"takeover_tokens": "rest"}
CLOSED = "close '</think>\\n\\n'"
TAKES_REST = "target reflection 994 (wait)"
ANSWERED = [CLOSED, "speculative answer 983", "+ A", "finish stop"]
REST_OF_PIECE = "- "
"""Tokens of a piece that were not examined any more. A model whose pieces are single tokens has none."""
FIVE = DelegationPolicy(NO_VERIFICATION.trigger, takeover_tokens=5)


def run(*streams: Any, **settings: Any) -> list[str]:
    """Run a turn in which each character is a token."""
    defaults = {"policy": DelegationPolicy(**REST), "thinks": True, "max_tokens": 1000}
    lines = transcript(run_policy(Delegation(**{**defaults, **settings}), streams, counted=True))
    return lines[1 + (lines[0] == "open") :]


CASES: list[Any] = [
    pytest.param(
        ["One.\n\nWait,", "No.\n\nWait, I check. Yes.</think>\n\nA", "A"],
        {},
        ["+ One.\n\n", "- Wait,", TAKES_REST, "+ No.\n\nWait, I check. Yes.", "- \n\nA", CLOSED]
        + ["speculative answer 962", "+ A", "finish stop"],
        id="the rest: the large model writes to the end of the thought, and the small model the answer",
    ),
    pytest.param(
        ["One.\n\nWait,", "No.\n\nYes.</think>\n\nA"],
        {"answer_by": "target"},
        ["+ One.\n\n", "- Wait,", TAKES_REST, "+ No.\n\nYes.", CLOSED, "+ A", "finish stop"],
        id="the rest: if the large model writes the answer, it does so in the same request",
    ),
    pytest.param(
        ["One.\n\nWait,", "No.\n\nYes.\n\nWait, A"],
        {"thinks": False},
        ["+ One.\n\n", "- Wait,", TAKES_REST, "+ No.\n\nYes.\n\nWait, A", "finish stop"],
        id="the rest: without a thought, it is the rest of the answer",
    ),
    pytest.param(
        ["One.\n\nWait,", Stream("No.\n\nYes", LENGTH), "A"],
        {},
        ["+ One.\n\n", "- Wait,", TAKES_REST, "+ No.\n\nYes", "close '\\n</think>\\n\\n'", "speculative answer 986"]
        + ["+ A", "finish stop"],
        id="the rest: if the context of the large model is full, the small model answers",
    ),
    pytest.param(
        ["One.\n\nI am sure.", "No.</think>", "A"],
        {"policy": DelegationPolicy(RandomTrigger(1), **REST)},
        ["+ One.\n\n", "- I am sure.", "target trigger 994", "+ No.", *ANSWERED],
        id="the rest: a random trigger",
    ),
    pytest.param(
        [stream("One.\n\nSo", "stop", [1], [True]), "No.</think>", "A"],
        {"policy": DelegationPolicy(FirstTokenEntropy(1.0), **REST)},
        ["+ One.\n\n", "- S", "target trigger 994", "+ No.", *ANSWERED],
        id="the rest: the entropy of the first token",
    ),
    pytest.param(
        ["One.\n\nTwo.\n\nThree", "4", "No.\n\nYes.</think>", "A"],
        {"policy": DelegationPolicy(ScoreAndAccept(5), **REST)},
        ["+ One.\n\n", "- Three", "target score 4", "- 4", "- Two.\n\n", "target trigger 994 (4)", "+ No.\n\nYes."]
        + [CLOSED, "speculative answer 977", "+ A", "finish stop"],
        id="the rest: a score that is too low",
    ),
    pytest.param(
        ["One.\n\nWait,", "No.\n\nSo.</think>\n\nA"],
        {"policy": DelegationPolicy(TargetLeads(("wait",)), **REST)},
        ["+ One.\n\nWait", "- ,", "speculative relay 990 (wait)", "+ No.\n\nSo.", CLOSED, "+ A", "finish stop"],
        id="the rest: if the large model leads, the small model writes the rest",
    ),
    pytest.param(
        ["One.\n\nI verify", "No.\n\nSo.</think>\n\nA", "A"],
        {"policy": DelegationPolicy(takeover_every_boundary=True, opening_tokens=4, **REST)},
        ["+ One.", "speculative draft 996", "+ No.\n\n", "- So.</think>\n\nA", "target trigger 991", "+ A"]
        + ["close '\\n</think>\\n\\n'", "speculative answer 990"],
        id="the rest: an opening keeps its length",
    ),
    pytest.param(
        ["One.\n\nWait,", Stream("No.\n\n", LENGTH), "Wait.\n\nWait. Wait. Wait.\n\nWait,", Stream("No.\n\n", LENGTH)],
        {"policy": DelegationPolicy(takeover_interval=20)},
        ["+ One.\n\n", "- Wait,", "target reflection 20 (wait)", "+ No.\n\n", "speculative draft 989"]
        + [
            "+ Wait.\n\nWait. Wait. Wait.\n\n",
            "- Wait,",
            "target reflection 20 (wait)",
            "+ No.\n\n",
            "speculative draft 958",
        ],
        id="the interval: a cue that comes too early after a takeover does not count",
    ),
    pytest.param(
        ["One.\n\nWait,", "Let me see it"],
        {"policy": FIVE, "finish_words": True},
        ["+ One.\n\n", "- Wait,", "target reflection 13 (wait)", "+ Let me", "-  see it", "speculative draft 988"],
        id="white space: a word at the limit is finished",
    ),
    pytest.param(
        ["One.\n\nWait,", "Let \nme"],
        {"policy": DelegationPolicy(NO_VERIFICATION.trigger, takeover_tokens=4), "finish_words": True},
        [
            "+ One.\n\n",
            "- Wait,",
            "target reflection 12 (wait)",
            "+ Let",
            "-  ",
            "speculative draft 991",
            REST_OF_PIECE,
        ],
        id="white space: if the limit is reached at white space, the takeover ends there",
    ),
    pytest.param(
        ["One.\n\nWait,", Stream("Let misunderstandings", LENGTH)],
        {"policy": FIVE, "finish_words": True},
        ["+ One.\n\n", "- Wait,", "target reflection 13 (wait)", "+ Let", "-  misunders", "speculative draft 991"],
        id="white space: a word is not waited for without end",
    ),
    pytest.param(
        ["One.\n\nWait,", "3.14\nme"],
        {"policy": DelegationPolicy(NO_VERIFICATION.trigger, takeover_tokens=2), "finish_words": True},
        ["+ One.\n\n", "- Wait,", "target reflection 10 (wait)", "+ 3.14\n", "- me", "speculative draft 989"],
        id="white space: a number is not cut at its point, and a newline belongs to its line",
    ),
]


@pytest.mark.parametrize(("streams", "settings", "expected"), CASES)
def test_takeovers(streams: list[Any], settings: dict[str, Any], expected: list[str]) -> None:
    assert run(*streams, **settings) == expected


LIMITS = st.builds(lambda soft, slack: ThinkingLimit(soft, soft + slack), st.integers(1, 60), st.integers(0, 30))
MACHINES = st.builds(
    lambda **keywords: lambda: Delegation(**keywords),
    policy=st.builds(
        lambda policy, interval: replace(policy, takeover_interval=interval), POLICIES, st.sampled_from([0, 0, 7, 40])
    ),
    thinks=st.booleans(),
    answer_by=st.sampled_from(["speculative", "target"]),
    max_tokens=st.sampled_from([30, 200, 10**9]),
    stop=st.sampled_from([(), ("STOP",), ("OP", "STOP\n", "P")]),
    thinking_limit=st.one_of(st.just(ThinkingLimit()), LIMITS),
    finish_words=st.booleans(),
)


@given(st.data(), MACHINES, STREAMS)
@settings(max_examples=300, deadline=None)
def test_any_split_gives_the_same_commands(
    data: st.DataObject, machine: Callable[[], Delegation], streams: list[Stream]
) -> None:
    """The law of `test_properties.py`, for rules that count tokens: each character is a token."""
    expected = decisions(run_policy(machine(), streams, counted=True))
    assert decisions(run_policy(machine(), streams, cut(data), counted=True)) == expected
    assert decisions(run_policy(machine(), streams, list, counted=True)) == expected


URGED = STREAMS.map(lambda streams: [Stream(f"a\n\nwait {one.text}", one.reason) for one in streams])
"""Streams in which a takeover is likely."""


def takeovers(commands: list[Command]) -> list[int]:
    """Return the places of the takeovers: requests to the other model than the one that leads."""
    kinds = {"affirmation", "reflection", "trigger", "relay", "verification", "excessive_reflection"}
    return [at for at, command in enumerate(commands) if isinstance(command, Generate) and command.kind in kinds]


@given(POLICIES, st.booleans(), URGED)
@settings(max_examples=300, deadline=None)
def test_after_the_rest_only_an_answer_is_requested(
    policy: DelegationPolicy, thinks: bool, streams: list[Stream]
) -> None:
    machine = Delegation(replace(policy, **REST), thinks=thinks, max_tokens=10**6)
    commands = run_policy(machine, streams, counted=True)
    for taken in takeovers(commands):
        later = [command.kind for command in commands[taken + 1 :] if isinstance(command, Generate)]
        assert set(later) <= {"answer"}


@given(POLICIES, st.integers(1, 60), URGED)
@settings(max_examples=300, deadline=None)
def test_takeovers_keep_their_distance(policy: DelegationPolicy, interval: int, streams: list[Stream]) -> None:
    machine = Delegation(replace(policy, takeover_interval=interval), thinks=True, max_tokens=10**6)
    commands = run_policy(machine, streams, counted=True)
    requests = [at for at, command in enumerate(commands) if isinstance(command, Generate)]
    for taken, following in pairwise(takeovers(commands)):
        back = next(at for at in requests if at > taken)
        if back != following:  # else the sentence of the takeover verifies, and the same takeover goes on
            kept = sum(command.tokens for command in commands[back:following] if isinstance(command, Commit))
            assert kept >= interval


@given(st.lists(st.text("ab \n,", max_size=30), min_size=1, max_size=4), st.integers(1, 12))
@settings(max_examples=300, deadline=None)
def test_a_takeover_ends_at_white_space_and_not_before_its_limit(words: list[str], limit: int) -> None:
    text = "x" + " ".join(words)
    policy = DelegationPolicy(NO_VERIFICATION.trigger, takeover_tokens=limit)
    machine = Delegation(policy, thinks=True, max_tokens=10**6, finish_words=True)
    commands = run_policy(machine, ["One.\n\nWait,", Stream(text, LENGTH)], counted=True)
    (taken,) = takeovers(commands)
    kept = "".join(command.text for command in commands[taken:] if isinstance(command, Commit))
    written = text[: limit + WORD_TOKENS]
    assert written.startswith(kept)
    if kept == written or re.search(r"\s", written[limit - 1 :]) is None:
        return  # the stream ended before any white space
    assert text[len(kept)] in " \t" or kept[-1] == "\n"
    assert len(kept.rstrip()) >= len(text[:limit].rstrip())
