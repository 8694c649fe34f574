"""A step that waits for a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.commands import EndReason, Generate

SCORE_TOKENS = 4
"""Room for a digit, a space or a mark before it; the request ends with the digit."""
NO_DIGIT = "the target was asked to score a step and answered without a digit; the step was kept"


@dataclass(frozen=True, slots=True)
class ScoredStep:
    """What is known of a step that the target is asked about.

    Attributes:
        text: The step, with the boundary after it.
        tokens: What it cost.
        generation: The command that it was written for.
        written: How many tokens the stream had brought.
        threshold: The least score with which it is kept.
        ending: What ended the turn or the thought with it, if anything did.
    """

    text: str
    tokens: int
    generation: Generate
    written: int
    threshold: int
    ending: Literal["terminator"] | EndReason | None
