"""The number in an answer, and what it counts.

A number that is read wrongly makes two different answers look the same. So this module reads only plain numbers. It
does not read numbers in dates, times, ranges, lists, bounds, powers and negations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBER_CHARACTERS_MAX = 400
"""The maximum length of a number, in characters. Longer ones are compared as text, because the time grows fast."""
_NUMBER = r"(?:[1-9]\d{0,2}(?:,\d{3})+|0|[^\W\D0]\d*)?(?:\.\d+|(?<=\d)\.?)(?:[eE][-+]?\d{1,3}|/\d+)?"
_TOKEN = re.compile(rf"[~≈]?([-+]?)([$€£¥]?)([-+]?)({_NUMBER})([$€£¥]|[^\s\d]*)")
_WORD_OR_SIGN = re.compile(r"=|[^\s=]+")
_THIN_SPACES = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_SIGNS = str.maketrans({"\u2212": "-", "\u2044": "/"})
_MONTH = r"(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)(?:uary|ruary|ch|il|ust|ember|ober)?"
_DATE = re.compile(rf"\b{_MONTH}\.?\s+\d|\d\.?\s+{_MONTH}\b", re.IGNORECASE)
_OPENING, _CLOSING = "([{\"'\u201c\u2018*_`", ")]}\"'\u201d\u2019*_`.,;:?"
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_UNITS = {
    name: unit
    for unit, names in {
        "%": "% percent",
        "°": "° degree degrees",
        "dollar": "$ dollar dollars usd",
        "euro": "€ euro euros eur",
        "pound": "£ pound pounds gbp",
        "yen": "¥ yen",
        "cent": "cent cents",
        "mm": "mm millimeter millimeters millimetre millimetres",
        "cm": "cm centimeter centimeters centimetre centimetres",
        "m": "m meter meters metre metres",
        "km": "km kilometer kilometers kilometre kilometres",
        "mile": "mile miles mi",
        "foot": "ft foot feet",
        "inch": "inch inches",
        "mg": "mg milligram milligrams",
        "g": "g gram grams",
        "kg": "kg kilogram kilograms",
        "lb": "lb lbs",
        "ml": "ml milliliter milliliters millilitre millilitres",
        "l": "l liter liters litre litres",
        "s": "s sec second seconds",
        "min": "min mins minute minutes",
        "h": "h hr hrs hour hours",
        "day": "day days",
        "week": "week weeks",
        "month": "month months",
        "year": "year years",
        "am": "am a.m",
        "pm": "pm p.m",
        "km/h": "km/h kmh kph",
        "mph": "mph",
        "m/s": "m/s",
        "°c": "°c",
        "°f": "°f",
    }.items()
    for name in names.split()
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NO_UNITS = _words("again all altogether away each in left more now over remain remaining too total")
_INTRODUCTIONS = _words("a about answer are be exactly has have he is it only she so the there they total was were")
_JOINS = _words("& * + - \u2013 / ^ \u00d7 and by minus or plus through times to x")
_CHANGES = _words(
    "cannot cubed factorial half halves least less ln log minus most negative neither never nor not or quarter"
    " quarters root sqrt squared third thirds without"
)
_BOUNDS = re.compile(r"n['\u2019]t\b|\b(?:more|fewer|greater|larger|smaller|bigger) than\b|\bup to\b|[<>≤≥≠±√]")


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a text.

    Attributes:
        key: The number in its normal form.
        what: What it counts or names: `{"km"}`, `{"apple"}`, `{"apollo"}`. Empty if the text does not say so.
    """

    key: str
    what: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Token:
    """A word of a text, or an equals sign. `number` is None if the word is no plain number."""

    text: str
    number: Number | None = None

    @property
    def has_digits(self) -> bool:
        return any(character.isdigit() for character in self.text)

    @property
    def word(self) -> str:
        return bare_word(self.text)


def with_plain_digits(text: str) -> str:
    """Replace signs that look like a minus or a slash, and remove thin spaces between groups of three digits."""
    return _THIN_SPACES.sub("", text.translate(_SIGNS))


def bare_word(word: str) -> str:
    """Return a word without case, and without the marks around it."""
    return word.casefold().lstrip(_OPENING).rstrip(_CLOSING + "!")


def changes_meaning(text: str) -> bool:
    """Return whether a text contains a negation or a bound, so that its number is not its value."""
    text = text.casefold()
    return bool(_BOUNDS.search(text)) or any(bare_word(word) in _CHANGES for word in text.split())


def only_number(text: str) -> Number | None:
    """Return the number of a short text that has only one, or the result of its equation."""
    tokens = _tokens(text)
    places = [place for place, token in enumerate(tokens) if token.has_digits]
    if not places or _DATE.search(text) or changes_meaning(text):
        return None
    last = places[-1]
    if len(places) > 1 and (tokens[last - 1].text != "=" or _joined(tokens, places)):
        return None
    return _with_what(tokens, last, short=True)


