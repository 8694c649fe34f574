"""A filter for servers that repeat the given text at the beginning of the output."""

from __future__ import annotations

_REPETITION_MIN = 12
"""Shortest repetition to remove, in characters. The model itself may repeat a shorter text."""


_OVERLAP_MIN = 16
"""Shortest repeated end of the given text to remove, in characters. A shorter repetition may be intended."""
_OVERLAP_MAX = 400


class EchoFilter:
    """Removes repeated text at the beginning of an output.

    The filter holds the output while it equals the beginning of a text that the server was given. If the output repeats
    that whole text, the filter drops it. Otherwise the filter passes on everything that it held. Each piece is compared
    once, however much is held.

    Args:
        prefills: Texts that the server was given.
        trailing_white_space: White space at the end of these texts.
        overlap: Text whose end the model itself may repeat.
    """

    def __init__(self, prefills: tuple[str, ...], trailing_white_space: str = "", overlap: str = "") -> None:
        ends = [
            overlap[start:] for start in range(max(0, len(overlap) - _OVERLAP_MAX), len(overlap) - _OVERLAP_MIN + 1)
        ]
        given = [*(p for p in prefills if len(p) >= _REPETITION_MIN), *ends]
        # A server may have removed the white space at the end.
        self._prefills = [*{*given, *(text.rstrip() for text in given)}]  # those that the output may still repeat
        self._comparing = True  # with the prefills; afterwards with the white space
        self._white_space = trailing_white_space
        self._held: list[str] | None = []  # None after the beginning of the output
        self._length = 0  # of the held text, in characters
        self._repeated = 0  # length of the longest text that the output repeats, in characters

    def pass_on(self, text: str) -> str:
        """Return the part of the held text and of `text` that is not a repetition."""
        if self._held is None:
            return text
        self._held.append(text)
        start, self._length = self._length, self._length + len(text)
        if self._comparing:
            self._compare(text, start)
            if self._prefills:
                return ""
            self._comparing = False
            text, start = "".join(self._held)[self._repeated :], 0
            self._held, self._length = [text], len(text)
        if self._length < len(self._white_space) and self._white_space.startswith(text, start):
            return ""
        return self.rest()

    @property
    def holds(self) -> bool:
        """Whether the filter holds text."""
        return bool(self._length)

    def rest(self) -> str:
        """Return the held text and stop holding. The output has ended, or the text is no repetition."""
        text = "".join(self._held or ())
        self._held, self._length = None, 0
        return text.removeprefix(self._white_space)

    def _compare(self, text: str, start: int) -> None:
        """Keep only those prefills that the output may still repeat, and record the longest repeated one.

        Args:
            text: The next piece of the output.
            start: Where the piece begins in the output, in characters.
        """
        prefills, self._prefills = self._prefills, []
        for prefill in prefills:
            if len(prefill) > self._length:
                if prefill.startswith(text, start):
                    self._prefills.append(prefill)
            elif text.startswith(prefill[start:]):
                self._repeated = max(self._repeated, len(prefill))
