"""Cue lists from recorded runs: how steps of wrong answers begin, and steps of right ones do not."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from langchain_spec_thinking.recording.record import Record

_BOUNDARY = re.compile(r"\n[ \t\r]*\n\s*")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_WORDS = 3
_Z95 = 1.96
_SMOOTHING = 0.5
"""Haldane's and Anscombe's: what is added to each count, so that none is nothing."""


@dataclass(frozen=True)
class Opening:
    """Words that steps begin with.

    Attributes:
        words: One to three, as a lexicon spells them.
        right: In how many turns with a right answer a step begins so.
        wrong: In how many with a wrong one.
        log_odds: How much likelier wrong answers hold it than right ones, with its 95% interval; 0 is no difference.
    """

    words: str
    right: int
    wrong: int
    log_odds: Interval


@dataclass(frozen=True)
class Mined:
    """What was found.

    Attributes:
        openings: All that are frequent enough, the most telling of wrong answers first.
        right: Turns with right answers.
        wrong: Turns with wrong ones.
    """

    openings: tuple[Opening, ...]
    right: int
    wrong: int

    @property
    def cues(self) -> tuple[str, ...]:
        """The openings that tell of wrong answers: their interval lies above 0, and no beginning of theirs tells it."""
        telling = {opening.words for opening in self.openings if opening.log_odds.low > 0}
        return tuple(
            opening.words
            for opening in self.openings
            if opening.words in telling and not any(opening.words.startswith(f"{shorter} ") for shorter in telling)
        )


def mine(turns: Iterable[tuple[Record, bool]], least: int = 5) -> Mined:
    """Count how steps begin.

    Turns are counted, not steps: wrong answers are longer, and steps of one turn are alike.

    Args:
        turns: Records, and whether their answers are right.
        least: In how many turns an opening must be found.

    Raises:
        ValueError: There are no right answers, or no wrong ones.
    """
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    totals: Counter[bool] = Counter()
    for record, right in turns:
        totals[right] += 1
        counts[right].update({opening for step in steps(record) for opening in openings(step)})
    if not (totals[True] and totals[False]):
        msg = f"expected right and wrong answers, got {totals[True]} right and {totals[False]} wrong ones"
        raise ValueError(msg)
    found = [
        Opening(words, counts[True][words], counts[False][words], _log_odds(words, counts, totals))
        for words in counts[True] | counts[False]
        if counts[True][words] + counts[False][words] >= least
    ]
    counted = {opening.words: (opening.right, opening.wrong) for opening in found}
    # "with the", where every "with" is one, says what "with" says.
    found = [o for o in found if counted.get(o.words.rpartition(" ")[0]) != (o.right, o.wrong)]
    found.sort(key=lambda opening: (-opening.log_odds.low, opening.words))
    return Mined(tuple(found), totals[True], totals[False])


def steps(record: Record) -> Iterator[str]:
    """Return what the small model wrote after each blank line, whether it was kept or dropped.

    Of the thought; of the answer where there is none, as the policy has it.
    """
    text, channel = (record.thinking, "thinking") if record.thinking else (record.answer, "answer")
    for boundary in _BOUNDARY.finditer(text):
        if _author(record.report["segments"], channel, boundary.end()) == "speculative":
            yield text[boundary.end() :]
    for draft in record.report["dropped"]:
        before = text[: draft["at"]]
        if (draft["author"], draft["channel"]) == ("speculative", channel) and before.rstrip(" ").endswith("\n"):
            yield draft["text"]


def openings(step: str) -> Iterator[str]:
    """Return the first word of a step, the first two, the first three, as far as only white space is between them."""
    words: list[str] = []
    for token in step.split(maxsplit=_WORDS)[:_WORDS]:
        word = _WORD.match(token)
        if not word:
            return
        words.append(word.group().casefold())
        yield " ".join(words)
        if word.end() < len(token):
            return


def _author(segments: Sequence[Mapping[str, Any]], channel: str, at: int) -> str | None:
    return next((s["author"] for s in segments if s["channel"] == channel and s["start"] <= at < s["end"]), None)


def _log_odds(words: str, counts: Mapping[bool, Counter[str]], totals: Mapping[bool, int]) -> Interval:
    with_it = {right: counts[right][words] + _SMOOTHING for right in (True, False)}
    without = {right: totals[right] - counts[right][words] + _SMOOTHING for right in (True, False)}
    value = math.log(with_it[False] * without[True] / (without[False] * with_it[True]))
    spread = _Z95 * math.sqrt(sum(1 / count for count in (*with_it.values(), *without.values())))
    return Interval(value, value - spread, value + spread)
