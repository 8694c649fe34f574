"""The takeovers of a finished turn, each with the draft that it replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.report import Segment, Takeover

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_spec_thinking.report import Dropped


def takeovers_of(pieces: Iterable[tuple[Segment | Dropped, str]]) -> list[Takeover]:
    """Return the takeovers of a turn.

    Args:
        pieces: The segments and dropped drafts of the turn with their texts, in the order of the text.
    """
    takeovers, draft = [], ""
    for piece, text in pieces:
        if not isinstance(piece, Segment):
            draft = piece.text if piece.author == "speculative" else ""
        elif piece.author != "inserted":
            if piece.is_takeover:
                takeovers.append(_takeover(piece, draft, text))
            draft = ""
    return takeovers


def _takeover(segment: Segment, draft: str, text: str) -> Takeover:
    return Takeover(
        kind=segment.kind,
        cue=segment.cue,
        draft=draft,
        author=segment.author,
        channel=segment.channel,
        text=text,
        start=segment.start,
        end=segment.end,
        tokens=segment.tokens,
        seconds=segment.seconds,
    )
