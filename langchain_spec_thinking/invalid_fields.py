"""What an error of pydantic says about one field."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def reason_of(details: ErrorDetails) -> str:
    """Return why a field is invalid. For an error that a validator raised, these are exactly its words.

    Args:
        details: One of the errors that pydantic lists, with its context.
    """
    raised = details.get("ctx", {}).get("error")
    return str(raised) if isinstance(raised, ValueError) else details["msg"]
