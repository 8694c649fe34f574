"""What every client asks, and how it reports what it got."""

from __future__ import annotations

import json
import os
from typing import Any, Literal

from pydantic import BaseModel

URL = os.environ["SERVER_URL"]
KEY = os.environ["SERVER_KEY"]
MODEL = os.environ["SERVER_MODEL"]
QUESTION = os.environ["QUESTION"]
"""A problem that the pocket pair solves."""
TOKENS = 200
"""Most tokens of a reply to which the pocket pair has no sensible answer."""


class Choice(BaseModel):
    """A colour."""

    colour: Literal["red", "blue"]


def choose(colour: Literal["red", "blue"]) -> str:
    """Choose a colour."""
    return f"{colour} is chosen"


def report(**found: Any) -> None:
    """Print what the client got."""
    print(json.dumps(found))  # noqa: T201 - the test reads it
