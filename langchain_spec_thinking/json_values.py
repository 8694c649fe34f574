"""Decodes JSON that a model, a server or a file brings. Whatever the text is, the only error is a ValueError.

Python's decoder raises a RecursionError if brackets are nested too deeply. And a value that it still decodes may be too
deep for code that walks through it, for example for pydantic. Models also write line breaks and tabs in JSON strings as
they are, without a backslash. Python's decoder reads such strings only if it is not strict.
"""

from __future__ import annotations

import json
from typing import Any

from langchain_spec_thinking.surrogates import require_whole_characters

DEPTH_MAX = 100
"""The maximum depth of nested brackets. Arguments of tools and records have fewer than 20."""
_DECODER = json.JSONDecoder(strict=False)


def read_json(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text.

    Raises:
        ValueError: The text is not JSON, its brackets are nested too deeply, or a number has too many digits.
    """
    try:
        value = json.loads(text, strict=False)
    except RecursionError:
        raise _too_deep() from None
    return _require_depth(value)


def read_json_at_start(text: str) -> tuple[Any, int]:
    """Return the JSON value with which a text begins, and where the value ends, in characters.

    Raises:
        ValueError: The text does not begin with JSON, or `read_json` would refuse the value.
    """
    try:
        value, end = _DECODER.raw_decode(text)
    except RecursionError:
        raise _too_deep() from None
    return _require_depth(value), end


def json_text(name: str, value: object) -> str:
    """Return a value of the user as JSON.

    Args:
        name: What the value is, for the error.
        value: The value.

    Raises:
        ValueError: JSON cannot hold the value, or a text in it contains half a character.
    """
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as e:
        msg = f"{name}: expected data that JSON can hold ({e})"
        raise ValueError(msg) from e
    require_whole_characters(name, text)
    return text


def _require_depth(value: Any) -> Any:  # noqa: ANN401
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEPTH_MAX):
        items = (item for parent in level for item in (parent.values() if isinstance(parent, dict) else parent))
        level = [item for item in items if isinstance(item, (dict, list))]
    if level:
        raise _too_deep()
    return value


def _too_deep() -> ValueError:
    return ValueError(f"expected JSON with at most {DEPTH_MAX} nested brackets, got more")
