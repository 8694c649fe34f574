"""A step that waits for a score of the target model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.commands import Generate

SCORE_TOKENS = 4
"""The maximum length of a score request, in tokens.

It is enough for a digit with a space or a mark before it. The request ends as soon as the digit arrives.
"""
SCORE_CHARACTERS_MAX = 100
"""The maximum length of the text in which the digit is searched, in characters. A server may write too many tokens."""
NO_DIGIT = "the large model did not answer a score request with a digit, so the step was kept"
StepEnding = Literal["terminator", "stop", "length"]
"""What ended the turn or the thought together with a step: a stop string or the closing think tag (`"terminator"`), or
the end of the stream, for the given reason."""


@dataclass(frozen=True, slots=True)
class ScoredStep:
    """A step that the target model scores, and the state to restore after the score.

    Attributes:
        text: The step, with the boundary after it.
        tokens: The number of tokens of the step.
        generation: The command for which the step was written.
        written: How many tokens that command had produced.
        threshold: The minimum score at which the step is kept.
        ending: What ended the turn or the thought together with the step. None if the step ended at a boundary or at
            its maximum length.
    """

    text: str
    tokens: int
    generation: Generate | None
    written: int
    threshold: int
    ending: StepEnding | None
