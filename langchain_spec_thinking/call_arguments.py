"""Arguments of a call that have other names or other meanings in OpenAI's API than in this package."""

from __future__ import annotations

from typing import Any

from langchain_spec_thinking.surrogates import require_whole_characters

FURTHER_ARGUMENTS = ("max_completion_tokens", "n", "user")
"""Arguments of OpenAI's API that a call accepts besides the settings of a turn."""


def without_aliases(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call without `n`, and with `max_tokens` in place of `max_completion_tokens`.

    Raises:
        ValueError: `n` asks for several replies, or the two names of the token limit have different values.
    """
    known = dict(arguments)
    n = known.pop("n", None)
    if n not in (None, 1):
        msg = f"n: expected 1, because a turn has one reply, got {n!r}. Use `batch` for several replies"
        raise ValueError(msg)
    if "max_completion_tokens" not in known:
        return known
    limits = [known.pop("max_completion_tokens"), known.get("max_tokens")]
    given = [limit for limit in limits if limit is not None]
    if given[1:] and given[0] != given[1]:
        msg = (
            "max_completion_tokens: expected one limit of the tokens, because it is another name of max_tokens, got "
            f"{given[0]!r} and max_tokens={given[1]!r}. Leave one of them out"
        )
        raise ValueError(msg)
    return {**known, "max_tokens": given[0] if given else None}


def require_user(user: object) -> str | None:
    """Return the id of the application's user, as a server gets it.

    Raises:
        ValueError: The id is not a text.
    """
    if user is None:
        return None
    if not isinstance(user, str) or not user:
        msg = f"user: expected a text that is not empty, got {user!r}"
        raise ValueError(msg)
    require_whole_characters("user", user)
    return user
