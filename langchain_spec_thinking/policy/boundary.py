"""Finds the boundaries between the steps of a thought.

The result depends only on the text, not on how tokens or chunks split it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from langchain_spec_thinking.policy.endings import WHITE_SPACE_MAX, Terminators, indentation, sentence_end

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.blocks import Blocks

STEP_TOKENS_MAX = 512
"""The maximum length of a step, in tokens. A step without a boundary ends there."""
_OTHER_WHITE_SPACE = re.compile(r"[^\S \t\r\n]")
"""White space that ends a run of lines, for example a form feed."""


class Boundary:
    r"""A delimiter between steps.

    If the delimiter consists of newlines (the paper uses `"\n\n"`), lines that contain only white space belong to the
    boundary, and all such lines in a row are one boundary: `"\n\n\n"` and `"\n \n"` are one boundary each. Models
    write such a run as a single token. If the text were cut inside the run, the next model would have to continue from
    a token sequence that it never saw in training. Any other delimiter is matched literally.

    Args:
        delimiter: The text between two steps, for example `"\n\n"`.

    Attributes:
        is_blank_line: Whether the delimiter consists of newlines.
    """

    def __init__(self, delimiter: str) -> None:
        newlines = not delimiter.strip("\n")
        self._pattern = re.compile(
            r"[ \t\r]*".join([r"\n"] * len(delimiter)) if newlines else re.escape(delimiter),
        )
        self._length = len(delimiter)
        self.is_blank_line = newlines
        self._partial = None if newlines else Terminators((delimiter,))

    def search(self, tail: str, text: str, blocks: Blocks | None = None) -> tuple[int, int] | None:
        """Find the first boundary that ends in `text`.

        Args:
            tail: The result of `tail` for the text before `text`. The boundary may begin in it.
            text: The new text.
            blocks: The block in which `text` begins, if any. A delimiter inside a block is no boundary. None: blocks
                are ignored.

        Returns:
            Start and end of the boundary, in characters of `text`. The start is 0 if the boundary begins in `tail`.
            None if no boundary ends in `text`.
        """
        seen = 0
        for match in self._pattern.finditer(tail + text):
            end = match.end() - len(tail)
            if end <= 0:
                continue
            if blocks is not None:
                blocks, seen = blocks.after(text[seen:end]), end
            if blocks is None or not blocks.is_open:
                return max(0, match.start() - len(tail)), end
        return None

    def tail(self, text: str) -> str:
        """Return the end of `text` that may contain a complete boundary or the beginning of one.

        If the delimiter consists of newlines, the result is shorter than that end, but leads to the same decisions:
        `search` needs to know only how many newlines of a boundary are there.
        """
        if self._partial:
            return text[-self._length :]
        *before, lines = _OTHER_WHITE_SPACE.split(text[len(text.rstrip()) :])
        newlines = lines.count("\n")
        if newlines >= self._length:
            newlines = self._length + newlines % self._length
        ended = any(run.count("\n") >= self._length for run in before)
        return ("\n" * self._length + "\f" if ended else "") + "\n" * newlines

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
        if self._partial:
            return 0
        return text.rfind("\n", 0, len(text) - len(text.lstrip(" \t\r\n"))) + 1

    def end_with_white_space(self, text: str, end: int, *, last: bool) -> int | None:
        """Return where a step ends, in characters, with the white space that belongs to it.

        None if more white space may follow. The step ends within `WHITE_SPACE_MAX` characters after its boundary.

        Args:
            text: The text since the previous boundary.
            end: Where the boundary after the step ends, in characters.
            last: Whether no more text follows `text`.
        """
        after = text[end : end + WHITE_SPACE_MAX]
        if not (last or after.strip() or len(after) == WHITE_SPACE_MAX):
            return None
        extension = self.extension(after)
        return end + extension + indentation(after[extension:])

    def sentence_end(self, text: str, tokens: int, blocks: Blocks | None = None, *, last: bool) -> int | None:
        """Return where the first sentence of a step ends, in characters; None if the sentence may continue.

        Args:
            text: The text since the previous boundary.
            tokens: The length of a sentence, in tokens. The sentence is shorter if the step ends earlier.
            blocks: As in `search`.
            last: Whether no more text follows `text`.
        """
        found = self.search("", text, blocks)
        sentence = text[: found[0] + 1] if found else text
        ends = [sentence_end(sentence, tokens), found and found[0], len(text) if last else None]
        return min((end for end in ends if end is not None), default=None)

    def step_end(self, text: str, blocks: Blocks | None = None, *, last: bool) -> int | None:
        """Return where the first step of `text` ends, in characters; None if the step may continue.

        The boundary after the step belongs to the step.

        Args:
            text: The text since the previous boundary.
            blocks: As in `search`.
            last: Whether no more text follows `text`.
        """
        longest = sentence_end(text, STEP_TOKENS_MAX)
        found = self.search("", text, blocks)
        if found is None or (longest is not None and longest <= found[0]):
            return len(text) if longest is None and last else longest
        return self.end_with_white_space(text, found[1], last=last)
