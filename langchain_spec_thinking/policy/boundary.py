"""Where one step of a thought ends and the next begins, found in text however tokens or chunks split it."""

from __future__ import annotations

import re


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

    def closes(self, tail: str) -> bool:
        """Whether text that ended in `tail` ended with a boundary."""
        return self._pattern.search(tail) is not None

    def extension(self, text: str) -> int:
        """Return how many characters at the start of `text` still belong to a boundary right before it."""
        match = self._extension.match(text)
        return match.end() if match else 0
