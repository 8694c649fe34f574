"""`DelegationPolicy.paper()`: each point in which the reference implementation differs from the default policy."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_spec_thinking.policy import (
    CueTrigger,
    Delegation,
    DelegationPolicy,
    RandomTrigger,
    ReferenceRules,
)
from langchain_spec_thinking.policy.commands import CloseThinking, Drop, Finish
from langchain_spec_thinking.policy.data import as_data, policy_from_data
from langchain_spec_thinking.policy.thinking_limit import ThinkingLimit
from tests.unit_tests.policy.policy_runs import LENGTH, Stream, run_policy, transcript
from tests.unit_tests.policy.test_properties import LEXICONS, STREAMS, by_stream, cut, decisions, without_markup

if TYPE_CHECKING:
    from collections.abc import Callable


def _rules(**values: bool) -> ReferenceRules:
    return ReferenceRules(**{**values, "whole_drafts": values["whole_drafts"] or values["keep_agreeing_drafts"]})


RULES = st.builds(_rules, **{field.name: st.booleans() for field in fields(ReferenceRules)})
POLICIES = st.builds(
    DelegationPolicy,
    trigger=st.builds(CueTrigger, LEXICONS),
    takeover_tokens=st.sampled_from([1, 4, 20, 200]),
    takeover_interval=st.sampled_from([0, 10]),
    reflection_limit=st.integers(1, 3),
    recap_sentence=st.sampled_from(["Let me look back:", ""]),
    opening_tokens=st.sampled_from([0, 10]),
    takeover_every_boundary=st.booleans(),
    boundary=st.sampled_from(["\n\n", "\n", ". ", "STOP"]),
    reference_rules=RULES,
)
MACHINES = st.builds(
    lambda **keywords: lambda: Delegation(**keywords),
    max_tokens=st.sampled_from([40, 300, 10**9]),
    policy=POLICIES,
    thinks=st.booleans(),
    answer_by=st.sampled_from(["speculative", "target"]),
    stop=st.sampled_from([(), ("STOP",), ("\n\nObservation:", "\n"), ("OP", "STOP\n", "P")]),
    thinking_limit=st.sampled_from([ThinkingLimit(), ThinkingLimit(30, 40)]),
)


@given(st.data(), MACHINES, STREAMS)
@settings(max_examples=500, deadline=None)
def test_any_split_gives_the_same_commands(
    data: st.DataObject, machine: Callable[[], Delegation], streams: list[Stream]
) -> None:
    """Each character is a token."""
    expected = decisions(run_policy(machine(), streams, counted=True))
    assert decisions(run_policy(machine(), streams, cut(data), counted=True)) == expected
    assert decisions(run_policy(machine(), streams, list, counted=True)) == expected


@given(st.data(), POLICIES, st.booleans(), STREAMS)
@settings(max_examples=200, deadline=None)
def test_text_is_neither_lost_nor_doubled(
    data: st.DataObject, policy: DelegationPolicy, thinks: bool, streams: list[Stream]
) -> None:
    """A draft that waits for a takeover is left out here: it belongs to the stream before."""
    rules = replace(policy.reference_rules, keep_agreeing_drafts=False)
    machine = Delegation(replace(policy, reference_rules=rules), thinks=thinks, max_tokens=10**9)
    received: list[str] = []
    commands = run_policy(machine, streams, cut(data), received)
    accounted = by_stream(commands)
    assert [without_markup(text) for text in received] == [without_markup(text) for text in accounted[: len(received)]]


@given(MACHINES, STREAMS)
@settings(max_examples=200, deadline=None)
def test_a_turn_ends_once_within_its_tokens(machine: Callable[[], Delegation], streams: list[Stream]) -> None:
    """A transition that is not in the table is an error, so this also checks the table."""
    commands = run_policy(machine(), streams, counted=True)
    ends = [at for at, command in enumerate(commands) if isinstance(command, Finish)]
    assert len(ends) <= 1
    assert all(isinstance(command, Drop) for at in ends for command in commands[at + 1 :])
    assert sum(isinstance(command, CloseThinking) for command in commands) <= 1


def run(policy: DelegationPolicy, *streams: Stream | str, **settings: Any) -> list[str]:
    """Run a turn in which each character is a token. Leave out the beginning, which is the same in every turn."""
    machine = Delegation(**{"policy": policy, "thinks": True, "max_tokens": 1000, **settings})
    lines = transcript(run_policy(machine, streams, counted=True))
    return lines[1 + (lines[0] == "open") :]


def paper(takeover_tokens: int, *, choose_large: bool = True, **settings: Any) -> DelegationPolicy:
    return DelegationPolicy.paper(choose_large=choose_large, takeover_tokens=takeover_tokens, **settings)


def agreeing(takeover_tokens: int) -> DelegationPolicy:
    return paper(takeover_tokens, choose_large=False)


CASES: list[Any] = [
    pytest.param(
        paper(20),
        ["One.\n\nNo.\n\nYou check it now."],
        ["+ One.\n\n", "- No.\n\nYou check it now.", "target reflection 20 (check)"],
        id="a draft goes on across a boundary",
    ),
    pytest.param(
        paper(13),
        ["One.\n\nNo.\n\nYou can check"],
        ["+ One.\n\nNo.\n\n", "- You can check", "target reflection 13 (check)"],
        id="a boundary inside a draft that is kept is a boundary too",
    ),
    pytest.param(
        paper(4),
        ["One.\n\nSo wait"],
        ["+ One.\n\nSo wait", "close '\\n</think>\\n\\n'", "speculative answer 987"],
        id="a cue that is not complete within the draft does not count",
    ),
    pytest.param(
        paper(9),
        ["One.\n\nWait, yes yes, I think"],
        ["+ One.\n\n", "- Wait, yes yes, I think", "target reflection 9 (wait)"],
        id="as many reflections as affirmations in a draft are a reflection",
    ),
    pytest.param(
        paper(13),
        ["One.\n\nWait, yes yes, I think"],
        ["+ One.\n\n", "- Wait, yes yes, I think", "target affirmation 13 (wait)"],
        id="the more frequent class in the whole draft counts",
    ),
    pytest.param(
        paper(20),
        ["One.\n\nMy eyes"],
        ["+ One.\n\n", "- My eyes", "target affirmation 20 (yes)"],
        id="a cue may be a part of a word",
    ),
    pytest.param(
        paper(4),
        ["One.\n\n  Wait"],
        ["+ One.\n\n  Wait", "close '\\n</think>\\n\\n'", "speculative answer 988"],
        id="indentation counts as a part of the draft",
    ),
    pytest.param(
        paper(6),
        ["One.\n\n  Wait"],
        ["+ One.\n\n", "-   Wait", "target reflection 6 (wait)"],
        id="the takeover begins at the boundary, without the indentation of the draft",
    ),
    pytest.param(
        paper(5),
        ["One.\n\nWait,", "Let me", "t it", "A"],
        ["+ One.\n\n", "- Wait,", "target reflection 5 (wait)", "+ Let m", "speculative draft 989", "+ t it"]
        + ["close '\\n</think>\\n\\n'", "speculative answer 985", "+ A", "finish stop"],
        id="a takeover ends after its tokens, also inside a word",
    ),
    pytest.param(
        paper(5),
        ["One.\n\nWait,", Stream("No.\n\n", LENGTH), "Wait,\n\nWait,"],
        ["+ One.\n\n", "- Wait,", "target reflection 5 (wait)", "+ No.\n\n", "speculative draft 989", "+ Wait,\n\n"]
        + ["- Wait,", "target reflection 5 (wait)"],
        id="a boundary at the end of a takeover does not count",
    ),
    pytest.param(
        paper(5),
        ["One.\n\nWait,", Stream("Eins\n", LENGTH), "\nWait,"],
        ["+ One.\n\n", "- Wait,", "target reflection 5 (wait)", "+ Eins\n", "speculative draft 989", "+ \n"]
        + ["- Wait,", "target reflection 5 (wait)"],
        id="a boundary that the small model completes after a takeover counts",
    ),
    pytest.param(
        paper(5),
        ["One.</think>\n\nWait,", Stream("No.\n\n", LENGTH), "So."],
        ["+ One.", "close '</think>\\n\\n'", "- Wait,", "target reflection 5 (wait)", "+ No.\n\n"]
        + ["speculative draft 981", "+ So.", "finish stop"],
        id="takeovers happen in the answer, also at its start",
    ),
    pytest.param(
        paper(20),
        ["One.\n\nSo.</think>\n\nYes, four", "No."],
        ["+ One.\n\n", "- So.</think>\n\nYes, four", "target affirmation 20 (yes)", "+ No."]
        + ["close '\\n</think>\\n\\n'", "speculative answer 991"],
        id="a draft goes on across the end of the thought, which a takeover then replaces",
    ),
    pytest.param(
        paper(15),
        ["One.\n\nSo.</think>\n\nOf course"],
        ["+ One.\n\nSo.", "close '</think>\\n\\n'", "+ Of course", "finish stop"],
        id="a draft that is kept may end the thought",
    ),
    pytest.param(
        paper(20),
        ["One.\n\nWait, I must see again.", "No.</think>\n\nA b", " c."],
        ["+ One.\n\n", "- Wait, I must see again.", "target reflection 20 (wait)", "+ No.", "close '</think>\\n\\n'"]
        + ["+ A b", "finish stop"],
        id="the large model may close the thought in a takeover, and goes on in the answer",
    ),
    pytest.param(
        paper(15),
        ["One.\n\nWait, I must see", Stream("No.</think>\n\nAb", LENGTH), "c."],
        ["+ One.\n\n", "- Wait, I must see", "target reflection 15 (wait)", "+ No.", "close '</think>\\n\\n'", "+ Ab"]
        + ["speculative draft 979", "+ c.", "finish stop"],
        id="a takeover that closed the thought still ends after its tokens",
    ),
    pytest.param(
        agreeing(5),
        ["One.\n\nWait, no", "waits", " so"],
        ["+ One.\n\n", "-  no", "target reflection 5 (wait)", "- waits", "+ Wait,", "speculative draft 989", "+  so"]
        + ["close '\\n</think>\\n\\n'", "speculative answer 986"],
        id="choose_large=False: a draft of the same class is kept, up to its last token",
    ),
    pytest.param(
        agreeing(5),
        ["One.\n\nWait, no", Stream("yes, ", LENGTH), "so"],
        ["+ One.\n\n", "-  no", "target reflection 5 (wait)", "- ", "+ yes, ", "speculative draft 989", "+ so"]
        + ["close '\\n</think>\\n\\n'", "speculative answer 987"],
        id="choose_large=False: a draft of another class is replaced",
    ),
    pytest.param(
        agreeing(5),
        ["One.\n\nWait, no", Stream("I see", LENGTH), "so"],
        ["+ One.\n\n", "-  no", "target reflection 5 (wait)", "- ", "+ I see", "speculative draft 989", "+ so"]
        + ["close '\\n</think>\\n\\n'", "speculative answer 987"],
        id="choose_large=False: a takeover without a cue replaces the draft",
    ),
    pytest.param(
        agreeing(6),
        ["One.\n\ncheck, no", "wait, ", "sure"],
        [
            "+ One.\n\n",
            "-  no",
            "target reflection 6 (check)",
            "- wait, ",
            "+ check,",
            "target verification 125 (check)",
        ]
        + ["+ sure", "close '\\n</think>\\n\\n'", "speculative answer 984"],
        id="choose_large=False: after a draft that is kept and verifies, the large model continues",
    ),
    pytest.param(
        agreeing(6),
        ["One.\n\nWait", Stream("", LENGTH), " so.\n\nWait."],
        ["+ One.\n\n", "target reflection 6 (wait)", "+ Wait", "speculative draft 990", "+  so.\n\nWait."]
        + ["close '\\n</think>\\n\\n'", "speculative answer 979"],
        id="choose_large=False: if the context of the large model is full, the draft is kept and takeovers stop",
    ),
    pytest.param(
        agreeing(14),
        ["One.\n\nWait.</think>A", "Wait once more", "</think>A"],
        [
            "+ One.\n\n",
            "- </think>A",
            "target reflection 14 (wait)",
            "- Wait once more",
            "+ Wait.",
            "speculative draft 989",
        ]
        + ["close '</think>'", "+ A", "finish stop"],
        id="choose_large=False: a draft is kept up to the end of the thought, which the small model writes again",
    ),
    pytest.param(
        paper(5, choose_large=False, reflection_limit=1, recap_sentence="Hm:", recap_tokens=7),
        ["One.\n\nWait, no", "Wait, ", "so.\n\nTwo"],
        [
            "+ One.\n\n",
            "-  no",
            "target reflection 5 (wait)",
            "- Wait,",
            "+ Wait,",
            "speculative draft 989",
            "+ so.\n\n",
        ]
        + ["- Two", "insert Hm:", "target excessive_reflection 7"],
        id="choose_large=False: a draft that is kept and reflects counts as a reflection",
    ),
    pytest.param(
        DelegationPolicy.paper(takeover_every_boundary=True, takeover_tokens=5),
        ["One.\n\nT", Stream("Two.\n", LENGTH), "\nS", Stream("So.\n\n", LENGTH), "Done"],
        [
            "+ One.\n\n",
            "- T",
            "target trigger 5",
            "+ Two.\n",
            "speculative draft 989",
            "+ \n",
            "- S",
            "target trigger 5",
        ]
        + ["+ So.\n\n", "speculative draft 983", "+ Done", "close '\\n</think>\\n\\n'", "speculative answer 979"],
        id="if the large model begins every paragraph, no draft is waited for",
    ),
]


@pytest.mark.parametrize(("policy", "streams", "expected"), CASES)
def test_the_rules_of_the_reference(policy: DelegationPolicy, streams: list[Any], expected: list[str]) -> None:
    assert run(policy, *streams) == expected


def test_a_takeover_ends_after_its_tokens_on_a_billed_target_too() -> None:
    lines = run(paper(5), "One.\n\nWait,", "Let me", finish_words=True)
    assert lines[2:4] == ["target reflection 5 (wait)", "+ Let m"]


@pytest.mark.parametrize("settings", [{"answer_by": "target"}, {"structured_answer": True}], ids=str)
def test_one_model_writes_the_answer_if_it_is_asked_to(settings: dict[str, Any]) -> None:
    lines = run(paper(5), "One.</think>\n\nA", "Two.\n\nWait, so", **settings)
    assert lines[-2:] == ["+ Two.\n\nWait, so", "finish stop"]
    assert not any("reflection" in line for line in lines)


def _wrong(**values: Any) -> dict[str, Any]:
    """Return arguments whose types are wrong."""
    return values


def test_the_default_follows_none_of_the_rules() -> None:
    assert DelegationPolicy().reference_rules == ReferenceRules()
    assert not any(getattr(ReferenceRules(), field.name) for field in fields(ReferenceRules))


@pytest.mark.parametrize("policy", [paper(20), agreeing(20), paper(30, opening_tokens=100)])
def test_a_file_holds_the_rules(policy: DelegationPolicy) -> None:
    assert policy_from_data(as_data(policy)) == policy  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ReferenceRules(**_wrong(in_answer=1)), "in_answer: expected True or False, got 1"),
        (lambda: ReferenceRules(keep_agreeing_drafts=True), "expected whole_drafts=True too"),
        (lambda: DelegationPolicy.paper(**_wrong(choose_large=None)), "choose_large: expected True or False, got None"),
        (lambda: DelegationPolicy.paper(trigger=RandomTrigger(0.5)), "need a CueTrigger .* got RandomTrigger"),
        (lambda: DelegationPolicy.paper(takeover_tokens="rest"), "got CueTrigger and takeover_tokens='rest'"),
        (lambda: DelegationPolicy.paper(takeover_tokens=None), "takeover_tokens=None"),
        (lambda: DelegationPolicy(**_wrong(reference_rules=True)), r"expected ReferenceRules\(...\), got True"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
