"""A thought is closed at its limit, at a boundary or at a word, and the answer follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_spec_thinking.policy import Delegation, DelegationPolicy, ScoreAndAccept
from langchain_spec_thinking.policy.commands import CloseThinking, Commit, Generate
from langchain_spec_thinking.policy.thinking_limit import ThinkingLimit
from tests.unit_tests.policy.policy_runs import LENGTH, Stream, as_one_chunk, run_policy, transcript
from tests.unit_tests.policy.test_properties import POLICIES, STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = ThinkingLimit(20, 30)
REST = DelegationPolicy(takeover_tokens="rest")
FORTY = DelegationPolicy(takeover_tokens=40)
ENDLESS = Stream("so it goes " * 1000, LENGTH)
"""A model that never ends its thought, and writes no boundary."""
CLOSED = "close '</think>\\n\\n'"
REST_OF_PIECE = "- "
"""Tokens of a piece that were not examined any more. A model whose pieces are single tokens has none."""


def run(*streams: Any, **settings: Any) -> list[str]:
    """Run a turn in which each character is a token."""
    defaults = {"policy": DelegationPolicy(), "thinks": True, "max_tokens": 1000, "thinking_limit": LIMIT}
    opening, _, *lines = transcript(run_policy(Delegation(**{**defaults, **settings}), streams, counted=True))
    return lines if opening == "open" else [_, *lines]


CASES: list[Any] = [
    pytest.param(
        ["One step of a thought.\n\nTwo.\n\nThree."],
        {},
        ["+ One step of a thought.\n\n", "- Two.\n\n", CLOSED, "speculative answer 976", REST_OF_PIECE],
        id="at the first boundary after the soft limit",
    ),
    pytest.param(
        ["One step of a thought that goes on."],
        {},
        [
            "+ One step of a thought that",
            "-  goe",
            "close '\\n</think>\\n\\n'",
            "speculative answer 974",
            REST_OF_PIECE,
        ],
        id="at the end of a word if no boundary comes before the hard limit",
    ),
    pytest.param(
        ["One.\n\nTwo steps of a thought that goes on."],
        {},
        ["+ One.\n\n", "- Two steps of a thought t", CLOSED, "speculative answer 994", REST_OF_PIECE],
        id="at the boundary before a draft that reaches the hard limit",
    ),
    pytest.param(
        ["One step of a th.\n\n</think>\n\nA"],
        {},
        ["+ One step of a th.\n\n", "close '</think>\\n\\n'", "+ A", "finish stop"],
        id="not if its author closes it first",
    ),
    pytest.param(
        ["One.\n\nWait,", "No. It is one and not two, so I stop."],
        {"policy": FORTY},
        [
            "+ One.\n\n",
            "- Wait,",
            "target reflection 40 (wait)",
            "+ No. It is one and not",
            "-  tw",
            "close '\\n</think>\\n\\n'",
            "speculative answer 973",
            REST_OF_PIECE,
        ],
        id="also in a takeover, at the end of a word",
    ),
    pytest.param(
        ["One.\n\nWait,", Stream("No. It is not.\n\n", LENGTH)],
        {"policy": FORTY},
        [
            "+ One.\n\n",
            "- Wait,",
            "target reflection 40 (wait)",
            "+ No. It is not.\n\n",
            CLOSED,
            "speculative answer 978",
        ],
        id="after a takeover that ends at a boundary, without another request to the small model",
    ),
    pytest.param(
        ["One.\n\nWait,", "No. It is not.\n\nSo"],
        {"policy": REST, "answer_by": "target"},
        [
            "+ One.\n\n",
            "- Wait,",
            "target reflection 994 (wait)",
            "+ No. It is not.\n\n",
            "- So",
            CLOSED,
            "target answer 978",
        ],
        id="in the rest that the large model writes, at a boundary",
    ),
    pytest.param(
        ["One.\n\nThis is a step with a score."],
        {"policy": DelegationPolicy(ScoreAndAccept(5))},
        ["+ One.\n\n", "- This is a step with a sc", CLOSED, "speculative answer 994", REST_OF_PIECE],
        id="at the boundary before a step that is too long to be scored",
    ),
    pytest.param(
        ["A long answer follows, with more tokens than a thought may have.\n\nIt has two paragraphs."],
        {"thinks": False},
        ["+ A long answer follows, with more tokens than a thought may have.\n\nIt has two paragraphs.", "finish stop"],
        id="an answer without a thought has no such limit",
    ),
]


@pytest.mark.parametrize(("streams", "settings", "expected"), CASES)
def test_the_thought_is_closed(streams: list[Any], settings: dict[str, Any], expected: list[str]) -> None:
    assert run(*streams, **settings) == expected


@pytest.mark.parametrize(
    ("max_tokens", "thinking_tokens", "expected"),
    [
        (2048, None, (1408, 1536)),
        (32_768, None, (31_616, 31_744)),
        (2048, 400, (400, 450)),
        (32_768, 8000, (8000, 8128)),
        (2048, 1500, (1408, 1536)),
        (2048, 1400, (1400, 1528)),
        (1, None, (1, 1)),
        (10, None, (7, 7)),
    ],
)
def test_a_quarter_of_the_tokens_is_kept_for_the_answer_at_most_1024(
    max_tokens: int, thinking_tokens: int | None, expected: tuple[int, int]
) -> None:
    assert ThinkingLimit.of(max_tokens, thinking_tokens) == expected


@given(
    POLICIES,
    STREAMS,
    st.integers(2, 400),
    st.one_of(st.none(), st.integers(1, 400)),
    st.sampled_from(["speculative", "target"]),
)
@settings(max_examples=300, deadline=None)
def test_an_answer_always_follows_and_has_its_tokens(
    policy: DelegationPolicy, streams: list[Stream], max_tokens: int, thinking_tokens: int | None, answer_by: Any
) -> None:
    limit = ThinkingLimit.of(max_tokens, thinking_tokens)
    machine = Delegation(policy, thinks=True, answer_by=answer_by, max_tokens=max_tokens, thinking_limit=limit)
    commands = run_policy(machine, [*streams, *[ENDLESS] * 400], counted=True)
    closed = next(i for i, command in enumerate(commands) if isinstance(command, CloseThinking))
    thought = sum(command.tokens for command in commands[:closed] if isinstance(command, Commit))
    assert thought <= limit.hard
    answer = next((command for command in commands[closed:] if isinstance(command, Generate)), None)
    if answer:  # else the author of the thought wrote the answer in the same request
        markup = 300  # think tags with white space, in characters
        assert answer.kind == "answer"
        assert answer.max_tokens >= max_tokens - limit.hard - markup


@pytest.mark.parametrize("split", [as_one_chunk, list], ids=["in one piece", "character by character"])
def test_a_thought_that_its_tag_alone_fills_holds_no_text(split: Callable[[str], list[str]]) -> None:
    machine = Delegation(DelegationPolicy(), thinks=False, max_tokens=30, thinking_limit=ThinkingLimit(1, 1))
    lines = transcript(run_policy(machine, ["<think>final answer", "A"], split, counted=True))
    assert [line for line in lines if not line.startswith("- ")] == [
        "speculative draft 30",
        "open",
        "close '</think>\\n\\n'",
        "speculative answer 23",
        "+ A",
        "finish stop",
    ]
