"""The text of a takeover: how much of it is committed, and where it ends."""

from __future__ import annotations

import re

from langchain_spec_thinking.policy.endings import WORD_MAX, last_word_start

WORD_TOKENS = 8
"""How many more tokens a takeover may take to finish its last word."""
_SPACE = re.compile("[ \\t\\n]")


class TakeoverText:
    """The text that the current takeover has committed.

    Args:
        limit: The number of tokens after which the takeover ends at white space. None: its stream ends it.

    Attributes:
        limit: As above.
        is_blank: Whether only white space is committed.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.is_blank = True
        self._parts: list[str] = []
        self._end = ""  # the end of the text, which may contain the beginning of a word
        self._limit_at: int | None = None  # where the held text reached the limit, in characters

    @property
    def text(self) -> str:
        """The committed text."""
        return "".join(self._parts)

    def add(self, text: str) -> None:
        """Record committed text."""
        self._parts.append(text)
        self._end = (self._end + text)[-WORD_MAX - 2 :]
        self.is_blank = self.is_blank and not text.strip()

    def next_words(self, head: str, written: int) -> tuple[int, bool]:
        """Return how much of the held text to commit, in characters, and whether the takeover is then complete.

        The last word may be incomplete, so it stays held. At the limit, the takeover is complete if its text ends with
        white space, or else as soon as white space follows. A space belongs to the word after it, and a newline to the
        line before it.

        Args:
            head: The part of the held text before any terminator.
            written: How many tokens the takeover has.
        """
        if self.limit is None or written < self.limit:
            return self._words(head), False
        if self._limit_at is None:
            line = head.rstrip(" \t")
            ended = len(line) < len(head) or (self._end + line).endswith("\n")
            if ended and not (self.is_blank and not line.strip()):
                return len(line), True
            words = self._words(head)
            self._limit_at = len(head) - words
            return words, False
        indentation = len(head) - len(head.lstrip()) if self.is_blank else 0
        space = _SPACE.search(head, max(indentation, self._limit_at))
        if space is None:
            return 0, False
        return space.end() if space[0] == "\n" else space.start(), True

    def _words(self, head: str) -> int:
        """Return the length of the held text without its last word, in characters."""
        return max(0, last_word_start(self._end + head) - len(self._end))
