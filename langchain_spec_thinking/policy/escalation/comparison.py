"""Whether two answers of the small model are the same answer."""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.policy.escalation.values import canonical_calls, value_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_spec_thinking.policy.escalation.base import Answer

_CHARACTERS_MAX = 80
_POWERS_MAX = 3
_COMMAND = re.compile(r"\\[a-z]+")
_LETTERS = frozenset(string.ascii_letters)
_FORMULA = re.compile(
    r"(?:[-+*/().\d{}A-Za-z]|(?<![\d]{5})(?<![)}])\^(?:\d|[a-z]|\{-?\d{1,2}\})(?!\^)|(?<=[)}])\^\d(?!\^)"
    r"|\\(?:frac|sqrt|pi|cdot|times|sin|cos|tan|ln)(?![a-z]))+"
)
"""Matches sums, products, fractions, roots, and powers whose value has few digits."""


def same_answer(first: Answer, second: Answer, compare: Callable[[str, str], bool] | None = None) -> bool | None:
    """Return whether two answers are the same; None if they are free text, which this function cannot compare.

    Args:
        first: An answer.
        second: Another one.
        compare: A function of two texts that compares them instead. Tool calls are always compared by their names and
            arguments.
    """
    if first.calls or second.calls:
        return canonical_calls(first.calls) == canonical_calls(second.calls)
    if compare:
        return bool(compare(first.text, second.text))
    if first.text.strip() == second.text.strip():
        return True
    one, other = value_of(first.text), value_of(second.text)
    if one is None or other is None:
        return None
    if one.equals(other):
        return True
    formulas = {one.kind, other.kind} <= {"formula", "number"} and "formula" in {one.kind, other.kind}
    return formulas and not (one.what or other.what) and _equal_formulas(*sorted((one.key, other.key)))


def _equal_formulas(first: str, second: str) -> bool:
    """Compare two formulas with math-verify. It gets only short formulas with the same variables.

    It ignores units, indices, case and order, which would make different formulas equal, and it may compute for ever.
    """
    formulas = first, second
    if any(len(formula) > _CHARACTERS_MAX or formula.count("^") > _POWERS_MAX for formula in formulas):
        return False
    variables = {frozenset(_COMMAND.sub("", formula)) & _LETTERS for formula in formulas}
    if len(variables) > 1 or not all(_FORMULA.fullmatch(formula) for formula in formulas):
        return False
    return _verified(first, second)


@lru_cache(256)
def _verified(first: str, second: str) -> bool:
    """Ask math-verify whether two formulas are equal. Without math-verify they count as different."""
    try:
        import math_verify  # noqa: PLC0415 - an optional extra, and slow to import
    except ImportError:
        return False
    for part in (math_verify.grader, math_verify.parser):
        part.TIMEOUT_WARNING_SHOWN = True  # it has no time limit, because that needs signals of the whole process
    parsed: list[Any] = [math_verify.parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (first, second)]
    orders = (parsed, parsed[::-1])  # math-verify allows its second argument more than its first
    return all(bool(math_verify.verify(*order, timeout_seconds=None)) for order in orders)
