"""The value of an answer: what two answers are compared by."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from langchain_spec_thinking.json_values import read_json
from langchain_spec_thinking.policy.escalation.numbers import (
    bare_word,
    number_of_sentence,
    only_number,
    with_plain_digits,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_spec_thinking.policy.escalation.numbers import Number
    from langchain_spec_thinking.tools import ToolCall

ValueKind = Literal["calls", "json", "number", "formula", "choice", "yes or no", "short text"]
SHORT_WORDS = 8
"""The maximum length of a text that is compared as it is, in words. Longer texts may say the same in other words."""
_BOX = "\\boxed{"
_SENTENCE_END = re.compile(r"\n|[.!?]\s")
_CHOICE = re.compile(r"\(?([A-Ja-j])\)(.*)|([A-J])(?:[.:]?\s*|[.:]\s(.*))", re.DOTALL)
_NO_CHOICE = re.compile(
    r"\s*(?:[/&(]|,?\s*(?:and|or)\b|,\s*\(?[a-j]\b|(?:\S+\s+){0,2}(?:not|wrong|incorrect|false)\b)", re.IGNORECASE
)
_REASON = re.compile(r"\s*(?:,|because\b|since\b|as\b)", re.IGNORECASE)
_YES_OR_NO = re.compile(
    r"(yes|no|true|false)(?:$|[.,!;:](?!\s*\d)|\s+(?:it|he|she|they|that|this|there|i|we|you)\b)", re.IGNORECASE
)
_CONDITIONS = {"but", "except", "however", "if", "only", "partly", "sometimes", "unless"}
_STATED = re.compile(r"(?:answer|result|choice|option)\s*(?:is|are|=|:)+[\s:]*([^\n]+)", re.IGNORECASE)
_FENCE = "```"
_FRACTION = re.compile(r"(-?)\\[dt]?frac(?:\{(\d+)\}\{(\d+)\}|(\d)(\d))")
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|mbox)\s*\{([^{}]*)\}")
_LATEX = re.compile(r"\\left|\\right|\\[,;!: ]|\$|\s+")
_ARTICLES = {"a", "an", "the"}


@dataclass(frozen=True, slots=True)
class Value:
    """The value of an answer.

    Attributes:
        kind: What the value is. Values of different kinds differ.
        key: The value in its normal form.
        what: What the value belongs to: a unit, a name, or the text of a choice. Empty if the answer does not say so.
    """

    kind: ValueKind
    key: str
    what: frozenset[str] = frozenset()

    def equals(self, other: Value) -> bool:
        """Return whether two values are the same. A value that does not say its unit may have any unit."""
        fits = self.what <= other.what or other.what <= self.what
        return (self.kind, self.key) == (other.kind, other.key) and fits


def value_of(text: str, calls: Sequence[ToolCall] = ()) -> Value | None:
    """Return the value of an answer; None if the answer is free text, which cannot be compared by its value.

    The first of these that the answer has: tool calls; JSON; the last box; what follows the last "answer is"; the
    whole text if it is short; the number or the numbers of the last sentence. A box in a block of code does not count.
    """
    if calls:
        return Value("calls", canonical_calls(calls))
    text = with_plain_digits(text.strip())
    if _FENCE in text:
        block, is_whole = _unfenced(text)
        return _json(block) or (_short(block) if is_whole else _boxed_after_blocks(text))
    readers: tuple[Callable[[str], Value | None], ...] = (_json, _boxed, _stated, _short, _last_number)
    if '{"' in text or '":' in text:  # JSON, or a text with JSON in it
        readers = (_json,)
    return next((value for read in readers if (value := read(text))), None)


def canonical_calls(calls: Sequence[ToolCall]) -> str:
    """Return tool calls in their normal form: names and arguments, without ids. The order of calls does not matter."""
    return canonical_json(sorted(_canonical_call(call) for call in calls))


def _canonical_call(call: ToolCall) -> str:
    try:
        return canonical_json([call.name, call.parsed() if call.arguments.strip() else {}])
    except ValueError:  # a number that JSON cannot hold
        return canonical_json([call.name, call.arguments])


def canonical_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return JSON with sorted keys. 1.0 equals 1.

    Raises:
        ValueError: A number is not finite.
    """
    return json.dumps(_without_zero_fractions(value), sort_keys=True, ensure_ascii=False, allow_nan=False)


