"""Find the steps in a thought of a pocket model, and compare them with the correct steps. This needs no model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from benchmarks.pocket.problems import Problem, Sign, Sum
from benchmarks.pocket.traces import BORROWING, RECAPS

if TYPE_CHECKING:
    from collections.abc import Sequence

BOUNDARY = "\n\n"
CHECKS = ("Yes, ", *sorted({cue for cues in BORROWING.values() for cue in cues}))
"""How the paragraphs that check a step begin."""
_SUM = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")


@dataclass(frozen=True)
class WrittenStep:
    """A step that a model wrote.

    Attributes:
        wrong: Whether its numbers, its operation or its result differ from those of the correct step.
        follows: What follows the step: a paragraph that checks it, another paragraph, or the end of the thought.
        end: Where the step ends, in characters from the start of the output.
    """

    wrong: bool
    follows: Literal["check", "paragraph", "end"]
    end: int


def written_steps(problem: Problem, output: str) -> list[WrittenStep]:
    """Return the steps of an output, up to the first wrong step that its check does not correct.

    The steps after it start from a wrong number, so they cannot be compared.

    Args:
        problem: The problem that the model was asked.
        output: What the model wrote after `<think>` and a line break.
    """
    correct, steps, end = problem.sums(), list[WrittenStep](), -len(BOUNDARY)
    paragraphs = output.partition("\n</think>")[0].split(BOUNDARY)
    for index, paragraph in enumerate(paragraphs):
        end += len(BOUNDARY) + len(paragraph)
        written = _sum(paragraph)
        if written is None or paragraph.startswith((*CHECKS, *RECAPS)):
            continue
        wanted = correct[len(steps)] if len(steps) < len(correct) else None
        after = paragraphs[index + 1 :]
        steps.append(WrittenStep(written != wanted, _kind(after), end))
        corrected = steps[-1].follows == "check" and _sum(after[0]) == wanted
        if steps[-1].wrong and not corrected:
            break
    return steps


def _kind(after: Sequence[str]) -> Literal["check", "paragraph", "end"]:
    if not any(after):  # an output that was cut after a blank line ends in an empty paragraph
        return "end"
    return "check" if after[0].startswith(CHECKS) else "paragraph"


def _sum(paragraph: str) -> Sum | None:
    found = _SUM.search(paragraph)
    return Sum(int(found[1]), cast("Sign", found[2]), int(found[3]), int(found[4])) if found else None
