"""Finds the end of a thought whose beginning nothing marked. Many chat templates end with the opening tag."""

from __future__ import annotations

import re
from typing import Final

from langchain_spec_thinking.backends.replies.waiting import partial_mark_length
from langchain_spec_thinking.turn import THINK_CLOSE, THINK_OPEN

_FENCE: Final = "```"
_MARKS: Final = (THINK_CLOSE, THINK_OPEN, _FENCE)
_MARK: Final = re.compile("|".join(map(re.escape, _MARKS)))
_LINE_END: Final = re.compile(r"[ \t]*\n")
_BLANK_LINE: Final = re.compile(r"[ \t]*\n[ \t]*\n")
_MAY_BE_LINE_END: Final = re.compile(r"[ \t]*")
_MAY_BE_BLANK_LINE: Final = re.compile(r"[ \t]*(?:\n[ \t]*)?")
_SENTENCE_END: Final = re.compile(r"[.!?…。！？][)\]\"'”’*]*\Z")  # noqa: RUF001 - Chinese
_BEHIND: Final = 8
"""How many characters before a tag decide whether it ends a thought."""
_AHEAD: Final = 128
"""How many characters after a tag decide whether it ends a thought."""


class LoneClosingTag:
    """Looks for the closing tag of a thought in a reply without an opening tag.

    The reply may be cut into pieces in any way. A closing tag ends a thought if it is alone in its line, or if it
    stands between the end of a sentence and a blank line. A reply is about tags, and has no thought, if an opening tag
    comes first, or if the closing tag is in a block of code.

    Args:
        before: The reply so far.

    Attributes:
        searches: Whether such a tag may still come.
        held: Text that was not returned yet. After the tag was found, it is the text after the tag.
    """

    def __init__(self, before: str = "") -> None:
        self.searches = True
        self.held = ""
        self._line_is_blank = True  # so far
        self._before = ""  # the last characters
        self._in_code = False
        self.take(before, final=True)
        self.held = ""

    def take(self, text: str, *, final: bool) -> tuple[str, bool]:
        """Read more text.

        Args:
            text: The text.
            final: Whether no more text comes.

        Returns:
            The text that is certain now, and whether a tag that ends a thought comes after it.
        """
        text, self.held, start = self.held + text, "", 0
        for mark in _MARK.finditer(text) if self.searches else ():
            self._pass(text[start : mark.start()])
            start = mark.end()
            if mark[0] == THINK_CLOSE:
                ends = self._ends_thought(text[start : start + _AHEAD], final=final)
                if ends is None:
                    self.held = text[mark.start() :]
                    return text[: mark.start()], False
                self.searches = not ends
                if ends and not self._in_code:
                    self.held = text[start:]
                    return text[: mark.start()], True
            self._in_code ^= mark[0] == _FENCE
            self.searches &= mark[0] != THINK_OPEN
            if not self.searches:
                return text, False
            self._line_is_blank, self._before = False, ""
        return self._without_half_mark(text, start, final=final), False

    def _without_half_mark(self, text: str, start: int, *, final: bool) -> str:
        """Hold what may be the beginning of a mark, and return the text before it."""
        rest = text[start:]
        wait = self.searches and not final
        end = len(text) - (max(partial_mark_length(rest, mark) for mark in _MARKS) if wait else 0)
        self._pass(text[start:end])
        self.held = text[end:]
        return text[:end]

    def _pass(self, text: str) -> None:
        self._before = f"{self._before}{text}"[-_BEHIND:]
        _, line_break, line = text.rpartition("\n")
        self._line_is_blank = bool(line_break or self._line_is_blank) and not line.strip(" \t")

    def _ends_thought(self, after: str, *, final: bool) -> bool | None:
        """Return whether a closing tag ends a thought. None: this is not known yet.

        Args:
            after: The next characters after the tag.
            final: Whether no more text comes.
        """
        if not (self._line_is_blank or _SENTENCE_END.search(self._before)):
            return False
        end, may_be_end = (_LINE_END, _MAY_BE_LINE_END) if self._line_is_blank else (_BLANK_LINE, _MAY_BE_BLANK_LINE)
        if end.match(after):
            return True
        if len(after) == _AHEAD or not may_be_end.fullmatch(after):
            return False
        return self._line_is_blank if final else None
