"""Every rule of the policy. Each row of a table has the streams of the models and the expected commands."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_spec_thinking.policy import CueTrigger, Delegation, DelegationPolicy, Lexicon
from langchain_spec_thinking.policy.commands import Commit, Drop
from tests.unit_tests.policy.policy_runs import LENGTH, NO_VERIFICATION, Stream, as_one_chunk, run_policy, transcript

CUT = Stream("Wait, let me see", LENGTH)
"""A takeover that reached its maximum length. Its last word may be incomplete, so it is dropped."""

REASONING: list[Any] = [
    pytest.param(
        {},
        ["One.\n\nTwo.\n</think>\n\nThree."],
        ["open", "speculative draft 1000", "+ One.\n\nTwo.\n", "close '</think>\\n\\n'", "+ Three.", "finish stop"],
        id="without a cue the small model writes alone, in one request",
    ),
    pytest.param(
        {"policy": NO_VERIFICATION},
        ["One.\n\nWait, no.", CUT, " on.\n</think>\nA"],
        [
            "open",
            "speculative draft 1000",
            "+ One.\n\n",
            "- Wait, no.",
            "target reflection 20 (wait)",
            "+ Wait, let me",
            "-  see",
            "speculative draft 1000",
            "+  on.\n",
            "close '</think>\\n'",
            "+ A",
            "finish stop",
        ],
        id="a draft with a reflection cue is dropped; the target takes over and hands back at the end of a word",
    ),
    pytest.param(
        {"policy": NO_VERIFICATION},
        ["One.\n\nI am confident that", Stream("Yes.", LENGTH), "\n</think>\n\nA"],
        [
            "open",
            "speculative draft 1000",
            "+ One.\n\n",
            "- I am confident that",
            "target affirmation 20 (confident)",
            "+ Yes.",
            "speculative draft 1000",
            "+ \n",
            "close '</think>\\n\\n'",
            "+ A",
            "finish stop",
        ],
        id="a draft with an affirmation cue is dropped too; punctuation ends a word",
    ),
    pytest.param(
        {},
        ["One.\n\nYes, wait", Stream("Let me verify this now", LENGTH), Stream(" by hand.", LENGTH), "</think>A"],
        [
            "open",
            "speculative draft 1000",
            "+ One.\n\n",
            "- Yes, wait",
            "target affirmation 20 (yes)",
            "+ Let me verify this now",
            "target verification 125 (verify)",
            "+  by hand.",
            "speculative draft 1000",
            "close '</think>'",
            "+ A",
            "finish stop",
        ],
        id="the first cue decides; if the target's sentence verifies, the target continues with the verification",
    ),
    pytest.param(
        {"policy": DelegationPolicy(trigger=CueTrigger(Lexicon(reflection=("wait",), verification=("check",))))},
        ["One.\n\nI check it by " + "x " * 20, Stream("all.", LENGTH), "</think>A"],
        [
            "open",
            "speculative draft 1000",
            "+ One.\n\nI check it by x x x x x x x x x x x x x x x x",
            "-  x x x x ",
            "target verification 125 (check)",
            "+ all.",
            "speculative draft 1000",
            "close '</think>'",
            "+ A",
            "finish stop",
        ],
        id="a kept sentence of the small model with a verification cue leads to a takeover too",
    ),
    pytest.param(
        {},
        ["One.\n\nTwo words are fine, and so are these ones up to twenty or so words of them all, wait.\n</think>A"],
        [
            "open",
            "speculative draft 1000",
            "+ One.\n\nTwo words are fine, and so are these ones up to twenty or so words of them all, wait.\n",
            "close '</think>'",
            "+ A",
            "finish stop",
        ],
        id="a cue after the sentence (20 tokens) does not count",
    ),
    pytest.param(
        {},
        ["One wait.\n\nTwo waiting eyes.\n\nWait\n</think>A"],
        [
            "open",
            "speculative draft 1000",
            "+ One wait.\n\nTwo waiting eyes.\n\n",
            "- Wait\n</think>A",
            "target reflection 20 (wait)",
        ],
        id="a cue is a whole word, in the sentence after a boundary",
    ),
    pytest.param(
        {},
        ["Wait, one.\n \t\nTwo.\n\n\n  Check"],
        [
            "open",
            "speculative draft 1000",
            "+ Wait, one.\n \t\nTwo.\n\n\n ",
            "-  Check",
            "target reflection 20 (check)",
        ],
        id="the start of the turn is not a boundary; lines of white space are one boundary, also inside a kept draft",
    ),
    pytest.param(
        {"policy": NO_VERIFICATION},
        ["A\n\nwait", Stream("Hm.\n\n", LENGTH), "wait", Stream("Hm.\n", LENGTH), "\nwait."],
        [
            "open",
            "speculative draft 1000",
            "+ A\n\n",
            "- wait",
            "target reflection 20 (wait)",
            "+ Hm.\n\n",
            "speculative draft 1000",
            "- wait",
            "target reflection 20 (wait)",
            "+ Hm.\n",
            "speculative draft 1000",
            "+ \n",
            "- wait.",
            "target reflection 20 (wait)",
        ],
        id="a boundary counts if the target wrote it, or a part of it",
    ),
    pytest.param(
        {},
        ["One.", "Answer."],
        [
            "open",
            "speculative draft 1000",
            "+ One.",
            "close '\\n</think>\\n\\n'",
            "speculative answer 1000",
            "+ Answer.",
            "finish stop",
        ],
        id="an unclosed thought is closed and answered",
    ),
    pytest.param(
        {"answer_by": "target"},
        ["One.\n</think>\n\nNo", "Answer: wait.\n\nWait."],
        [
            "open",
            "speculative draft 1000",
            "+ One.\n",
            "- \n\nNo",
            "close '</think>\\n\\n'",
            "target answer 1000",
            "+ Answer: wait.\n\nWait.",
            "finish stop",
        ],
        id="the configured model writes the answer, without takeovers",
    ),
    pytest.param(
        {"policy": NO_VERIFICATION, "answer_by": "target"},
        ["One.\n\nwait", Stream("Done.\n</think>\n\nThe ans", LENGTH), "wer."],
        [
            "open",
            "speculative draft 1000",
            "+ One.\n\n",
            "- wait",
            "target reflection 20 (wait)",
            "+ Done.\n",
            "close '</think>\\n\\n'",
            "+ The ans",
            "target answer 1000",
            "+ wer.",
            "finish stop",
        ],
        id="a target that closes the thought in a takeover continues if it also writes the answer",
    ),
    pytest.param(
        {"policy": NO_VERIFICATION},
        ["One.\n\nwait", Stream("Done.</think> The ans", LENGTH), "Answer."],
        [
            "open",
            "speculative draft 1000",
            "+ One.\n\n",
            "- wait",
            "target reflection 20 (wait)",
            "+ Done.",
            "-  The ans",
            "close '</think>\\n\\n'",
            "speculative answer 1000",
            "+ Answer.",
            "finish stop",
        ],
        id="a target that closes the thought in a takeover stops if the other model writes the answer",
    ),
    pytest.param(
        {"policy": NO_VERIFICATION},
        ["One.\n\nwait", "Done.", "Answer."],
        [
            "open",
            "speculative draft 1000",
            "+ One.\n\n",
            "- wait",
            "target reflection 20 (wait)",
            "+ Done.",
            "close '\\n</think>\\n\\n'",
            "speculative answer 1000",
            "+ Answer.",
            "finish stop",
        ],
        id="a target that ends the turn inside the thought ends only the thought",
    ),
    pytest.param(
        {},
        ["One.\n</think>\n\n", "Answer."],
        [
            "open",
            "speculative draft 1000",
            "+ One.\n",
            "close '</think>\\n\\n'",
            "target answer 1000",
            "+ Answer.",
            "finish stop",
        ],
        id="if one model writes no answer, the other answers, once",
    ),
    pytest.param(
        {},
        ["", "", ""],
        ["open", "speculative draft 1000", "close '</think>\\n\\n'", "speculative answer 1000", "target answer 1000"]
        + ["finish stop"],
        id="if neither model writes an answer, the turn ends",
    ),
    pytest.param(
        {},
        ["<think>\nOne.</think>A"],
        ["open", "speculative draft 1000", "+ One.", "close '</think>'", "+ A", "finish stop"],
        id="a think tag that repeats the one in the prompt is not text",
    ),
    pytest.param(
        {"stop": ["STOP"]},
        ["STOP\n\nSTOP\n</think>\n\nA STOP B"],
        ["open", "speculative draft 1000", "+ STOP\n\nSTOP\n", "close '</think>\\n\\n'", "+ A ", "- STOP B"]
        + ["finish stop"],
        id="stop strings end the answer, not the thought",
    ),
    pytest.param(
        {"policy": DelegationPolicy(takeover_tokens=None, trigger=NO_VERIFICATION.trigger)},
        ["One.\n\nwait", "\nHm, this\n\n  Next", "Two.\n</think>A"],
        [
            "open",
            "speculative draft 1000",
            "+ One.\n\n",
            "- wait",
            "target reflection 512 (wait)",
            "+ \nHm, this\n\n ",
            "-  Next",
            "speculative draft 1000",
            "+ Two.\n",
            "close '</think>'",
            "+ A",
            "finish stop",
        ],
        id="a takeover of a whole step ends at the next boundary",
    ),
    pytest.param(
        {"policy": DelegationPolicy(trigger=CueTrigger(Lexicon(substrings=True)))},
        ["One.\n\nMy eyes"],
        ["open", "speculative draft 1000", "+ One.\n\n", "- My eyes", "target affirmation 20 (yes)"],
        id="the lexicon can match substrings, like the reference implementation",
    ),
    pytest.param(
        {"policy": DelegationPolicy(boundary="STEP ", trigger=NO_VERIFICATION.trigger)},
        ["One.\n\nwait ST", Stream("", LENGTH)],
        ["open", "speculative draft 1000", "+ One.\n\nwait ST", "close '\\n</think>\\n\\n'", "speculative answer 1000"]
        + ["target answer 1000"],
        id="a delimiter other than newlines is matched literally",
    ),
    pytest.param(
        {"answer_passes_on": False},
        ["One.", Stream("", LENGTH)],
        ["open", "speculative draft 1000", "+ One.", "close '\\n</think>\\n\\n'", "speculative answer 1000"]
        + ["finish length"],
        id="in old records, a full context ends a turn before the answer begins",
    ),
]

REASONING += [
    pytest.param(
        {"policy": NO_VERIFICATION},
        ["One.\n\nwait", Stream("Hm.</", LENGTH), "</think>A"],
        [
            "open",
            "speculative draft 1000",
            "+ One.\n\n",
            "- wait",
            "target reflection 20 (wait)",
            "+ Hm.",
            "- </",
            "speculative draft 1000",
            "close '</think>'",
            "+ A",
            "finish stop",
        ],
        id="an incomplete tag is dropped before a hand-over",
    ),
]

NON_REASONING: list[Any] = [
    pytest.param(
        {"policy": DelegationPolicy.non_reasoning(opening_tokens=0), "stop": ["\n\nHuman:"]},
        ["Intro.\n\nI", Stream("Human: next", LENGTH)],
        ["speculative draft 1000", "+ Intro.\n\n", "- I", "target trigger 20", "- Human: next", "finish stop"],
        id="a stop string that two models wrote ends the turn",
    ),
    pytest.param(
        {"policy": DelegationPolicy.non_reasoning()},
        [Stream("First, we", LENGTH), " add.\n\nThen", Stream("Now let it be.", LENGTH), " So 5."],
        [
            "target opening 100",
            "+ First,",
            "-  we",
            "speculative draft 1000",
            "+  add.\n\n",
            "- Then",
            "target trigger 20",
            "+ Now let it be.",
            "speculative draft 1000",
            "+  So 5.",
            "finish stop",
        ],
        id="the target writes the opening and the start of every paragraph of the answer",
    ),
    pytest.param(
        {"policy": DelegationPolicy.non_reasoning()},
        ["All of it."],
        ["target opening 100", "+ All of it.", "finish stop"],
        id="if the target ends the turn in its opening, the turn is over",
    ),
    pytest.param(
        {"policy": DelegationPolicy.non_reasoning(takeover_tokens=None, opening_tokens=0)},
        ["A\n\nb", "B\n\nc", "C\n\nd", "D"],
        [
            "speculative draft 1000",
            "+ A\n\n",
            "- b",
            "target trigger 512",
            "+ B\n\n",
            "- c",
            "speculative draft 1000",
            "+ C\n\n",
            "- d",
            "target trigger 512",
            "+ D",
            "finish stop",
        ],
        id="whole steps alternate: the small model writes the step after the target's",
    ),
    pytest.param(
        {},
        [" <think>\nHm.\n\nWait"],
        ["speculative draft 1000", "open", "+ Hm.\n\n", "- Wait", "target reflection 20 (wait)"],
        id="a model that is not known as a reasoning model opens a thought",
    ),
    pytest.param(
        {}, ["", "A"], ["speculative draft 1000", "target answer 1000", "+ A", "finish stop"], id="an empty stream"
    ),
    pytest.param(
        {"stop": ["\nObs", "\n\n\n"]},
        ["A\n\nb\nObs: c"],
        ["speculative draft 1000", "+ A\n\nb", "- \nObs: c", "finish stop"],
        id="stop strings end a turn without a thought anywhere",
    ),
]


@pytest.mark.parametrize(("settings", "streams", "expected"), REASONING)
def test_a_pair_with_a_reasoning_model(
    settings: dict[str, Any], streams: list[Stream | str], expected: list[str]
) -> None:
    machine = Delegation(**{"policy": DelegationPolicy(), "thinks": True, "max_tokens": 1000, **settings})
    assert transcript(run_policy(machine, streams)) == expected


@pytest.mark.parametrize(("settings", "streams", "expected"), NON_REASONING)
def test_a_pair_without_a_reasoning_model(
    settings: dict[str, Any], streams: list[Stream | str], expected: list[str]
) -> None:
    machine = Delegation(**{"policy": DelegationPolicy(), "thinks": False, "max_tokens": 1000, **settings})
    assert transcript(run_policy(machine, streams)) == expected


@pytest.mark.parametrize("split", [as_one_chunk, list])
def test_white_space_after_an_examined_sentence_does_not_depend_on_the_chunks(split: Any) -> None:
    policy = DelegationPolicy(CueTrigger(Lexicon(reflection=("wait",))), takeover_tokens=1)
    machine = Delegation(policy, thinks=True, max_tokens=10**6)
    lines = transcript(run_policy(machine, ["\n\ncheck\n\n"], split))
    assert [line for line in lines if not line.startswith("- ")][2:] == [
        "+ \n\ncheck",
        "target verification 125 (check)",
    ]


@pytest.mark.parametrize("split", [as_one_chunk, list])
def test_a_thought_is_closed_after_many_blank_lines_if_the_target_is_lost(split: Any) -> None:
    machine = Delegation(DelegationPolicy(opening_tokens=9), thinks=True, max_tokens=10**6)
    lines = transcript(run_policy(machine, [Stream("", LENGTH), "\n\n\n\n\n. </think>Five."], split))
    assert lines == [
        "open",
        "target opening 9",
        "speculative draft 1000000",
        "+ \n\n\n\n\n. ",
        "close '</think>'",
        "+ Five.",
        "finish stop",
    ]


def test_the_tokens_of_a_long_piece_are_divided_by_length() -> None:
    machine = Delegation(DelegationPolicy(), thinks=True, max_tokens=10**6)
    machine.start()
    commands = [*machine.receive("One.\n\n" + "Two. " * 2000, 2000), *machine.end("stop")]
    kept = [command for command in commands if isinstance(command, Commit)]
    assert len(kept) > 1
    assert sum(command.tokens for command in kept) == 2000
    for command in kept:
        assert command.tokens == pytest.approx(len(command.text) / 5, abs=3)


def test_the_tokens_after_the_end_of_a_stream_are_dropped() -> None:
    machine = Delegation(DelegationPolicy(), thinks=True, max_tokens=10**6)
    machine.start()
    commands = machine.receive("One.\n\nWait, no.\n\n" + "Two. " * 2000, 2000)
    assert any(isinstance(command, Drop) and not command.text for command in commands)
    assert sum(command.tokens for command in commands if isinstance(command, (Commit, Drop))) == 2000
