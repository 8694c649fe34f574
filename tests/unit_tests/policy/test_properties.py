"""Properties that hold for every text, and for every split into chunks."""

from __future__ import annotations

from itertools import accumulate, cycle, pairwise, takewhile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_spec_thinking.policy import (
    AllOf,
    AnyOf,
    CueTrigger,
    Delegation,
    DelegationPolicy,
    FirstTokenEntropy,
    Lexicon,
    NoTakeovers,
    RandomTrigger,
    ScoreAndAccept,
    TargetLeads,
)
from langchain_spec_thinking.policy.commands import (
    CloseThinking,
    Command,
    Commit,
    Drop,
    EndReason,
    Finish,
    Generate,
    Insert,
)
from langchain_spec_thinking.policy.endings import Terminators, cut_at_word, last_word_start
from langchain_spec_thinking.policy.triggers import NO_CUES
from tests.unit_tests.policy.policy_runs import Stream, run_policy, transcript

if TYPE_CHECKING:
    from collections.abc import Callable

FRAGMENTS = (
    ["\n", "\n\n", " ", "\t", "\n \n", ". ", "a", " so", "Wait", " wait", ",", " hold", " on", "check", "ing", "yes"]
    + [
        "</think>",
        "</thi",
        "<think>",
        "<",
        "STOP",
        "ST",
        "OP\n",
        "\n\nObs",
        "ervation:",
        "x" * 30,
        "步骤",
        "🤖",
        "eyes",
    ]
    + ["final answer", " alternatively ", "7", "2"]
)
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)
FLAT, PEAKED = (-2.0,) * 4, (-0.1, -5.0)


def stream(text: str, reason: EndReason, tokens: list[int], surprising: list[bool]) -> Stream:
    """Return a stream whose tokens have the given lengths and the given surprise.

    Both lists repeat until the text ends. A surprising token has a flat distribution, any other a peaked one.
    """
    starts = takewhile(lambda at: at < len(text), accumulate(cycle(tokens), initial=0)) if tokens else ()
    return Stream(text, reason, dict(zip(starts, cycle(FLAT if s else PEAKED for s in surprising), strict=False)))


STREAMS = st.lists(
    st.builds(
        stream,
        TEXTS,
        st.sampled_from(["stop", "length", "length"]),
        st.lists(st.integers(1, 6), max_size=4),
        st.lists(st.booleans(), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=12,
)
LEXICONS = st.builds(
    Lexicon,
    verification=st.sampled_from([("check", "verify"), ()]),
    reflection=st.sampled_from([("wait", "hold on", "hold", "check"), ("alternatively",)]),
    substrings=st.booleans(),
)
SIMPLE = st.one_of(
    st.builds(CueTrigger, LEXICONS),
    st.builds(RandomTrigger, st.sampled_from([0, 0.5, 1]), st.integers(0, 9), st.one_of(LEXICONS, st.just(NO_CUES))),
    st.builds(FirstTokenEntropy, st.sampled_from([0, 1.0]), lexicon=st.one_of(LEXICONS, st.just(NO_CUES))),
    st.builds(ScoreAndAccept, st.sampled_from([0, 5, 10])),
    st.just(NoTakeovers()),
)
LEADING = st.builds(TargetLeads, st.sampled_from([("so", "wait"), ("hold", "hold on", "alternatively")]))
COMBINED = st.sampled_from([AnyOf, AllOf])
TRIGGERS = st.one_of(
    SIMPLE,
    LEADING,
    st.builds(lambda kind, members: kind(*members), COMBINED, st.lists(SIMPLE, min_size=2, max_size=3)),
    st.builds(
        lambda outer, inner, members: outer(inner(*members[1:]), members[0]),
        COMBINED,
        COMBINED,
        st.lists(SIMPLE, min_size=2, max_size=3),
    ),
    st.builds(lambda kind, members: kind(*members), COMBINED, st.lists(LEADING, min_size=2, max_size=2)),
)
POLICIES = st.builds(
    DelegationPolicy,
    trigger=TRIGGERS,
    takeover_tokens=st.sampled_from([1, 4, 20, None, "rest"]),
    reflection_limit=st.integers(1, 3),
    recap_sentence=st.sampled_from(["Let me look back:", ""]),
    opening_tokens=st.sampled_from([0, 100]),
    takeover_every_boundary=st.booleans(),
    boundary=st.sampled_from(["\n\n", "\n", ". ", "STOP"]),
)
MACHINES = st.builds(
    lambda **kwargs: lambda: Delegation(max_tokens=10**9, **kwargs),
    policy=POLICIES,
    thinks=st.booleans(),
    answer_by=st.sampled_from(["speculative", "target"]),
    stop=st.sampled_from([(), ("STOP",), ("\n\nObservation:", "\n"), ("OP", "STOP\n", "P")]),
)


def cut(data: st.DataObject) -> Callable[[str], list[str]]:
    def split(text: str) -> list[str]:
        cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)) | {0, len(text)})
        return [text[a:b] for a, b in pairwise(cuts)]

    return split


