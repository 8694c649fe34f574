"""Tests of what two answers are compared by."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_spec_thinking.policy.escalation import Answer
from langchain_spec_thinking.policy.escalation.comparison import same_answer
from langchain_spec_thinking.policy.escalation.values import Value, value_of
from langchain_spec_thinking.tools import ToolCall

ESSAY = "It rose in 1990. Many people came to see it, and they stayed for a long time because it was so very beautiful."
VALUES = [
    ("a number is compared by its value", "42", ("number", "42")),
    ("a decimal equals a fraction", "0.75", ("number", "3/4")),
    ("a fraction equals a decimal", "3/4", ("number", "3/4")),
    ("thousands may have commas", "1,234.0", ("number", "1234")),
    ("a currency does not matter", "$12", ("number", "12")),
    ("a number may be negative", "-3", ("number", "-3")),
    ("a division by zero is compared as text", "1/0", ("number", "1/0")),
    ("the last box counts", r"First \boxed{1}, then \boxed{2}.", ("number", "2")),
    ("a box may hold a formula", r"\boxed{\dfrac{x}{2}}", ("formula", r"\frac{x}{2}")),
    ("a fraction in a box is a number", r"\boxed{-\dfrac{1}{2}}", ("number", "-1/2")),
    ("a box may hold a letter", r"\boxed{\text{(C)}}", ("choice", "C")),
    ("a box that is not closed may have lost a digit", r"\boxed{4", ("short text", r"\boxed{4")),
    ("what is stated counts, not what follows", "The answer is 42.\nI hope that helps you a lot.", ("number", "42")),
    ("the last statement counts", "The answer is 4? No.\nThe answer is 5.", ("number", "5")),
    ("emphasis does not matter", "**Answer:** **B**", ("choice", "B")),
    ("a letter in brackets is a choice", "(c) the third of all the many and various possible answers", ("choice", "C")),
    ("a letter with a full stop is a choice", "B.", ("choice", "B")),
    ("an article is not a choice", "A cat", ("short text", "cat")),
    ("yes with a reason is yes", "Yes, it is", ("yes or no", "yes")),
    ("false is no", "False.", ("yes or no", "no")),
    ("now is not no", "Now", ("short text", "now")),
    ("JSON has sorted keys", '{"b": 1.0, "a": [2]}', ("json", '{"a": [2], "b": 1}')),
    ("a box after a block of code counts", "```python\nprint(14 * 2)\n```\nSo it is \\boxed{28}.", ("number", "28")),
    ("a box in a block of code is code", "Write this:\n```latex\n\\boxed{28}\n```\nThat is all there is to do.", None),
    ("a box in an open block is code", "```latex\n\\boxed{1}\n``` and ```\n\\boxed{28}", None),
    ("JSON may be fenced", '```json\n{"a": 1}\n```', ("json", '{"a": 1}')),
    ("a short text has no case, articles and marks", "The Eiffel Tower!", ("short text", "eiffel tower")),
    ("a short text with one number is that number", "There are 5 apples.", ("number", "5")),
    ("the result of an equation counts", "3 - 2 = 1", ("number", "1")),
    ("a date is not the number in it", "March 3", ("short text", "march 3")),
    ("a short text with several numbers is compared whole", "5 red, 3 green", ("short text", "5 red 3 green")),
    (
        "the number of the last sentence counts",
        "He buys 3 pens at 4 each and pays with a note of 20. So he gets 8 dollars of change back.",
        ("number", "8"),
    ),
    (
        "several numbers of the last sentence count together",
        "As everybody knows, there are 240 minutes in all of these 4 hours.",
        ("number", "240, 4"),
    ),
    (
        "their order does not matter, and a number that occurs twice counts once",
        "As everybody knows, these 4 hours have 240 minutes, and each of the 4 has 60.",
        ("number", "240, 4, 60"),
    ),
    (
        "the number after the last equals sign counts",
        "If one has 4 hours, then 4 * 60 = 240 minutes is what everybody gets out of 4 hours.",
        ("number", "240"),
    ),
    ("a number in an earlier sentence does not count", ESSAY, None),
    ("an empty text has no value", " ", None),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES])
def test_value_of_a_text(text: str, expected: tuple[str, str] | None) -> None:
    value = value_of(text)
    assert (value and (value.kind, value.key)) == expected


def call(name: str = "add", arguments: str = '{"a": 1, "b": 2}', number: str = "1") -> ToolCall:
    return ToolCall(number, name, arguments)


CALLS = [
    ("ids do not matter", (call(number="1"),), (call(number="2"),), True),
    ("the order of arguments does not matter", (call(),), (call(arguments='{"b":2,"a":1}'),), True),
    ("the order of calls does not matter", (call(), call("sub")), (call("sub"), call()), True),
    ("1.0 equals 1", (call(),), (call(arguments='{"a": 1.0, "b": 2}'),), True),
    ("other arguments are other calls", (call(),), (call(arguments='{"a": 1, "b": 3}'),), False),
    ("another tool is another call", (call(),), (call("sub"),), False),
    ("one call differs from two", (call(),), (call(), call()), False),
    ("a call differs from a text", (call(),), (), False),
    ("arguments that are not JSON are compared as text", (call(arguments="{"),), (call(arguments="{"),), True),
]


@pytest.mark.parametrize(("first", "second", "same"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
def test_comparison_of_tool_calls(first: tuple[ToolCall, ...], second: tuple[ToolCall, ...], *, same: bool) -> None:
    assert same_answer(Answer("", first), Answer("some text" * (not second), second)) is same


PAIRS = [
    ("equal numbers in other words", "So it is 12.", r"\boxed{12}", True),
    ("a formula and its value, by math-verify", r"\boxed{\frac{1}{2}}", r"\boxed{0.5}", True),
    ("equal formulas in another form, by math-verify", r"\boxed{x+1}", r"\boxed{1+x}", True),
    ("other formulas", r"\boxed{x+1}", r"\boxed{x-1}", False),
    ("values of different kinds", "Yes", "12", False),
    ("the same free text", ESSAY, f"{ESSAY}\n", True),
    ("free texts cannot be compared", ESSAY, ESSAY.replace("rose", "was built"), None),
    ("a value and a free text cannot be compared", "12", ESSAY, None),
]


@pytest.mark.parametrize(("first", "second", "same"), [row[1:] for row in PAIRS], ids=[row[0] for row in PAIRS])
def test_comparison_of_texts(first: str, second: str, *, same: bool | None) -> None:
    assert same_answer(Answer(first), Answer(second)) is same
    assert same_answer(Answer(second), Answer(first)) is same


def test_a_function_compares_texts_but_not_calls() -> None:
    def as_long(first: str, second: str) -> bool:
        return len(first) == len(second)

    assert same_answer(Answer("abc"), Answer("xyz"), as_long) is True
    assert same_answer(Answer("1"), Answer("1 "), as_long) is False
    assert same_answer(Answer("", (call(),)), Answer("", (call("sub"),)), as_long) is False


TEXTS = st.lists(
    st.sampled_from(
        [
            "42",
            "1/2",
            "-",
            "(B)",
            r"\boxed{",
            "}",
            "{",
            "answer is ",
            ".",
            "\n",
            " ",
            "yes",
            "x",
            "May 3",
            "[1]",
            '"',
            "$",
        ]
    ),
    max_size=12,
).map("".join)


@given(TEXTS, TEXTS)
def test_comparison_is_symmetric_and_reflexive_for_any_text(first: str, second: str) -> None:
    assert same_answer(Answer(first), Answer(first)) is True
    assert same_answer(Answer(first), Answer(second)) == same_answer(Answer(second), Answer(first))


@given(TEXTS, st.text())
def test_every_text_has_a_value_or_none(first: str, second: str) -> None:
    assert isinstance(value_of(first + second), Value | None)


@given(st.recursive(st.integers() | st.text() | st.booleans() | st.none(), lambda item: st.lists(item, max_size=3)))
def test_json_is_compared_by_its_data(data: object) -> None:
    texts = [json.dumps({"a": data, "b": 1}, indent=2), json.dumps({"b": 1, "a": data})]
    assert same_answer(Answer(texts[0]), Answer(texts[1])) is True
