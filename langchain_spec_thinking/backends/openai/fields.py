"""Access to the fields of a server's response."""

from __future__ import annotations

from typing import Any

_OTHER_JSON = (str, bytes, int, float, list, tuple)
"""Types of JSON values without fields. Their methods are no fields, for example `str.index`."""


def field(of: object, name: str) -> Any:  # noqa: ANN401 - a server may send any value
    """Return a field of decoded JSON or of one of the SDK's objects. Return None if the field is missing."""
    if isinstance(of, dict):
        return of.get(name)
    return None if isinstance(of, _OTHER_JSON) else getattr(of, name, None)
