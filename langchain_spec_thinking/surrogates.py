r"""Halves of characters in texts.

UTF-16 encodes some characters as two units, called surrogates. A Python string may contain one of them alone, for
example after `json.loads('"\\ud83d"')`. Such a string has no UTF-8 form: it can be neither sent nor saved nor printed.
"""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def require_whole_characters(name: str, text: str) -> None:
    """Check that a text of the user has a UTF-8 form.

    Args:
        name: What the text is, for the error.
        text: The text.

    Raises:
        ValueError: The text contains half a character.
    """
    if not text.isascii() and (half := _SURROGATE.search(text)):
        msg = (
            f"{name}: expected whole characters, got half a character ({half[0]!a}) at position {half.start()}. "
            "To replace such halves, pass text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
        )
        raise ValueError(msg)


def whole_characters(text: str) -> str:
    """Join the two halves of characters. Replace every half without its other half by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class SurrogateJoiner:
    """Does the same as `whole_characters` for text that arrives in pieces.

    Engines with UTF-16 strings may send the two halves of a character in two pieces.
    """

    def __init__(self) -> None:
        self._half = ""  # waits for its second half

    def join(self, text: str) -> str:
        """Return the next piece without halves. The last half is held, because its second half may follow."""
        if not self._half and text.isascii():
            return text
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return whole_characters(text.removesuffix(self._half))

    def rest(self) -> str:
        """Return what replaces a half that is still held when no more text comes."""
        half, self._half = self._half, ""
        return _REPLACEMENT if half else ""