def number_of_sentence(sentence: str) -> Number | None:
    """Return the number of a sentence, unless it belongs to a list, a date or another number.

    The number after the last equals sign counts. Without an equals sign, several numbers count together: in "There are
    240 minutes in 4 hours", the last number says nothing about the answer.
    """
    tokens = _tokens(sentence)
    places = [place for place, token in enumerate(tokens) if token.has_digits]
    if not places or _DATE.search(sentence) or changes_meaning(sentence) or _joined(tokens, places):
        return None
    equals = max((place for place, token in enumerate(tokens) if token.text == "="), default=len(tokens))
    result = next((place for place in places if place > equals), None)
    return _all_numbers(tokens, places) if result is None else _with_what(tokens, result, short=False)


def _tokens(text: str) -> list[_Token]:
    words = _WORD_OR_SIGN.findall(text)
    tokens: list[_Token] = []
    for word in words:
        number = _number(word)
        before = tokens[-1].number if tokens else None
        if number and before and "/" in word and before.key.isdigit() and not before.what:  # such as 2 1/2
            tokens[-1] = _Token(f"{tokens[-1].text} {word}", replace(number, key=_sum(before.key, number.key)))
        else:
            tokens.append(_Token(word, number))
    return tokens


def _number(word: str) -> Number | None:
    """Read a word as a number with its unit, if it is nothing else."""
    word = word.lstrip(_OPENING).rstrip(_CLOSING)
    found = _TOKEN.fullmatch(word)
    if not found or not found[4] or (found[1] and found[3]):
        return None
    unit = found[2] or found[5]
    if unit and (unit not in _UNITS or (found[2] and found[5])):
        return None
    key = _normal(f"{found[1] or found[3]}{found[4]}")
    return Number(key, frozenset({_UNITS[unit]} if unit else ()))


def _normal(text: str) -> str:
    text = text.replace(",", "")
    if len(text) > NUMBER_CHARACTERS_MAX:
        return text
    above, _, below = text.partition("/")
    try:
        return str(Fraction(above) / Fraction(below or "1"))
    except ZeroDivisionError:
        return text


def _sum(first: str, second: str) -> str:
    try:
        return str(Fraction(first) + Fraction(second))
    except (ValueError, ZeroDivisionError):
        return f"{first} {second}"


def _joined(tokens: list[_Token], places: list[int]) -> bool:
    """Return whether the last number continues another one: `3, 4 and 5`, `3 apples and 5 pears`, `x = 3 or x = 5`."""
    *_, before, last = [-9, *places]
    at = last - 1
    while at > before and at > 0 and tokens[at].text == "=" and _is_letter(tokens[at - 1]):
        at -= 2
    if before >= 0 and at == before:
        return True
    near = before >= 0 and at - before <= 2  # noqa: PLR2004 - a unit and a word
    return near and (tokens[at].word in _JOINS or tokens[at].text in _JOINS or tokens[at].text[-1] in ",;")


def _all_numbers(tokens: list[_Token], places: list[int]) -> Number | None:
    """Return the numbers of a sentence as one. None if one of them is no plain number."""
    found = [_with_what(tokens, place, short=False) for place in places]
    keys = sorted({number.key for number in found if number})
    if None in found or len(keys) > 1:
        return None if None in found else Number(", ".join(keys))
    return found[-1]


def _is_letter(token: _Token) -> bool:
    return len(token.word) == 1 and token.word.isalpha()


def _with_what(tokens: list[_Token], place: int, *, short: bool) -> Number | None:
    """Return the number at a place, with what it counts."""
    number, after = tokens[place].number, tokens[place + 1 :]
    if number is None:
        return None
    if after and (scale := _SCALES.get(after[0].word.removesuffix("s"))):
        number, after = replace(number, key=_product(number.key, scale)), after[1:]
    what = {*number.what, *_unit(after)}
    if short:
        what.update(_name(tokens[:place], alone=not after))
    return replace(number, what=frozenset(what))


def _product(key: str, scale: int) -> str:
    try:
        return str(Fraction(key) * scale)
    except (ValueError, ZeroDivisionError):
        return f"{key} * {scale}"


def _unit(after: list[_Token]) -> Iterable[str]:
    """Return the unit after a number: a known one, or the last word of the text."""
    word = after[0].word if after else ""
    if word in _UNITS:
        return [_UNITS[word]]
    return [word.removesuffix("s")] if len(after) == 1 and word and word not in _NO_UNITS else []


def _name(before: list[_Token], *, alone: bool) -> Iterable[str]:
    """Return the name before a number: `Apollo` of `Apollo 11`, `x` of `x = 5`."""
    if before and before[-1].text == "=":
        return [before[-2].word] if len(before) > 1 and _is_letter(before[-2]) else []
    word = before[-1].word if before else ""
    named = before and (before[-1].text[:1].isupper() or (alone and len(before) == 1))
    return [word] if named and word not in _INTRODUCTIONS and before[-1].text[-1] != ":" else []
