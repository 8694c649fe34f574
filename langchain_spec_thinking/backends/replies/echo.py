"""A filter for servers that repeat the given text at the beginning of the output."""

from __future__ import annotations

_REPETITION_MIN = 12
"""Shortest repetition to remove, in characters. The model itself may repeat a shorter text."""
_OVERLAP_MIN = 16
"""Shortest repeated end of the given text to remove, in characters. A shorter repetition may be intended."""
_OVERLAP_MAX = 400
_BLANK_MAX = 128
"""Shortest line of spaces that is not taken for a blank line, in characters. So no more of them are held."""


class EchoFilter:
    """Removes repeated text at the beginning of an output.

    The filter holds the output while it equals the beginning of a text that the server was given. If the output repeats
    that whole text, the filter drops it. Otherwise the filter passes on everything that it held. Each piece is compared
    once, however much is held.

    Args:
        prefills: Texts that the server was given.
        trailing_white_space: White space at the end of these texts.
        overlap: Text whose end the model itself may repeat.
        repeats: Whether the server is known to repeat the text. Then a text of any length is removed.
        white_space_sent: Whether the server was given the white space. If the output begins with the same white space,
            either the server cut it off, or the model writes more of it. A single line break that would make a blank
            line with the given one is kept: without it, a boundary would be lost.

    Attributes:
        dropped: The repetition with which the output reached its limit, or the beginning of it. It is empty if other
            text came after the repetition.
    """

    def __init__(
        self,
        prefills: tuple[str, ...],
        trailing_white_space: str = "",
        overlap: str = "",
        *,
        repeats: bool = False,
        white_space_sent: bool = False,
    ) -> None:
        ends = [
            overlap[start:] for start in range(max(0, len(overlap) - _OVERLAP_MAX), len(overlap) - _OVERLAP_MIN + 1)
        ]
        self._shortest = 1 if repeats else _REPETITION_MIN
        given = [*(p for p in prefills if len(p) >= self._shortest), *ends]
        # A server may have removed the white space at the end. The output may still repeat these texts.
        self._prefills = [text for text in {*given, *(text.rstrip() for text in given)} if text]
        self._comparing = True  # with the prefills; afterwards with the white space
        self._white_space = trailing_white_space
        self._may_end_line = white_space_sent and trailing_white_space.count("\n") == 1
        self._held: list[str] | None = []  # None after the beginning of the output
        self._length = 0  # of the held text, in characters
        self._repeated = 0  # length of the longest text that the held text repeats, in characters
        self._repetition = ""  # the repetition that was removed, if no text has come after it
        self.dropped = ""

    def pass_on(self, text: str) -> str:
        """Return the part of the held text and of `text` that is not a repetition."""
        if self._held is None:
            self._repetition = "" if text else self._repetition
            return text
        self._held.append(text)
        start, self._length = self._length, self._length + len(text)
        if self._comparing:
            self._compare(text, start)
            if self._prefills:
                return ""
            self._comparing = False
            if self._repeated:  # with the white space, if the server repeats it
                return self._release(self._repeated)
            text, start = "".join(self._held), 0
            self._held = [text]
        white_space = self._repeated_white_space(text, start)
        return "" if white_space is None else self._release(white_space)

    @property
    def holds(self) -> bool:
        """Whether the filter holds text."""
        return bool(self._length)

    def rest(self, *, cut: bool = False) -> str:
        """Return the held text and stop holding, because the output has ended.

        Args:
            cut: Whether the output ended at its token limit. Then the beginning of a repetition is dropped. Otherwise
                the model itself ended there, so it is the model's own text.
        """
        if cut and self._comparing and self._length >= self._shortest:
            self.dropped = self._release(0)
            return ""
        text = self._release(self._repeated)
        if cut and not text:
            self.dropped = self._repetition
        return text

    def _release(self, characters: int) -> str:
        """Return the held text without its first characters, and stop holding."""
        text = "".join(self._held or ())
        self._held, self._length = None, 0
        released = text[characters:]
        if text:
            self._repetition = "" if released else text
        return released

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

    def _repeated_white_space(self, text: str, start: int) -> int | None:
        """Return how many characters of white space to drop from the held text; None if the next text decides.

        Args:
            text: The next piece of the output.
            start: Where the piece begins in the output, in characters.
        """
        length = len(self._white_space)
        if self._length < length:
            return None if self._white_space.startswith(text, start) else 0
        if start < length and not text.startswith(self._white_space[start:]):
            return 0
        if not self._may_end_line:
            return length
        after = text[max(0, length - start) :]
        line = after.lstrip(" \t\r")
        if self._length - len(line) >= length + _BLANK_MAX:
            return 0
        if not line:
            return None
        return length if line.startswith("\n") else 0
