"""Access to the fields of a server's response."""

from __future__ import annotations

from typing import Any


def field(of: object, name: str) -> Any:  # noqa: ANN401 - a server may send any value
    """Return a field of decoded JSON or of one of the SDK's objects. Return None if the field is missing."""
    return of.get(name) if isinstance(of, dict) else getattr(of, name, None)
