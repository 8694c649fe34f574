"""Where one step of a thought ends and the next begins, found in text however tokens or chunks split it."""

from __future__ import annotations

import re

from langchain_spec_thinking.policy.endings import Terminators, indentation, sentence_end

STEP_TOKENS_MAX = 512
"""How far a step goes where no boundary ends it, in tokens."""


class Boundary:
    r"""A delimiter between steps.

    A delimiter made of newlines (the paper's `"\n\n"`) is a run of lines that are empty but for white space, and runs
    on over all such lines: `"\n\n\n"` and `"\n \n"` are one boundary each. Models write such runs as single tokens;
    cutting inside one would hand the next model a seam that it never saw in training. Any other delimiter is taken
    literally.

    Args:
        delimiter: The text between two steps, for example `"\n\n"`.
    """

    def __init__(self, delimiter: str) -> None:
        newlines = not delimiter.strip("\n")
        self._pattern = re.compile(
            r"[ \t\r]*".join([r"\n"] * len(delimiter)) if newlines else re.escape(delimiter),
        )
        self._extension = re.compile(r"(?:[ \t\r]*\n)*" if newlines else "")
        self._begun = None if newlines else Terminators((delimiter,))
        self._remembered = re.compile(r"\n\s*\Z" if newlines else rf"(?s).{{1,{len(delimiter)}}}\Z")

    def search(self, tail: str, text: str) -> tuple[int, int] | None:
        """Find the first boundary that ends in `text`.

        Args:
            tail: What `tail` returned for the text before; the boundary may begin in it.
            text: The new text.

        Returns:
            Start and end of the boundary in characters of `text`; the start is 0 where the boundary began before it.
        """
        for match in self._pattern.finditer(tail + text):
            if match.end() > len(tail):
                return max(0, match.start() - len(tail)), match.end() - len(tail)
        return None

    def tail(self, text: str) -> str:
        """Return the end of `text` in which a boundary, whole or half, may stand."""
        match = self._remembered.search(text)
        return match.group() if match else ""

    def begun(self, text: str) -> int:
        """Return how many characters at the end of `text`, which holds no boundary, may be the beginning of one."""
        if self._begun:
            return self._begun.unsure(text)
        line = len(text.rstrip(" \t\r\n"))
        end = text.find("\n", line)
        return len(text) - end if end >= 0 else 0

    def closes(self, tail: str) -> bool:
        """Whether text that ended in `tail` ended with a boundary."""
        return self._pattern.search(tail) is not None

    def extension(self, text: str) -> int:
        """Return how many characters at the start of `text` still belong to a boundary right before it."""
        match = self._extension.match(text)
        return match.end() if match else 0

    def sentence_end(self, text: str, tokens: int, *, last: bool) -> int | None:
        """Return where the sentence ends that a step begins with; None where it may still go on.

        Args:
            text: The text since the boundary before.
            tokens: How long a sentence is, unless the step ends before.
            last: Nothing follows `text`.
        """
        found = self.search("", text)
        ends = [sentence_end(text, tokens), found and found[0], len(text) if last else None]
        return min((end for end in ends if end is not None), default=None)

    def step_end(self, text: str, *, last: bool) -> int | None:
        """Return where the step ends that `text` begins with, after the boundary; None where it may still go on.

        Args:
            text: The text since the boundary before.
            last: Nothing follows `text`.
        """
        longest = sentence_end(text, STEP_TOKENS_MAX)
        found = self.search("", text)
        if found is None or (longest is not None and longest <= found[0]):
            return len(text) if longest is None and last else longest
        end = found[1] + self.extension(text[found[1] :])
        return end + indentation(text[end:]) if text[end:].strip() or last else None
