"""Counts the work of a function in steps: its calls, and the characters of the texts that these calls read."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_READERS = (str(Path(json.__file__).parent), str(Path(re.__file__).parent))
"""Folders of the modules whose functions read all texts that they are given."""
_COMPARISONS = {"startswith", "endswith"}


def steps_of(act: Callable[[], object]) -> int:
    """Return the number of steps.

    Each call is a step, and so is each character of a text whose method is called. Python does not tell the arguments
    of C functions. For regular expressions, JSON, comparisons and joins, the characters of all texts in sight count:
    those in variables of the calling function and in attributes of its object. Concatenation and slicing are not calls,
    so they are not counted.
    """
    steps = 0

    def count(frame: FrameType, event: str, called: Any) -> None:
        nonlocal steps
        if event == "call":
            steps += 1
            if frame.f_code.co_filename.startswith(_READERS):
                steps += _characters_in_sight(frame)
        elif event == "c_call":
            owner = getattr(called, "__self__", None)
            if isinstance(owner, re.Pattern) or called.__name__ in _COMPARISONS:
                steps += _characters_in_sight(frame, owner)
            elif called.__name__ == "join":
                steps += _characters_in_sight(frame, owner, lists=True)
            elif isinstance(owner, (str, bytes)):
                steps += len(owner)
            steps += 1

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return steps


def _characters_in_sight(frame: FrameType, but: object = None, *, lists: bool = False) -> int:
    variables = frame.f_locals
    values = [*variables.values(), *getattr(variables.get("self"), "__dict__", {}).values()]
    texts = [value for value in values if isinstance(value, (str, bytes)) and value is not but]
    if lists:
        texts += [item for value in values if isinstance(value, list) for item in value if isinstance(item, str)]
    return sum(map(len, texts))
