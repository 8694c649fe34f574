"""Propose cue lists from recorded runs: openings of steps that are typical of wrong answers."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_spec_thinking.evaluation.statistics import Interval
from langchain_spec_thinking.policy.blocks import Blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from langchain_spec_thinking.recording.record import Record

_BOUNDARY = re.compile(r"\n[ \t\r]*\n\s*")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_WORDS = 3
_OPENING_MAX = 1000
"""How much of a step is read to find its first words, in characters."""
_Z95 = 1.96
_SMOOTHING = 0.5
"""Added to each count, so that no count is 0 (Haldane-Anscombe correction)."""


@dataclass(frozen=True)
class Opening:
    """The first words of steps.

    Attributes:
        words: One to three words, spelled as in a `Lexicon`.
        right: Number of turns with a right answer in which a step begins with these words.
        wrong: Number of turns with a wrong answer in which a step begins with these words.
        log_odds: Log of the odds ratio of this opening in wrong answers against right answers, with its 95% interval. 0
            means no difference.
    """

    words: str
    right: int
    wrong: int
    log_odds: Interval


@dataclass(frozen=True)
class Mined:
    """The openings that were found.

    Attributes:
        openings: All openings that are frequent enough. Those most typical of wrong answers come first.
        right: Number of turns with a right answer.
        wrong: Number of turns with a wrong answer.
    """

    openings: tuple[Opening, ...]
    right: int
    wrong: int

    @property
    def cues(self) -> tuple[str, ...]:
        """Openings with an interval above 0, which indicate wrong answers. Longer forms of a cue are left out."""
        indicative = {opening.words for opening in self.openings if opening.log_odds.low > 0}
        return tuple(
            opening.words
            for opening in self.openings
            if opening.words in indicative
            and not any(opening.words.startswith(f"{shorter} ") for shorter in indicative)
        )


def mine(turns: Iterable[tuple[Record, bool]], min_turns: int = 5) -> Mined:
    """Count in how many turns a step begins with the same words.

    The unit is the turn, not the step, because wrong answers are longer and the steps of one turn are similar.

    Args:
        turns: Records, each with whether its answer is right.
        min_turns: Minimum number of turns in which an opening must occur.

    Raises:
        ValueError: There are no right answers or no wrong answers.
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
        if counts[True][words] + counts[False][words] >= min_turns
    ]
    counted = {opening.words: (opening.right, opening.wrong) for opening in found}
    # If "the" follows every "with", then "with the" gives no more information than "with".
    found = [o for o in found if counted.get(o.words.rpartition(" ")[0]) != (o.right, o.wrong)]
    found.sort(key=lambda opening: (-opening.log_odds.low, opening.words))
    return Mined(tuple(found), totals[True], totals[False])


def steps(record: Record) -> Iterator[str]:
    """Yield what the small model wrote after each blank line, including discarded drafts.

    Read the thought, or the answer if there is no thought, and ignore blank lines in blocks of code. Policies do the
    same.
    """
    text, channel = (record.thinking, "thinking") if record.thinking else (record.answer, "answer")
    segments = [segment for segment in record.report["segments"] if segment["channel"] == channel]
    ends = [segment["end"] for segment in segments]
    blocks, seen = Blocks(), 0
    for boundary in _BOUNDARY.finditer(text):
        blocks, seen = blocks.after(text[seen : boundary.end()]), boundary.end()
        number = bisect_right(ends, boundary.end())
        if not blocks.is_open and number < len(segments) and segments[number]["author"] == "speculative":
            yield text[boundary.end() : boundary.end() + _OPENING_MAX]
    for draft in record.report["dropped"]:
        before = text[max(0, draft["at"] - _OPENING_MAX) : draft["at"]]
        if (draft["author"], draft["channel"]) == ("speculative", channel) and before.rstrip(" ").endswith("\n"):
            yield draft["text"]


def openings(step: str) -> Iterator[str]:
    """Yield the first word of a step, its first two words and its first three. Stop at anything that is not a word."""
    words: list[str] = []
    for token in step.split(maxsplit=_WORDS)[:_WORDS]:
        word = _WORD.match(token)
        if not word:
            return
        words.append(word.group().casefold())
        yield " ".join(words)
        if word.end() < len(token):
            return


def _log_odds(words: str, counts: Mapping[bool, Counter[str]], totals: Mapping[bool, int]) -> Interval:
    with_it = {right: counts[right][words] + _SMOOTHING for right in (True, False)}
    without = {right: totals[right] - counts[right][words] + _SMOOTHING for right in (True, False)}
    value = math.log(with_it[False] * without[True] / (without[False] * with_it[True]))
    spread = _Z95 * math.sqrt(sum(1 / count for count in (*with_it.values(), *without.values())))
    return Interval(value, value - spread, value + spread)
