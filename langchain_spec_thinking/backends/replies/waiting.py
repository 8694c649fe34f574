"""What a parser waits for while it holds text. Each piece of text is read once, however long the held text is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_STRUCTURE = re.compile(r'["\\{}\[\]]')
"""The characters that decide where a JSON value ends."""


class Wait(Protocol):
    """A condition without which a parser need not look at its held text again."""

    def arrives(self, text: str) -> bool:
        """Read the next piece of the text, and return whether the parser must look at the held text."""


class WaitForEnd:
    """Waits for the end of the text."""

    def arrives(self, text: str) -> bool:  # noqa: ARG002 - the method of every `Wait`
        """Return False."""
        return False


class WaitForText:
    """Waits for any character other than white space.

    Args:
        but: Other characters that are not waited for.
    """

    def __init__(self, but: str = "") -> None:
        self._but = but

    def arrives(self, text: str) -> bool:
        """Return whether a piece contains such a character."""
        for character in self._but:
            text = text.replace(character, "")
        return bool(text.strip())


class WaitForMark:
    """Waits for a mark, which may be split between pieces.

    Args:
        mark: The mark.
        after: The text so far, which does not contain the mark.
    """

    def __init__(self, mark: str, after: str = "") -> None:
        self._mark = mark
        self._end = after[-len(mark) :]  # may contain the beginning of the mark

    def arrives(self, text: str) -> bool:
        """Return whether the mark is complete."""
        seen = self._end + text
        self._end = seen[-len(self._mark) :]
        return self._mark in seen


class WaitForJsonEnd:
    """Waits for the last bracket of a JSON object or list, with which the text begins."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False  # the next character follows a backslash

    def arrives(self, text: str) -> bool:
        """Return whether the last bracket has come. The brackets may still contain something that is not JSON."""
        if not text:
            return False
        start = int(self._escaped)
        for found in _STRUCTURE.finditer(text):
            if found.start() < start:
                continue
            if found[0] == '"':
                self._in_string = not self._in_string
            elif found[0] == "\\":
                start = found.end() + 1
            elif not self._in_string:
                self._depth += 1 if found[0] in "{[" else -1
                if self._depth <= 0:
                    return True
        self._escaped = start > len(text)
        return False


def wait_for_json(text: str) -> Wait:
    """Return what to wait for if `text` does not begin with complete JSON."""
    if text[:1] not in {"{", "["}:
        return WaitForEnd()
    wait = WaitForJsonEnd()
    return WaitForEnd() if wait.arrives(text) else wait


def partial_mark_length(text: str, mark: str) -> int:
    """Return how many characters at the end of the text may be the beginning of a mark."""
    end = text[-(len(mark) - 1) :] if len(mark) > 1 else ""
    if mark[:1] not in end:  # nearly always
        return 0
    return next((size for size in range(len(end), 0, -1) if mark.startswith(end[-size:])), 0)


def take_until(held: str, marks: Iterable[str], *, final: bool) -> tuple[str, str, str]:
    """Split held text at the first mark. The text before it excludes what may be the beginning of a mark.

    Args:
        held: The text.
        marks: The marks.
        final: Whether no more text comes.

    Returns:
        The text before the mark, the mark, and the text to hold. The mark is empty if there is none.
    """
    marks = [*marks]
    found = [(start, mark) for mark in marks if (start := held.find(mark)) >= 0]
    if found:
        start, mark = min(found)
        return held[:start], mark, held[start + len(mark) :]
    end = len(held) - (0 if final else max(partial_mark_length(held, mark) for mark in marks))
    return held[:end], "", held[end:]
