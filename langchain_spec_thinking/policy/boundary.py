"""Finds the boundaries between the steps of a thought.

The result depends only on the text, not on how tokens or chunks split it.
"""

from __future__ import annotations

import re

from langchain_spec_thinking.policy.endings import Terminators, indentation, sentence_end

STEP_TOKENS_MAX = 512
"""The maximum length of a step, in tokens. A step without a boundary ends there."""


class Boundary:
    r"""A delimiter between steps.

    If the delimiter consists of newlines (the paper uses `"\n\n"`), lines that contain only white space belong to the
    boundary, and all such lines in a row are one boundary: `"\n\n\n"` and `"\n \n"` are one boundary each. Models
    write such a run as a single token. If the text were cut inside the run, the next model would have to continue from
    a token sequence that it never saw in training. Any other delimiter is matched literally.

    Args:
        delimiter: The text between two steps, for example `"\n\n"`.
    """

    def __init__(self, delimiter: str) -> None:
        newlines = not delimiter.strip("\n")
        self._pattern = re.compile(
            r"[ \t\r]*".join([r"\n"] * len(delimiter)) if newlines else re.escape(delimiter),
        )
        self._extension = re.compile(r"(?:[ \t\r]*\n)*" if newlines else "")
        self._partial = None if newlines else Terminators((delimiter,))
        self._tail = re.compile(r"\n\s*\Z" if newlines else rf"(?s).{{1,{len(delimiter)}}}\Z")

    def search(self, tail: str, text: str) -> tuple[int, int] | None:
        """Find the first boundary that ends in `text`.

        Args:
            tail: The result of `tail` for the text before `text`. The boundary may begin in it.
            text: The new text.

        Returns:
            Start and end of the boundary, in characters of `text`. The start is 0 if the boundary begins in `tail`.
            None if no boundary ends in `text`.
        """
        for match in self._pattern.finditer(tail + text):
            if match.end() > len(tail):
                return max(0, match.start() - len(tail)), match.end() - len(tail)
        return None

    def tail(self, text: str) -> str:
        """Return the end of `text` that may contain a complete boundary or the beginning of one."""
        match = self._tail.search(text)
        return match.group() if match else ""

    def partial_length(self, text: str) -> int:
        """Return how many characters at the end of `text` may be the beginning of a boundary.

        Args:
            text: Text without a complete boundary.
        """
        if self._partial:
            return self._partial.partial_length(text)
        line = len(text.rstrip(" \t\r\n"))
        end = text.find("\n", line)
        return len(text) - end if end >= 0 else 0

    def ends_with_boundary(self, tail: str) -> bool:
        """Return whether a text ends with a boundary, given its `tail`."""
        return self._pattern.search(tail) is not None

    def extension(self, text: str) -> int:
        """Return how many characters at the start of `text` belong to a boundary that ends right before `text`."""
        match = self._extension.match(text)
        return match.end() if match else 0

    def sentence_end(self, text: str, tokens: int, *, last: bool) -> int | None:
        """Return where the first sentence of a step ends, in characters; None if the sentence may continue.

        Args:
            text: The text since the previous boundary.
            tokens: The length of a sentence, in tokens. The sentence is shorter if the step ends earlier.
            last: Whether no more text follows `text`.
        """
        found = self.search("", text)
        ends = [sentence_end(text, tokens), found and found[0], len(text) if last else None]
        return min((end for end in ends if end is not None), default=None)

    def step_end(self, text: str, *, last: bool) -> int | None:
        """Return where the first step of `text` ends, in characters; None if the step may continue.

        The boundary after the step belongs to the step.

        Args:
            text: The text since the previous boundary.
            last: Whether no more text follows `text`.
        """
        longest = sentence_end(text, STEP_TOKENS_MAX)
        found = self.search("", text)
        if found is None or (longest is not None and longest <= found[0]):
            return len(text) if longest is None and last else longest
        end = found[1] + self.extension(text[found[1] :])
        return end + indentation(text[end:]) if text[end:].strip() or last else None
