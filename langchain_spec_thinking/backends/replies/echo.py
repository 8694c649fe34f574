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
    that whole text, the filter drops it. Otherwise the filter passes on everything that it held.

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
        self._prefills = sorted({*given, *(text.rstrip() for text in given)}, key=len, reverse=True)
        self._white_space = trailing_white_space
        self._held: str | None = ""  # None after the beginning of the output

    def pass_on(self, text: str) -> str:
        """Return the part of the held text and of `text` that is not a repetition."""
        if self._held is None:
            return text
        self._held += text
        if any(prefill.startswith(self._held) and prefill != self._held for prefill in self._prefills):
            return ""
        for prefill in self._prefills:
            if self._held.startswith(prefill):
                self._held = self._held.removeprefix(prefill)
                self._prefills = []
                break
        if self._white_space and self._white_space.startswith(self._held) and self._held != self._white_space:
            return ""
        return self.rest()

    @property
    def holds(self) -> bool:
        """Whether the filter holds text."""
        return bool(self._held)

    def rest(self) -> str:
        """Return the held text and stop holding. The output has ended, or the text is no repetition."""
        text, self._held = self._held, None
        return (text or "").removeprefix(self._white_space)
