"""Servers that begin by repeating what they were given."""

from __future__ import annotations

_REPETITION_MIN = 12
"""A shorter text may well be repeated by the model itself, in characters."""


class EchoFilter:
    """Drops what a server repeats at the beginning of its output.

    While the output equals a text that the server was given it is held; if it goes on to equal all of it, it is
    dropped. Otherwise nothing is lost.

    Args:
        prefills: Texts that the server was given.
        seam: White space that ended them.
    """

    def __init__(self, prefills: tuple[str, ...], seam: str = "") -> None:
        self._prefills = sorted((p for p in prefills if len(p) >= _REPETITION_MIN), key=len, reverse=True)
        self._seam = seam
        self._held: str | None = ""  # None once the beginning is over

    def pass_on(self, text: str) -> str:
        """Return what of `text`, and of what was held before, is new."""
        if self._held is None:
            return text
        self._held += text
        for prefill in self._prefills:
            if prefill.startswith(self._held) and prefill != self._held:
                return ""
            if self._held.startswith(prefill):
                self._held = self._held.removeprefix(prefill)
                self._prefills = []
                break
        if self._seam and self._seam.startswith(self._held) and self._held != self._seam:
            return ""
        return self.rest()

    def rest(self) -> str:
        """Return what is still held: the output ended before it could be told from an echo."""
        text, self._held = self._held, None
        return (text or "").removeprefix(self._seam) if self._seam else text or ""
