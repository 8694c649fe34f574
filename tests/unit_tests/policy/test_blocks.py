"""Blank lines inside code, formulas, tables in markup and JSON are no boundaries."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_spec_thinking.policy import Delegation, DelegationPolicy, ReferenceRules, ScoreAndAccept
from langchain_spec_thinking.policy.blocks import BLOCK_MAX, Blocks
from tests.unit_tests.policy.policy_runs import LENGTH, Stream, as_one_chunk, run_policy, transcript
from tests.unit_tests.policy.test_properties import FRAGMENTS, POLICIES, cut, decisions
from tests.unit_tests.steps import steps_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_spec_thinking.policy.commands import Command

INSIDE = {
    "a fence": "```\na = 1\n\nWait",
    "a fence with a language": "Code:\n```python\na = 1\n\nWait",
    "a fence after a list mark": "1. ```python\na = 1\n\nWait",
    "a fence of tildes": "~~~\na\n\nWait",
    "a fence that contains shorter fences": "````\n```\n\na\n```\n\nWait",
    "a fence that contains a fence with a language": "```\n```python\na\n\nWait",
    "a fence that contains a formula": "```\n$$\n```\n```\na\n\nWait",
    "a displayed formula": "\\[\nx = 1\n\nWait",
    "a formula in dollars": "So\n$$\nx = 1\n\nWait",
    "an environment": "\\begin{align*}\nx &= 1 \\\\\n\nWait",
    "an environment that contains one of its kind": "\\begin{cases}\\begin{cases}1\\end{cases}\n\nWait",
    "a table in LaTeX": "\\begin{tabular}{ll}\n1 & 2\n\nWait",
    "a table in HTML": "<table>\n<tr><td>1</td></tr>\n\nWait",
    "an object": '{\n"a": [1, 2],\n\n"Wait',
    "an object after a sentence": 'The reply is\n{"a": [\n1\n],\n\n"Wait',
    "a list": '[\n"]", 1,\n\n"Wait',
    "blank lines with white space": "```\na\n \t\n\n\n  Wait",
    "a fence after a sentence that ends with a colon": "It is: ```\na = 1\n\nWait",
    "a fence after a mark of a quotation": "> ```\na = 1\n\nWait",
    "a formula that begins in a line": "So $$x = 1 +\n\nWait",
    "a displayed formula after a sentence": "So \\[\nx = 1\n\nWait",
    "a fence after an object that holds one": '{\n"a": "```"}\n```\na\n\nWait',
    "a formula right after another one": "$$x$$ and $$y\n\nWait",
    "a line of a thousand characters": "```\n" + "a" * 1000 + "\n\nWait",
}
OUTSIDE = {
    "after a fence": "```\na\n```\n\nWait",
    "after a fence that is closed by more backticks": "```\na\n`````\n\nWait",
    "after code in a line": "```a```\n\nWait",
    "after a fence that is closed at the end of a line": "```\n}```\n\nWait",
    "after tildes in a sentence": "Good~~~\n\nWait",
    "after a displayed formula": "\\[\nx\n\\]\n\nWait",
    "after a formula in dollars": "$$x$$\n\nWait",
    "after an environment": "\\begin{align}\n\\begin{array}x\\end{array}\n\\end{align}\n\nWait",
    "after the end of an environment": "\\end{align}\n\nWait",
    "after a line break of LaTeX": "x \\\\[2pt]\n\nWait",
    "after a table in HTML": "<table></table>\n\nWait",
    "between the rows of a table of Markdown": "| a | b |\n| - | - |\n| 1 | 2 |\n\n| Wait | 4 |",
    "after an object": '{\n"a": "{",\n"b": 1\n}\n\nWait',
    "after an interval": "[0, 1) is the domain.\n\nWait",
    "after a remark in brackets": "[The sum is 2.]\n\nWait",
    "after white space": "  \n\nWait",
    "after backticks in prose": "I put it between ``` marks.\n\nWait",
    "after backticks at the end of a sentence": "I end it with ```.\n\nWait",
    "after dollars in prose": "The price is $$ in the guide.\n\nWait",
    "after a bracket in code": "Split with re.split('\\[', s).\n\nWait",
    "after marks between single backticks": "- `$$`, `\\begin{align}` and `<table>` open one.\n\nWait",
    "after a remark in brackets that ends with a colon": "[No, the cases are:\n\nWait",
    "after an object whose text holds a fence": '{\n"x": "```"}\n\nWait',
    "after code that was forgotten": "```\n" + "a = 1\n" * 700 + "```\na\n```\n\nWait",
    "after a formula, if one was forgotten before": "$$\n" + "a = 1\n" * 700 + "$$ y $$\n\nWait",
    "in a fence that was opened too long ago": "```\n" + "a = 1\n" * (BLOCK_MAX // 6) + "\nWait",
    "in an object that was opened too long ago": "{\n" + '"a": 1,\n' * (BLOCK_MAX // 8) + "\nWait",
    "after a line that closes a fence beyond a thousand characters": "```\n" + "a" * 1500 + "```\n\nWait",
}
SPLITS = pytest.mark.parametrize("split", [as_one_chunk, list], ids=["at once", "by character"])


def takeovers(
    *streams: Stream | str, policy: DelegationPolicy | None = None, split: Callable[..., list[str]] = list
) -> list[str]:
    machine = Delegation(policy or DelegationPolicy(), thinks=True, max_tokens=10**6)
    return [line for line in transcript(run_policy(machine, streams, split)) if line.startswith("target")]


@SPLITS
@pytest.mark.parametrize("text", INSIDE.values(), ids=INSIDE)
def test_a_blank_line_inside_a_block_is_no_boundary(text: str, split: Callable[[str], list[str]]) -> None:
    assert takeovers(f"{text}, no.", split=split) == []


@SPLITS
@pytest.mark.parametrize("text", OUTSIDE.values(), ids=OUTSIDE)
def test_a_blank_line_outside_blocks_is_a_boundary(text: str, split: Callable[[str], list[str]]) -> None:
    assert takeovers(f"{text}, no.", split=split) == ["target reflection 20 (wait)"]


@pytest.mark.parametrize("text", INSIDE.values(), ids=INSIDE)
def test_the_reference_implementation_does_not_know_blocks(text: str) -> None:
    rules = ReferenceRules(boundaries_in_blocks=True)
    for policy in (DelegationPolicy(reference_rules=rules), DelegationPolicy.paper()):
        assert takeovers(f"{text}, no." + " So." * 20, policy=policy) == ["target reflection 20 (wait)"]


@pytest.mark.parametrize("boundary", [". ", "STOP"])
def test_a_delimiter_that_is_no_blank_line_is_a_boundary_everywhere(boundary: str) -> None:
    assert takeovers(f"```\na{boundary}Wait, no.", policy=DelegationPolicy(boundary=boundary))


def test_blocks_end_where_either_model_ends_them() -> None:
    """The large model opens a fence in its takeover. The small model closes it, and the next boundary counts."""
    opens, closes = Stream("Code:\n```\na = 1\n\n", LENGTH), "Wait = 2\n\nb = 3\n```\n\nWait, no."
    assert takeovers("So.\n\nWait, no.", opens, closes) == ["target reflection 20 (wait)"] * 2


def test_a_block_of_the_thought_does_not_continue_in_the_answer() -> None:
    policy = DelegationPolicy(reference_rules=ReferenceRules(in_answer=True))
    assert takeovers("```\na</think>\n\nSo.\n\nWait, no.", policy=policy) == ["target reflection 20 (wait)"]


@SPLITS
def test_a_takeover_of_a_whole_step_does_not_end_inside_a_block(split: Callable[[str], list[str]]) -> None:
    machine = Delegation(DelegationPolicy(takeover_tokens=None), thinks=True, max_tokens=10**6)
    step = "Code:\n```\na\n\nb\n```\n\n"
    lines = transcript(run_policy(machine, ["So.\n\nWait,", f"{step}More"], split))
    assert f"+ {step}" in lines


@SPLITS
def test_a_scored_step_does_not_end_inside_a_block(split: Callable[[str], list[str]]) -> None:
    machine = Delegation(DelegationPolicy(ScoreAndAccept(5)), thinks=True, max_tokens=10**6)
    step = "Code:\n```\na\n\nb\n```\n\n"
    lines = transcript(run_policy(machine, [f"So.\n\n{step}More", "9", "!"], split))
    assert f"+ {step}" in lines


MARKS = [
    *[
        "```\n",
        "```py\n",
        "``",
        "`",
        "~~~\n",
        "$$",
        "$",
        "\\[",
        "\\]",
        "\\",
        "\\begin{a}",
        "\\end{a}",
        "\\beg",
        "in{a}",
    ],
    *["<table>", "</table>", "{\n", "[\n", "},\n", "]\n", '"', '\\"', ",\n", "\n\n", "\n", " ", "Wait", "a\n\n"],
]
LONG = ["a" * 999, "b" * 2000]
TEXTS = st.lists(st.sampled_from(MARKS + FRAGMENTS), max_size=30).map("".join)
LONG_TEXTS = st.lists(st.sampled_from(MARKS + LONG), max_size=30).map("".join)


@given(st.data(), LONG_TEXTS)
@settings(max_examples=200, deadline=None)
def test_chunks_change_nothing_in_a_block(data: st.DataObject, text: str) -> None:
    pieces = cut(data)(text)
    blocks, whole = Blocks(), Blocks().after(text)
    for piece in pieces:
        blocks = blocks.after(piece)
    assert blocks == whole


@given(
    st.data(),
    POLICIES,
    st.booleans(),
    st.lists(TEXTS.map(lambda text: Stream(text, LENGTH)), min_size=1, max_size=6),
)
@settings(max_examples=100, deadline=None)
def test_any_split_gives_the_same_commands(
    data: st.DataObject, policy: DelegationPolicy, thinks: bool, streams: list[Stream]
) -> None:
    def commands(split: Callable[[str], list[str]]) -> list[Command]:
        return run_policy(Delegation(policy, thinks=thinks, max_tokens=10**9), streams, split)

    expected = decisions(commands(as_one_chunk))
    assert decisions(commands(cut(data))) == expected
    assert decisions(commands(list)) == expected


NEXT_BLOCKS = [("```", "```"), ("```py", "```"), ("$$", "$$"), ("\\[", "\\]"), ("\\begin{a}", "\\end{a}"), ("{", "}")]


@given(TEXTS, st.sampled_from(NEXT_BLOCKS))
@settings(max_examples=100, deadline=None)
def test_no_block_stops_takeovers_for_ever(text: str, following: tuple[str, str]) -> None:
    """The next block is seen as if no block had been forgotten before it."""
    opens, closes = following
    rest = "a\n" * (BLOCK_MAX // 2) + "\nWait, no."
    blocks = Blocks().after(text + rest.removesuffix("Wait, no."))
    assert not blocks.is_open
    assert blocks.after(f"{opens}\na\n\n").is_open
    assert not blocks.after(f"{opens}\na\n\nb\n{closes}\n\n").is_open


@pytest.mark.parametrize("unit", [*MARKS, *LONG, "```\n\n", "$$\n\n", "{\n\n", '{"\\"', "\\begin{a}\n\n"], ids=repr)
def test_the_work_is_linear_in_hostile_text(unit: str) -> None:
    def read(characters: int) -> None:
        text, blocks = (unit * characters)[:characters], Blocks()
        for start in range(0, characters, 7):
            blocks = blocks.after(text[start : start + 7])

    read(10)
    few, many = (steps_of(partial(read, size)) for size in (3_000, 12_000))
    assert many < 5 * few
