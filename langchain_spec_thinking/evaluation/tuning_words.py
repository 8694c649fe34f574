"""What a tuning found, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from langchain_spec_thinking.evaluation.choice import LARGE, SMALL, compare, mean_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_spec_thinking.evaluation.choice import Judgement
    from langchain_spec_thinking.evaluation.statistics import Interval
    from langchain_spec_thinking.evaluation.tuned import Tuning

_NAMES = {SMALL: "the small model alone", LARGE: "the large model alone"}


def sentences(tuning: Tuning) -> list[str]:
    """Return the recommendation and its reasons. The first sentence says what to run."""
    return [_headline(tuning), *_reasons(tuning)]


def _headline(tuning: Tuning) -> str:
    if tuning.policy:
        return f"Run {tuning.recommended}: it pays."
    pays = "Nothing is shown to pay here" if _undecided(tuning) else "Nothing pays here"
    return f"{pays}: use {_NAMES[tuning.recommended]}."


def _undecided(tuning: Tuning) -> bool:
    """Return whether the chosen policy is better than its coin, but by so little that chance may explain it."""
    return tuning.judgement is not None and tuning.judgement.difference.value > 0 and not tuning.pays


def _reasons(tuning: Tuning) -> Iterator[str]:
    yield f"Wanted: {tuning.goal.words}."
    name, figures = tuning.chosen, tuning.reporting.figures
    if name in tuning.policies and name is not None:
        yield from _of_policy(tuning, name)
    elif name == SMALL:
        yield f"No policy does this better than {_NAMES[SMALL]}. {_on_reporting(tuning, SMALL)}"
        yield _against(tuning, SMALL, LARGE)
    else:
        yield _nothing_chosen(tuning)
    if name is not None and not tuning.goal.met_by(figures[name], figures[LARGE]):
        yield f"On the reporting part, {_NAMES.get(name, name)} misses what is wanted."


def _nothing_chosen(tuning: Tuning) -> str:
    figures = tuning.choosing.figures
    tried = [name for name in figures if name in tuning.policies]
    if not tried:
        return "No policy was tried."
    best = max(tried, key=lambda name: (figures[name].accuracy.value, -mean_of(figures[name].costs), name))
    cheaper = "" if tuning.chosen is None else " at a lower " + tuning.goal.measure
    cost = _of(figures[best].costs, figures[LARGE].costs, tuning.unit)
    return (
        f"No policy reaches this{cheaper} on the {tuning.choosing.count} questions of the choosing part. The most "
        f"accurate one, {best}, has {figures[best].accuracy.value:.1%} right{cost and ' with ' + cost}. The large "
        f"model has {figures[LARGE].accuracy.value:.1%} right."
    )


def _of_policy(tuning: Tuning, name: str) -> Iterator[str]:
    judgement = tuning.judgement
    if judgement is None:
        yield f"{name} was the best on the choosing part, but it has no answers on the reporting part to judge it by."
        return
    yield f"{name} was the best on the choosing part. {_on_reporting(tuning, name)}"
    for other in (LARGE, SMALL):
        yield _against(tuning, name, other)
    yield _against_coin(tuning, judgement)


def _against_coin(tuning: Tuning, judgement: Judgement) -> str:
    if not judgement.enough:
        return f"Too few questions for a verdict: {tuning.reporting.count}. Use about 200 questions in all."
    verdict = "better than" if judgement.pays else "not shown to be better than"
    return (
        f"It is {verdict} a coin of the same {tuning.goal.measure}, which sends {judgement.share:.1%} of the whole "
        f"questions to the large model and has {judgement.coin.value:.1%} right: {_points(judgement.difference)}."
        + (f" About {_needed(tuning, judgement)} questions in all would show this difference." * _undecided(tuning))
    )


def _needed(tuning: Tuning, judgement: Judgement) -> int:
    """Return how many questions would show the difference from the coin if it stayed as it is.

    The interval shrinks with the root of the number of questions. Half of them report.
    """
    difference = judgement.difference
    reach = (difference.high - difference.low) / 2
    return 10 * math.ceil(2 * tuning.reporting.count * (reach / difference.value) ** 2 / 10 + 1)


def _on_reporting(tuning: Tuning, name: str) -> str:
    right = tuning.reporting.figures[name].accuracy
    return (
        f"On the {tuning.reporting.count} questions of the reporting part it has {right.value:.1%} right (95% interval "
        f"{right.low:.1%} to {right.high:.1%})."
    )


def _against(tuning: Tuning, name: str, other: str) -> str:
    answered = tuning.reporting.restricted_to(name, other)
    if not answered.count:
        return f"Against {_NAMES[other]}: every question ended in an error."
    mine, theirs = answered.figures[name], answered.figures[other]
    shares = [_of(mine.costs, theirs.costs, tuning.unit), _of(mine.seconds, theirs.seconds, "time")]
    return f"Against {_NAMES[other]}: {', '.join([_points(compare(mine, theirs)), *filter(None, shares)])}."


def _of(mine: Sequence[float], theirs: Sequence[float], measure: str) -> str:
    """Return an expense as a share or a multiple of another one. Empty if the other one is 0."""
    if not sum(theirs):
        return ""
    ratio = sum(mine) / sum(theirs)
    return f"{ratio:.1f} times the {measure}" if ratio >= 2 else f"{ratio:.0%} of the {measure}"  # noqa: PLR2004


def _points(difference: Interval) -> str:
    value, low, high = (100 * part for part in (difference.value, difference.low, difference.high))
    return f"{value:+.1f} points (95% interval {low:+.1f} to {high:+.1f})"
