"""What Python prints because no caller can handle it, for example an error while an object is collected."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def collecting_unraisable() -> Iterator[list[str]]:
    """Yield a list of the errors that Python prints in this context. They are printed too."""
    found: list[str] = []
    before = sys.unraisablehook

    def collect(unraisable: sys.UnraisableHookArgs) -> None:
        what = unraisable.err_msg or "Exception ignored in"
        found.append(f"{what}: {unraisable.object!r}: {unraisable.exc_value!r}"[:300])
        before(unraisable)

    sys.unraisablehook = collect
    try:
        yield found
    finally:
        sys.unraisablehook = before
