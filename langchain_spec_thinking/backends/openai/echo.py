"""Servers that begin by repeating what they were given."""

from __future__ import annotations

_REPETITION_MIN = 12
"""A shorter text may well be repeated by the model itself, in characters."""


_OVERLAP_MIN = 16
"""A model that is told to go on may repeat the end of what it was shown; a shorter repetition may be meant."""
_OVERLAP_MAX = 400


class EchoFilter:
    """Drops what is repeated at the beginning of an output.

    While the output equals a text that the server was given it is held; if it goes on to equal all of it, it is
    dropped. Otherwise nothing is lost.

    Args:
        prefills: Texts that the server was given.
        seam: White space that ended them.
        overlap: A text of which the model itself may repeat the end.
    """

    def __init__(self, prefills: tuple[str, ...], seam: str = "", overlap: str = "") -> None:
        ends = [
            overlap[start:] for start in range(max(0, len(overlap) - _OVERLAP_MAX), len(overlap) - _OVERLAP_MIN + 1)
        ]
        given = [*(p for p in prefills if len(p) >= _REPETITION_MIN), *ends]
        # White space at the end may have been cut off on the way there.
        self._prefills = sorted({*given, *(text.rstrip() for text in given)}, key=len, reverse=True)
        self._seam = seam
        self._held: str | None = ""  # None once the beginning is over

    def pass_on(self, text: str) -> str:
        """Return what of `text`, and of what was held before, is new."""
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
        if self._seam and self._seam.startswith(self._held) and self._held != self._seam:
            return ""
        return self.rest()

    @property
    def holds(self) -> bool:
        """Whether something is held."""
        return bool(self._held)

    def rest(self) -> str:
        """Return what is still held: the output ended before it could be told from an echo."""
        text, self._held = self._held, None
        return (text or "").removeprefix(self._seam) if self._seam else text or ""