@given(st.data(), MACHINES, STREAMS)
@settings(max_examples=500, deadline=None)
def test_any_split_gives_the_same_commands(
    data: st.DataObject, machine: Callable[[], Delegation], streams: list[Stream]
) -> None:
    expected = decisions(run_policy(machine(), streams))
    assert decisions(run_policy(machine(), streams, cut(data))) == expected
    assert decisions(run_policy(machine(), streams, list)) == expected


@pytest.mark.parametrize(("boundary", "text", "tokens"), [("\n\n", "\n\n\na\n\n", [2]), ("STOP", "STOPaSTOP", [5, 4])])
def test_the_token_of_a_boundary_is_not_a_first_token(boundary: str, text: str, tokens: list[int]) -> None:
    """The token of the step's only word begins in the boundary before it. The next token is the boundary after it."""

    def machine() -> Delegation:
        policy = DelegationPolicy(FirstTokenEntropy(0), boundary=boundary)
        return Delegation(policy, thinks=False, max_tokens=10**9)

    streams = [stream(text, "stop", tokens, [True])]
    whole = decisions(run_policy(machine(), streams, lambda all_: [all_]))
    assert decisions(run_policy(machine(), streams, list)) == whole
    assert not any(decision.startswith("target") for decision in whole)


@given(st.data(), MACHINES, STREAMS)
@settings(max_examples=500, deadline=None)
def test_text_is_neither_lost_nor_doubled(
    data: st.DataObject, machine: Callable[[], Delegation], streams: list[Stream]
) -> None:
    """The committed, dropped and markup text of each stream, in this order, is the received text."""
    received: list[str] = []
    commands = run_policy(machine(), streams, cut(data), received)
    accounted = by_stream(commands)
    if isinstance(commands[-1], Generate) and commands[-1].kind == "score":
        received.pop()  # the step is still held, because no stream with a score is left
    assert [without_markup(text) for text in received] == [without_markup(text) for text in accounted[: len(received)]]


@given(MACHINES, STREAMS)
@settings(max_examples=500, deadline=None)
def test_a_turn_ends_once_and_answers_after_thinking(machine: Callable[[], Delegation], streams: list[Stream]) -> None:
    commands = run_policy(machine(), streams)
    assert [isinstance(command, Finish) for command in commands].count(True) <= 1
    assert not any(isinstance(command, Finish) for command in commands[:-1])
    closed = [i for i, command in enumerate(commands) if isinstance(command, CloseThinking)]
    assert len(closed) <= 1
    for command in commands[closed[0] :] if closed else []:
        assert not isinstance(command, Insert)
        assert not isinstance(command, (Commit, Generate)) or command.kind == "answer"


@given(TEXTS, st.sets(st.sampled_from(["STOP", "OP", "TOPS", "\n\n", "</think>"]), min_size=1))
def test_text_before_the_partial_length_cannot_become_a_terminator(text: str, strings: set[str]) -> None:
    terminators = Terminators(tuple(strings))
    partial_length = terminators.partial_length(text)
    for string in strings:
        for size in range(partial_length + 1, len(string)):
            assert not text.endswith(string[:size])


@given(TEXTS)
def test_a_text_is_cut_at_a_word_or_not_at_all(text: str) -> None:
    cut = last_word_start(text)
    assert cut == len(text) or cut == 0 or text[cut] in " \t" or text[cut - 1] == "\n"
    assert not any(letter.isspace() for letter in text[cut + 1 :])
    kept = cut_at_word(text)
    assert kept in {cut, len(text)}


def decisions(commands: list[Command]) -> list[str]:
    """Return the transcript without dropped text, because larger chunks bring more text after a decision."""
    return [line for line in transcript(commands) if not line.startswith("- ")]


def by_stream(commands: list[Command]) -> list[str]:
    """Join the texts of commits and drops between one `Generate` and the next.

    A drop belongs to the stream that it ends. A scored step is committed or dropped while the stream of the target
    model runs, but it belongs to the stream before. The text after the step in that stream was dropped earlier.
    """
    streams: list[str] = []
    score, rest = False, ""
    for before, command in pairwise([None, *commands]):
        if isinstance(command, Generate):
            if score:
                streams[-2] += rest
            score, rest = command.kind == "score", ""
            if score and isinstance(before, Drop):
                rest = before.text
                streams[-1] = streams[-1].removesuffix(rest)
            streams.append("")
        elif isinstance(command, (Commit, Drop)):
            streams[-2 if score and command.author == "speculative" else -1] += command.text
    if score:
        streams[-2] += rest
    return streams


def without_markup(text: str) -> str:
    """Remove think tags and all white space, because white space around a tag is markup too."""
    return "".join(text.replace("<think>", "").replace("</think>", "").split())
