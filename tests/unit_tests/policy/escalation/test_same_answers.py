"""Tests of `compare="auto"` on answers that are easily mixed up. A wrong "same" is worse than a wrong "different"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from langchain_spec_thinking.policy.escalation import Answer
from langchain_spec_thinking.policy.escalation.comparison import same_answer
from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

LONG = "So the whole story is told and in the end of it all"
"""The beginning of a sentence that is too long to be compared as a whole."""
SAME, DIFFERENT, OPEN = True, False, None
"""`OPEN`: the texts are free text, so the small model must compare them."""
BOXES = [
    (r"\boxed{5\text{ km}}", r"\boxed{5\text{ m}}", DIFFERENT),
    (r"\boxed{5\text{ km}}", r"\boxed{5}", SAME),
    (r"\boxed{Aa}", r"\boxed{aa}", DIFFERENT),
    (r"\boxed{12_3}", r"\boxed{12_4}", DIFFERENT),
    (r"\boxed{(1,2)}", r"\boxed{\{1,2\}}", DIFFERENT),
    (r"\boxed{1,2}", r"\boxed{2,1}", DIFFERENT),
    (r"\boxed{}", r"Hm \boxed{}", DIFFERENT),
    (r"\boxed{50\%}", r"\boxed{0.5}", DIFFERENT),
    (r"\boxed{50\%}", r"\boxed{50}", SAME),
    (r"\boxed{x=5}", r"\boxed{5}", SAME),
    (r"\boxed{x=5}", r"\boxed{y=5}", DIFFERENT),
    (r"\boxed{\frac12}", r"\boxed{0.5}", SAME),
    (r"\boxed{\text{Paris}}", r"\boxed{\text{paris}}", SAME),
    (r"\boxed{(a)(b)}", r"\boxed{(a)}", DIFFERENT),
    (r"\boxed{1{,}234}", "1234", SAME),
    (r"\boxed{90^\circ}", r"\boxed{90}", SAME),
    (r"\boxed{-3}", r"\boxed{3}", DIFFERENT),
    (r"\boxed{\pm 2}", r"\boxed{2}", DIFFERENT),
    (r"\boxed{\sqrt{8}}", r"\boxed{2\sqrt{2}}", SAME),
    (r"\boxed{x>5}", r"\boxed{x<5}", DIFFERENT),
]
NUMBERS = [
    ("1/2", "0.5", SAME),
    ("1/3", "0.333", DIFFERENT),
    ("2 1/2", "2.5", SAME),
    ("2 1/2", "1/2", DIFFERENT),
    ("1,234", "1234", SAME),
    ("1,234", "1.234", DIFFERENT),
    ("0,500", "500", DIFFERENT),
    ("1\u202f234", "1234", SAME),
    ("12 apples", "12", SAME),
    ("12 apples", "12 pears", DIFFERENT),
    ("There are 12 apples.", "12 apples", SAME),
    ("12 km", "12 miles", DIFFERENT),
    ("12 km", "12 kilometers", SAME),
    ("$12", "12 dollars", SAME),
    ("$12", "€12", DIFFERENT),
    ("5 pm", "5 am", DIFFERENT),
    ("5 million", "5", DIFFERENT),
    ("5 million", "5,000,000", SAME),
    ("5e3", "5000", SAME),
    ("5k", "5", DIFFERENT),
    ("5x", "5", DIFFERENT),
    ("5!", "5", DIFFERENT),
    ("-3", "\u22123", SAME),
    ("3", "\u22123", DIFFERENT),
    ("negative 3", "3", DIFFERENT),
    ("minus 3", "-3", DIFFERENT),
    ("not 5", "5", DIFFERENT),
    ("It is not 5", "It is 5", DIFFERENT),
    ("at least 5", "5", DIFFERENT),
    ("x > 5", "x < 5", DIFFERENT),
    ("x > 5", "5", DIFFERENT),
    (">5", "5", DIFFERENT),
    ("5 or 6", "6", DIFFERENT),
    ("5 and a half", "5", DIFFERENT),
    ("10-20", "20", DIFFERENT),
    ("-3, 5", "3, 5", DIFFERENT),
    ("2*3", "23", DIFFERENT),
    ("3 x 10^8", "3 x 10^7", DIFFERENT),
    ("12:30", "11:30", DIFFERENT),
    ("50%", "0.5", DIFFERENT),
    ("Apollo 11", "Soyuz 11", DIFFERENT),
    ("room 5", "gate 5", DIFFERENT),
    ("x = 5", "y = 5", DIFFERENT),
    ("x = 5", "5", SAME),
    ("x = 3, y = 5", "x = 4, y = 5", DIFFERENT),
    ("3 + 2 = 5", "5", SAME),
    ("١٢", "12", SAME),
    ("\uff11\uff12", "12", SAME),
    ("5²", "5", DIFFERENT),
    ("½", "0.5", DIFFERENT),
    ("5/0", "5", DIFFERENT),
    ("1e999", "1e998", DIFFERENT),
    ("9" * 500, "9" * 499 + "8", DIFFERENT),
    ("007", "7", DIFFERENT),
]
DATES_AND_SENTENCES = [
    ("2024-03-05", "2023-03-05", DIFFERENT),
    ("3. März", "3. Mai", DIFFERENT),
    ("March 3", "March 4", DIFFERENT),
    ("3/5/2024", "3/4/2024", DIFFERENT),
    (LONG + " he leaves at 12:30", LONG + " he leaves at 11:30", OPEN),
    (LONG + " he has 3 apples and 5 pears", LONG + " he has 4 apples and 5 pears", OPEN),
    (LONG + " x = 3 or x = 5", LONG + " x = 4 or x = 5", OPEN),
    (LONG + " it is about 2 x 10^8", LONG + " it is about 3 x 10^8", OPEN),
    (LONG + " he does not have 5", LONG + " he has 5", OPEN),
    (LONG + " he pays 8 dollars", LONG + " he pays 8 euros", DIFFERENT),
    (LONG + " he pays 8 dollars", LONG + " she pays 8 dollars", SAME),
    (LONG + " he pays 8 dollars of it", "8", SAME),
]
CHOICES = [
    ("(B)", "B.", SAME),
    ("(B)", "B", SAME),
    ("b)", "B", SAME),
    ("(A)", "(B)", DIFFERENT),
    ("A. Lincoln", "A. Johnson", DIFFERENT),
    ("B. Paris", "B", SAME),
    ("B. Paris", "(B) Paris", SAME),
    ("(A) and (B)", "(A)", DIFFERENT),
    ("A, B", "B", DIFFERENT),
    ("A and B", "B", DIFFERENT),
    ("(B) is wrong", "(B)", DIFFERENT),
    ("not (B)", "(B)", DIFFERENT),
    ("The answer is (B).", "B", SAME),
    ("The answer is (B), because it is red.", "B. Since it is blue", SAME),
]
YES_OR_NO = [
    ("Yes", "yes.", SAME),
    ("Yes, it is.", "Yes", SAME),
    ("No", "Yes", DIFFERENT),
    ("No one", "No", DIFFERENT),
    ("No. 5", "No", DIFFERENT),
    ("True love", "Yes", DIFFERENT),
    ("Yes, but only on Sundays", "Yes", DIFFERENT),
    ("Yes and no", "Yes", DIFFERENT),
    ("The answer is yes.", "Yes", SAME),
    ("True", "yes", SAME),
    ("I think the answer is: no, because it rains.", "No", SAME),
]
JSON = [
    ('{"a": 1, "b": 2}', '{"b":2,"a":1.0}', SAME),
    ('{"a": 1}', '{"a": true}', DIFFERENT),
    ('{"a": "1"}', '{"a": 1}', DIFFERENT),
    ("[1, 2]", "[2, 1]", DIFFERENT),
    ('{"a": "X"}', '{"a": "x"}', DIFFERENT),
    ('```json\n{"a": 1}\n```', '{"a":1}', SAME),
    ('Here it is:\n```json\n{"a": 1}\n```', '{"a": 1}', SAME),
    ('Here: {"a": 5}', 'Here: {"b": 5}', OPEN),
    ('{"a": 1e400}', '{"a": 1e500}', OPEN),
    ('{"a": 1', '{"a": 1}', OPEN),
]
OTHERS = [
    ("", "", SAME),
    ("Paris", "paris.", SAME),
    ("The Eiffel Tower", "Eiffel Tower", SAME),
    ("foo_bar", "foobar", DIFFERENT),
    ("(2, 3)", "[2, 3)", DIFFERENT),
    ("twelve", "12", DIFFERENT),
    ("答案是12", "答案是13", DIFFERENT),
    ("是", "否", DIFFERENT),
    ("C", "c", DIFFERENT),
    ("5 + 3", "5 - 3", DIFFERENT),
    ("+5", "5", SAME),
    ("```python\nprint(5)\n```", "```python\nprint(6)\n```", DIFFERENT),
]
TABLES: dict[str, Sequence[tuple[str, str, bool | None]]] = {
    "boxes": BOXES,
    "numbers": NUMBERS,
    "dates and sentences": DATES_AND_SENTENCES,
    "choices": CHOICES,
    "yes or no": YES_OR_NO,
    "JSON": JSON,
    "other texts": OTHERS,
}
ROWS = [(f"{name}: {row[0][-30:]!r} and {row[1][-30:]!r}", *row) for name, rows in TABLES.items() for row in rows]


@pytest.mark.parametrize(("first", "second", "same"), [row[1:] for row in ROWS], ids=[ascii(row[0]) for row in ROWS])
def test_two_answers(first: str, second: str, *, same: bool | None) -> None:
    assert same_answer(Answer(first), Answer(second)) is same
    assert same_answer(Answer(second), Answer(first)) is same


HOSTILE = [
    ("a tower of powers", "9^9^9^9", "9^9^9^8"),
    ("a tower of powers in braces", "9^{9^{9^{99}}}", "9^{9^{9^{98}}}"),
    ("powers of powers", "((9^{99})^{99})^{99}", "((9^{99})^{99})^{98}"),
    ("powers of long numbers", "1234567^{99}", "1234567^{98}"),
    ("powers that become large", "((9999^{99})^9)^9", "((9999^{99})^9)^8"),
    ("a factorial", "99999!", "99998!"),
    ("a sum without an end", r"\sum_{n=1}^\infty n", r"\sum_{n=2}^\infty n"),
    ("a long formula", "+".join(["x"] * 999), "+".join(["x"] * 998)),
    ("many variables", "(a+b+c+d+e)^{99}", "(a+b+c+d+e)^{98}"),
]


@pytest.mark.parametrize(("first", "second"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_a_formula_that_would_take_for_ever_is_compared_as_text(first: str, second: str) -> None:
    assert same_answer(Answer(rf"\boxed{{{first}}}"), Answer(rf"\boxed{{{second}}}")) is False


CALLS_TO_MAKE = [
    ("a call with arguments", ToolCall("1", "add", '{"a": 1}'), True),
    ("a call without arguments", ToolCall("1", "now", ""), True),
    ("a call without a name", ToolCall("1", "", "{}"), False),
    ("a call whose arguments are cut", ToolCall("1", "add", '{"a": '), False),
    ("a call whose arguments are a list", ToolCall("1", "add", "[1]"), False),
]


@pytest.mark.parametrize(("call", "usable"), [row[1:] for row in CALLS_TO_MAKE], ids=[row[0] for row in CALLS_TO_MAKE])
def test_a_call_that_cannot_be_made_is_no_answer(call: ToolCall, *, usable: bool) -> None:
    assert Answer("", (call,)).usable is usable
    assert Answer("", (ToolCall("2", "add", "{}"), call)).usable is usable


def test_calls_without_arguments_are_the_same_with_and_without_braces() -> None:
    calls = [Answer("", (ToolCall("1", "now", arguments),)) for arguments in ("", "{}", " {} ")]
    assert same_answer(calls[0], calls[1]) is same_answer(calls[1], calls[2]) is True


def test_calls_with_numbers_that_json_cannot_hold_are_compared_as_text() -> None:
    calls = [Answer("", (ToolCall("1", "add", f'{{"a": {number}}}'),)) for number in ("1e400", "1e500", "1e400")]
    assert same_answer(calls[0], calls[1]) is False
    assert same_answer(calls[0], calls[2]) is True
