"""The check of the general questions: whether an answer is right."""

from __future__ import annotations

import re
from fractions import Fraction

_STATED = re.compile(r"answer\s*(?:is|:)+\s*([^\n]+)", re.IGNORECASE)
_SENTENCES = re.compile(r"\n|(?<=[.!?])\s")
_COMPARED = re.compile(r"\s(?:is|are)\s+(?:\w+\s+)?(?:larger|greater|bigger|more|the|first|third)\b", re.IGNORECASE)
_RESULT = re.compile(r"=|\b(?:is|are|equals)\b", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")
_MARKS = str.maketrans("", "", "*_`$\"'\\()[]{}")
_OPTION = re.compile(r"([A-D])\) (.*)")
_LETTER = re.compile(r"\(?([A-D])(?:[).:,\s]|$)")
_YES_OR_NO = re.compile(r"\b(?:yes|no)\b")


def is_right(answer: str, right: str) -> bool:
    """Return whether an answer is right. It is what follows the last "Answer:", or the last sentence.

    The form of `right` decides how it is compared: numbers by value, several numbers in their order, an option of a
    multiple choice by its letter or its text, and other texts by their words. `|` separates texts that are all right.
    """
    given = _given(answer)
    if option := _OPTION.fullmatch(right):
        letter = _LETTER.match(given)
        return letter[1] == option[1] if letter else _says(given.translate(_MARKS), option[2])
    given = given.translate(_MARKS)
    if _YES_OR_NO.fullmatch(right):
        return _YES_OR_NO.findall(given.casefold())[:1] == [right]
    numbers = _numbers(right)
    if numbers and not _NUMBER.sub("", right).strip(" ,"):
        found = _numbers(given)
        return found == numbers if len(numbers) > 1 else _numbers(_result(given))[:1] == numbers
    return any(_says(given, one) for one in right.split("|"))


def _given(answer: str) -> str:
    stated = _STATED.findall(answer)
    sentences = [sentence for sentence in _SENTENCES.split(answer.strip()) if sentence.strip()]
    return (stated[-1] if stated else sentences[-1] if sentences else "").strip(" *_`")


def _result(given: str) -> str:
    """Return the part of a sentence that holds its number: "240" of "4 hours are 240 minutes".

    It follows the last "is", "are", "equals" or "=", except in a comparison like "5/9 is larger than 1/2".
    """
    if compared := _COMPARED.search(given):
        return given[: compared.start()] if _numbers(given[: compared.start()]) else given
    last = _RESULT.split(given)[-1]
    return last if _numbers(last) else given


def _numbers(text: str) -> list[Fraction]:
    # "10, 20" are two numbers, "1,234" is one.
    joined = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    return [number for found in _NUMBER.findall(joined) if (number := _fraction(found.strip(","))) is not None]


def _fraction(text: str) -> Fraction | None:
    above, _, below = text.replace(",", "").partition("/")
    try:
        return Fraction(above) / Fraction(below or "1")
    except ZeroDivisionError:
        return None


def _says(given: str, right: str) -> bool:
    """Return whether the words of `right` are the subject or the object of a short answer, or all of it."""
    words, wanted = _words(given), _words(right)
    subject, *rest = re.split(r" (?:is|are|comes) ", words)
    return any(part == wanted or part.endswith(f" {wanted}") for part in (subject, rest[-1] if rest else subject))


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w/]+", text.casefold()))
