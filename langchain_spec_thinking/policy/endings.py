"""Finds where text must end: at a stop string, or at the end of a word before another model continues."""

from __future__ import annotations

import re
from functools import cached_property

from langchain_spec_thinking.policy.words import MARKS

WORD_MAX = 24
"""The maximum length of a word, in characters.

A longer run without white space is not a word (for example an address, or a script without spaces). The policy does not
wait for its end.
"""
WHITE_SPACE_MAX = 128
"""The maximum length of white space that the policy holds, in characters.

A model may write white space without end. The policy decides about longer white space before its end arrives.
"""
_MARKS = f"[{MARKS}]{{0,8}}"
_TOKEN = re.compile(rf"[A-Za-z0-9]{{1,8}}{_MARKS}|(?:[^\W\x00-\x7F]{_MARKS}){{1,2}}|\S{_MARKS}|\s{{32}}")
"""An approximation of one token of a common vocabulary.

It matches a short word, a part of a long word, a punctuation mark, or one or two letters of another alphabet or script:
DeepSeek's documentation counts 0.6 tokens for a Chinese character. A letter takes its combining marks along. The
pattern also matches a part of long white space. Otherwise a sentence that continues with white space would have no end.
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
        return self._beginnings.longest_at_end(end)

    def tail(self, text: str) -> str:
        """Return the end of `text` that may contain the beginning of a terminator."""
        return text[-self._partial_max :] if self._partial_max else ""

    @cached_property
    def _beginnings(self) -> Beginnings:
        return Beginnings(self._strings)


class Beginnings:
    """The beginnings of several strings, as the automaton of Aho and Corasick (1975).

    Time and memory are proportional to the total length of the strings. Each state stands for one beginning.

    Args:
        strings: The strings.
    """

    def __init__(self, strings: tuple[str, ...]) -> None:
        self._next: dict[tuple[int, str], int] = {}  # by state and character
        self._lengths = [0]  # length of the beginning of each state, in characters
        parents = [(0, "")]
        for string in strings:
            state = 0
            for length, character in enumerate(string, start=1):
                parent, state = state, self._next.setdefault((state, character), len(parents))
                if state == len(parents):
                    parents.append((parent, character))
                    self._lengths.append(length)
        self._shorter = [0] * len(parents)  # the state of the longest other beginning at the end of each beginning
        for state in sorted(range(1, len(parents)), key=self._lengths.__getitem__):
            parent, character = parents[state]
            self._shorter[state] = self._state_after(character, self._shorter[parent]) if parent else 0

    def longest_at_end(self, text: str) -> int:
        """Return the length of the longest beginning with which `text` ends, in characters."""
        return self._lengths[self._state_after(text)]

    def _state_after(self, text: str, state: int = 0) -> int:
        following, shorter = self._next, self._shorter
        for character in text:
            while (found := following.get((state, character))) is None and state:
                state = shorter[state]
            state = found or 0
        return state


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
    leads to the same decision for every vocabulary, and for every way in which a server packs tokens into chunks. White
    space at the beginning of the draft does not count.
    """
    start = len(draft) - len(draft.lstrip())
    for count, word in enumerate(_TOKEN.finditer(draft, start), start=1):
        if count == tokens:
            return word.end() if word.end() < len(draft) else None
    return None


def count_words(text: str) -> int:
    """Return the number of words and punctuation marks of a text, which the policy counts as tokens."""
    return sum(1 for _ in _TOKEN.finditer(text))
