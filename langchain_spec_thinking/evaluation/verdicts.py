"""Verdicts: sentences that say whether a pair pays, and what the questions can and cannot show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from langchain_spec_thinking.evaluation.outcomes import SIDES
from langchain_spec_thinking.evaluation.statistics import Interval, mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from langchain_spec_thinking.evaluation.results import Evaluation, Figures
    from langchain_spec_thinking.turn import Author

Relation = Literal["more", "same", "less"]
SIGNIFICANCE = 0.05
"""Significance level. A difference in right answers counts if its p-value is below this."""
MIN_QUESTIONS = 12
"""Minimum number of questions for a verdict. With fewer, intervals may be empty if all questions end alike."""
_ALONE: dict[Author, str] = {"target": "the large model alone", "speculative": "the small model alone"}


@dataclass(frozen=True)
class Verdict:
    """A sentence that compares a pair with a model alone or with a coin.

    Attributes:
        text: The sentence.
        dominated: Whether the other has more right answers and takes no more cost or time.
    """

    text: str
    dominated: bool = False


def verdicts(evaluation: Evaluation, name: str) -> list[Verdict]:
    """Compare a pair with each of its models alone, with further models, and with a coin over whole questions.

    Each comparison leaves out the questions that ended in an error on either side. Otherwise an outage of one side
    would count in favour of the other.
    """
    found: list[Verdict] = []
    others = {side: other for side in _ALONE if (other := evaluation.side(side))}
    for side, other in others.items():
        found += _compare_on_answered(evaluation, partial(_against_model, other=other, words=_ALONE[side]), name, other)
    if len(others) == len(_ALONE):
        found += _compare_on_answered(evaluation, _against_coin, name, *others.values())
    for other in evaluation.further:
        words = f"{other} alone"
        found += _compare_on_answered(evaluation, partial(_against_model, other=other, words=words), name, other)
    return list(dict.fromkeys(found))


def _compare_on_answered(
    evaluation: Evaluation, compare_pair: Callable[[Evaluation, str], Iterable[Verdict]], name: str, *others: str
) -> Iterator[Verdict]:
    answered = evaluation.restricted_to(name, *others)
    if not answered.count:
        yield Verdict(f"Nothing to compare: with {' or '.join((name, *others))}, every question ended in an error.")
    elif answered.count < MIN_QUESTIONS:
        yield Verdict(f"Too few questions for a verdict: {answered.count}. Use about 100 questions.")
    else:
        failed = evaluation.count - answered.count
        left_out = f" {failed} of {evaluation.count} questions ended in an error and were left out." if failed else ""
        for verdict in compare_pair(answered, name):
            yield replace(verdict, text=f"{verdict.text}{left_out}")


def _against_model(answered: Evaluation, name: str, other: str, words: str) -> Iterator[Verdict]:
    mine, theirs = answered.figures[name], answered.figures[other]
    test = answered.tests[other, name]
    points = test.difference * 100
    better: Relation = "same" if test.p >= SIGNIFICANCE else "more" if points > 0 else "less"
    expense, measure = _compare_expense(theirs, mine)
    how_good = f"{points:+.1f} points, p = {test.p:.2g}"
    dominated, text = compare(better, expense, words, measure)
    yield Verdict(f"{text} Right answers: {how_good}{_times(theirs, mine)}.", dominated=dominated)


def compare(better: Relation, expense: Relation, words: str, measure: str) -> tuple[bool, str]:
    """Compare a pair with another variant.

    Args:
        better: Whether the other variant has more right answers than the pair.
        expense: Whether the other variant takes more cost or time than the pair.
        words: Name of the other variant in the sentence.
        measure: "cost" or "time".

    Returns:
        Whether the pair is dominated, and the sentence.
    """
    less, more, equal = _WORDS[measure]
    text = _SENTENCES[better, expense].format(other=words, less=less, more=more, equal=equal, measure=measure)
    return better == "more" and expense != "more", text


_WORDS = {"cost": ("cheaper", "more expensive", "costs the same"), "time": ("faster", "slower", "takes as long")}
_SENTENCES: dict[tuple[Relation, Relation], str] = {
    ("more", "less"): "Dominated: {other} is better and {less} here.",
    ("more", "same"): "Dominated: {other} is better here and {equal}, as far as these questions show.",
    ("same", "less"): "No gain shown: {other} is {less} here, and the difference in right answers is within the "
    "interval.",
    ("more", "more"): "A trade-off: {other} is better, but {more}.",
    ("less", "less"): "A trade-off: {other} is {less}, but has fewer right answers.",
    ("same", "same"): "No difference shown from {other}: the differences in right answers and in {measure} are within "
    "their intervals.",
    ("same", "more"): "It pays, as far as these questions show: {other} is {more}, and the difference in right answers "
    "is within the interval.",
    ("less", "same"): "It pays: {other} has fewer right answers and {equal}, as far as these questions show.",
    ("less", "more"): "It pays: {other} has fewer right answers and is {more}.",
}


def _compare_expense(theirs: Figures, mine: Figures) -> tuple[Relation, str]:
    """Return whether the other variant takes more, and the measure: cost if prices are known, else time."""
    if theirs.costs and mine.costs:
        return _relation(theirs.costs, mine.costs), "cost"
    return _relation(theirs.seconds, mine.seconds), "time"


def _relation(theirs: Sequence[float], mine: Sequence[float]) -> Relation:
    difference = mean([a - b for a, b in zip(theirs, mine, strict=True)])
    if difference.low <= 0 <= difference.high:
        return "same"
    return "more" if difference.value > 0 else "less"


def _times(theirs: Figures, mine: Figures) -> str:
    measures = {"cost": (theirs.costs, mine.costs), "time": (theirs.seconds, mine.seconds)}
    figures = [f"; {name}: {sum(a) / sum(b):.2f} times the pair's" for name, (a, b) in measures.items() if sum(b)]
    return "".join(figures)


def _against_coin(answered: Evaluation, name: str) -> Iterator[Verdict]:
    """Compare with a coin of the same target share and a coin of the same cost.

    The two shares differ because a takeover reads the prompt again.
    """
    shares = {"a coin": answered.figures[name].target_share.value}
    if (same_cost := answered.cost_share(name)) is not None:
        shares["a coin of the same cost"] = same_cost
    elif answered.prices:
        yield Verdict(_no_coin(answered, name))
    for which, share in shares.items():
        coin, difference = answered.compare_with_coin(name, share)
        control = (
            f"{which} that sends {share:.1%} of the whole questions to the large model "
            f"({coin.value:.1%} right on average)"
        )
        figures = f"{100 * difference.value:+.1f} points, 95% interval {_points(difference)}"
        if difference.low > 0:
            yield Verdict(f"Better than {control}: {figures}.")
        elif difference.high < 0:
            yield Verdict(f"Worse than {control}: {figures}.", dominated=True)
        else:
            yield Verdict(f"No difference shown from {control}: {figures}.")


def _no_coin(answered: Evaluation, name: str) -> str:
    small, target = (sum(answered.figures[answered.side(side) or ""].costs) for side in SIDES)
    if target <= small:
        reason = "the large model alone costs no more than the small one alone"
    elif sum(answered.figures[name].costs) > target:
        reason = "it costs more than the large model alone"
    else:
        reason = "it costs less than the small model alone"
    return f"No coin over whole questions costs as much as this pair: {reason}."


def _points(interval: Interval) -> str:
    return f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