def _without_zero_fractions(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _without_zero_fractions(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_zero_fractions(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unfenced(text: str) -> tuple[str, bool]:
    """Return the only fenced block of a text, and whether there is no other text. Several blocks stay as they are."""
    before, *blocks = text.split(_FENCE)
    if len(blocks) != 2:  # noqa: PLR2004 - the block, and the text after it
        return text, False
    first, separator, rest = blocks[0].partition("\n")
    return (rest if separator else first).strip(), not (before + blocks[1]).strip()


def _boxed_after_blocks(text: str) -> Value | None:
    """Return the value of a box after the last fenced block. Boxes in blocks are code."""
    *blocks, end = text.split(_FENCE)
    return _boxed(end) if len(blocks) % 2 == 0 else None


def _json(text: str) -> Value | None:
    if not text.startswith(("{", "[")):
        return None
    try:
        return Value("json", canonical_json(read_json(text)))
    except ValueError:
        return None


def _boxed(text: str) -> Value | None:
    start = text.rfind(_BOX)
    if start < 0:
        return None
    depth, begin = 1, start + len(_BOX)
    for at in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return _content(text[begin:at])
    return None


def _content(content: str) -> Value | None:
    """Return the value of a box."""
    plain = _LATEX_TEXT.sub(r" \1 ", content).strip()
    for latex, sign in (("{,}", ","), ("\\%", "%"), ("\\$", "$"), ("^{\\circ}", "°"), ("^\\circ", "°")):
        plain = plain.replace(latex, sign)
    fraction = _FRACTION.fullmatch(plain)
    if fraction:
        plain = "{}{}/{}".format(*(part for part in fraction.groups() if part is not None))
    formula = _LATEX.sub("", plain).replace("dfrac", "frac").replace("tfrac", "frac").rstrip(".")
    formula = formula[1:-1] if formula.startswith("{") and formula.endswith("}") else formula
    if plain.strip() != content.strip():  # words have no case, but variables have
        formula = formula.casefold()
    one_number = None if "\\" in plain or "^" in plain else only_number(plain)
    choice = _letter(formula) if len(formula) <= len("(A).") else None
    return _of_number(one_number) or choice or (Value("formula", formula) if formula else None)


def _stated(text: str) -> Value | None:
    found = None
    for found in _STATED.finditer(text):  # noqa: B007 - only the last one counts
        pass
    return _short(found[1]) or _last_number(found[1]) if found else None


def _short(text: str) -> Value | None:
    words = [bare for word in text.split() if (bare := word.strip("*_`"))]
    text = " ".join(words)
    special = _letter(text) or _yes_or_no(text)
    if special or not 0 < len(words) <= SHORT_WORDS:
        return special
    return _of_number(only_number(text)) or Value("short text", _without_articles(words))


def _without_articles(words: list[str]) -> str:
    """Return words without case, and without articles and marks. If the text has digits, brackets and signs stay."""
    marks = ".,;:!?\"'\u201c\u201d\u2018\u2019"
    marks += "" if any(character.isdigit() for word in words for character in word) else "()"
    bare = [word.casefold().strip(marks) for word in words]
    named = [*bare[1:], ""]
    kept = [a for a, b in zip(bare, named, strict=True) if a and not (a in _ARTICLES and len(b) > 1 and b.isalpha())]
    return " ".join(kept or bare)


def _of_number(number: Number | None) -> Value | None:
    return Value("number", number.key, number.what) if number else None


def _last_number(text: str) -> Value | None:
    """Return the number of the last sentence. A number in an earlier one may be anything."""
    *_, sentence = _SENTENCE_END.split(text.strip())
    return _of_number(number_of_sentence(sentence))


def _letter(text: str) -> Value | None:
    """Return the choice with which a text begins. Its own text must fit too, but a reason does not count."""
    found = _CHOICE.fullmatch(text)
    if not found:
        return None
    rest = found[2] or found[4] or ""
    words = [] if _REASON.match(rest) else rest.split()
    what = {bare_word(word) for word in words} - _ARTICLES - {""} if len(words) <= SHORT_WORDS else set()
    letter = (found[1] or found[3]).upper()
    return None if _NO_CHOICE.match(rest) else Value("choice", letter, frozenset(what))


def _yes_or_no(text: str) -> Value | None:
    found = _YES_OR_NO.match(text)
    first, *_ = _SENTENCE_END.split(text)
    if not found or any(bare_word(word) in _CONDITIONS for word in first.split()):
        return None
    return Value("yes or no", "yes" if found[1].casefold() in {"yes", "true"} else "no")
