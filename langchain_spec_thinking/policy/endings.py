"""Finds where text must end: at a stop string, or at the end of a word before another model continues."""

from __future__ import annotations

import re

WORD_MAX = 24
"""The maximum length of a word, in characters.

A longer run without white space is not a word (for example an address, or a script without spaces). The policy does not
wait for its end.
"""
_TOKEN = re.compile(r"[A-Za-z0-9]{1,8}|\S")
"""An approximation of one token of a common vocabulary.

It matches a short word, a part of a long word, a punctuation mark, or one character of another script.
"""


class Terminators:
    """The strings that end a channel: the closing think tag, or the stop strings of the user.

    Args:
        strings: The strings. None of them may be empty.
    """

    def __init__(self, strings: tuple[str, ...]) -> None:
        self._strings = strings
        self._partial_max = max(map(len, strings), default=1) - 1
        self._first_characters = frozenset(s[0] for s in strings)
        self._prefixes = frozenset(s[:size] for s in strings for size in range(1, len(s) + 1))

    def find(self, text: str) -> tuple[int, int] | None:
        """Return start and end of the string that ends first in `text`, in characters; None if there is none.

        If several strings end at the same place, the result is the longest one.
        """
        found = [(start + len(s), start) for s in self._strings if (start := text.find(s)) >= 0]
        if not found:
            return None
        end, start = min(found)
        return start, end

    def partial_length(self, text: str) -> int:
        """Return how many characters at the end of `text` may be the beginning of a terminator."""
        end = self.tail(text)
        if self._first_characters.isdisjoint(end):  # the fast path: true for nearly every token
            return 0
        return next((len(end) - at for at in range(len(end)) if end[at:] in self._prefixes), 0)

    def tail(self, text: str) -> str:
        """Return the end of `text` that may contain the beginning of a terminator."""
        return text[-self._partial_max :] if self._partial_max else ""


def last_word_start(text: str) -> int:
    """Return where the last word of `text` begins, in characters. The space before the word belongs to the word.

    In common vocabularies a space belongs to the token of the word after it, and a newline to the token of the line
    before it. If text is cut at the returned position, the next model splits it into the same tokens. A run without
    white space that is longer than `WORD_MAX` is not a word; the result is then the length of `text`.
    """
    space = max(text.rfind(" "), text.rfind("\t"), text.rfind("\n"))
    start = space if text[space : space + 1] in {" ", "\t"} else space + 1
    return start if len(text) - start <= WORD_MAX else len(text)


def indentation(text: str) -> int:
    """Return the length of the white space at the start of `text`, without the last character, in characters.

    The last white space character belongs to the first word.
    """
    return max(0, len(text) - len(text.lstrip()) - 1)


def cut_at_word(text: str) -> int:
    """Return where to cut `text` so that it does not end inside a word, in characters.

    The result is the length of `text` if no cut is necessary. A text that is a single word is not cut, because
    some text must remain.
    """
    start = last_word_start(text)
    return start if text[-1:].isalnum() and text[:start].strip() else len(text)


def sentence_end(draft: str, tokens: int) -> int | None:
    """Return where the first `tokens` tokens of a draft end, in characters; None if the draft is still shorter.

    The policy counts words and punctuation marks in the text as tokens. It uses no tokenizer. Therefore the same text
    leads to the same decision for every vocabulary, and for every way in which a server packs tokens into chunks.
    """
    for count, word in enumerate(_TOKEN.finditer(draft), start=1):
        if count == tokens:
            return word.end() if word.end() < len(draft) else None
    return None
