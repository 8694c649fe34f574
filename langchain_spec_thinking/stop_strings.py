"""The stop strings of a turn, as users pass them."""

from __future__ import annotations

from collections.abc import Iterable

from langchain_spec_thinking.surrogates import require_whole_characters

STOP_STRINGS_MAX = 64
"""The maximum number of stop strings. OpenAI allows 4. Agents add the beginnings of their own messages."""
STOP_CHARACTERS_MAX = 1000
"""The maximum length of a stop string, in characters. Common stop strings are marks, tags and lines."""


def stop_strings(stop: object) -> tuple[str, ...]:
    """Return stop strings as a tuple. The work for each token grows with their number and length, so both are limited.

    Args:
        stop: A string, several strings, or None for no stop strings.

    Raises:
        ValueError: `stop` is of another type, a string is empty or too long, or there are too many strings.
    """
    if not isinstance(stop, Iterable | None):
        msg = f"stop: expected a string or a list of strings, got {stop!r}"
        raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting
    strings = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(strings) > STOP_STRINGS_MAX:
        msg = f"stop: expected at most {STOP_STRINGS_MAX} strings, got {len(strings)}"
        raise ValueError(msg)
    if not all(isinstance(string, str) and string for string in strings):
        msg = f"stop: expected non-empty strings, got {strings!r}"
        raise ValueError(msg)
    longest = max(map(len, strings), default=0)
    if longest > STOP_CHARACTERS_MAX:
        msg = f"stop: expected strings of at most {STOP_CHARACTERS_MAX} characters, got one of {longest} characters"
        raise ValueError(msg)
    for string in strings:
        require_whole_characters("stop", string)
    return strings
