"""Fields of what a server sent."""

from __future__ import annotations

from typing import Any


def field(of: object, name: str) -> Any:  # noqa: ANN401 - a server may put anything there
    """Return a field of decoded JSON, or of an object of the SDK's; None where there is none."""
    return of.get(name) if isinstance(of, dict) else getattr(of, name, None)
