"""`speedup_vs_naive` and `cost_per_token_flat`: one long turn, from hand-over to hand-over.

Three programs run alternately, each up to its next hand-over: our turn, the passes that it needs at least, and the
naive loop. So their times are paired at every length, and other load on the machine affects all three.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import theilslopes  # type: ignore[import-untyped]

from benchmarks.speed.figures import Figure
from benchmarks.speed.pairs import PERIOD, TAKEOVER, Pair
from benchmarks.speed.recording import Recording, replay
from benchmarks.speed.timing import clock, generate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tqdm import tqdm  # type: ignore[import-untyped]

    from benchmarks.speed.recording import Pass

LENGTHS = (256, 1024, 2048, 4096)
"""Lengths of the text, in tokens."""
AT = 2048
"""Length whose speedup is the value of the figure, in tokens."""
QUESTION = "Go on."
_ROUNDS = 1
_NAIVE_EVERY = 8
"""The naive loop is timed at every eighth hand-over, because it is slow. The times in between are interpolated."""


@dataclass
class _Times:
    """Seconds from each hand-over to the next.

    Attributes:
        ours: Our turn.
        ideal: The passes that the turn needs at least.
        naive: The naive loop, by the number of the hand-over.
    """

    ours: list[float] = field(default_factory=list)
    ideal: list[float] = field(default_factory=list)
    naive: dict[int, float] = field(default_factory=dict)

    def speedup(self, length: int) -> float:
        """Return the speedup of our turn up to a length, in tokens.

        Times of naive hand-overs that were not measured are interpolated.
        """
        return self._naive_seconds(length) / sum(self.ours[: length // PERIOD])

    def bound(self, length: int) -> float:
        """Return the speedup of the needed passes alone. No program that makes these passes can be faster."""
        return self._naive_seconds(length) / sum(self.ideal[: length // PERIOD])

    def _naive_seconds(self, length: int) -> float:
        hand_overs = range(len(self.ours[: length // PERIOD]))
        return float(np.interp(hand_overs, list(self.naive), list(self.naive.values())).sum())


def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Measure a pair with random weights and scripted text."""
    lengths = (120, 240) if quick else LENGTHS
    return one_long_turn(Pair.shaped(quick=quick), lengths, 1 if quick else _ROUNDS, bar)


def one_long_turn(pair: Pair, lengths: tuple[int, ...], rounds: int, bar: tqdm[None]) -> dict[str, Figure]:
    """Measure a pair with scripted text.

    Args:
        pair: The pair.
        lengths: Lengths of the text, in tokens.
        rounds: How often to measure.
        bar: Updated at each hand-over.
    """
    bar.set_postfix_str(pair.name)
    tiny = Pair.shaped(quick=True)  # the text is scripted, so it makes the same passes, in less time
    turn = Recording.of(tiny.chat(max_tokens=_max_tokens(lengths[-1])), tiny.models, QUESTION)
    measured = [_round(pair, turn, lengths[-1], bar) for _ in range(rounds)]
    return {
        "speedup_vs_naive": _speedup(measured, lengths, pair),
        "cost_per_token_flat": _flatness(measured, lengths, pair),
    }


def _max_tokens(thought: int) -> int:
    """Return a limit that leaves room for a thought of this length. A part of the limit is kept for the answer."""
    return thought + min(thought, 1280)


def _round(pair: Pair, turn: Recording, tokens: int, bar: tqdm[None]) -> _Times:
    times = _Times()
    ours, ideal = _ours(pair, tokens), _ideal(pair, turn)
    next(ours), next(ideal)  # skips the prompt and the first paragraph
    for number in range(tokens // PERIOD):
        began = clock()
        text = next(ours, None)
        middle = clock()
        reached = next(ideal, None)
        if text is None or reached is None:
            break
        times.ours.append(middle - began)
        times.ideal.append(clock() - middle)
        if number % _NAIVE_EVERY == 0 or number == tokens // PERIOD - 2:
            times.naive[number] = _naive(pair, text)
        bar.update()
    return times


def _ours(pair: Pair, tokens: int) -> Iterator[str]:
    """Yield the text so far at the start of every takeover."""
    text = ""
    for chunk in pair.chat(max_tokens=_max_tokens(tokens)).stream(QUESTION):
        for block in chunk.content_blocks:
            if block["type"] == "reasoning":
                if block.get("extras", {}).get("author") == "target":
                    yield text
                text += block.get("reasoning", "")


def _ideal(pair: Pair, turn: Recording) -> Iterator[Pass]:
    """Yield the pass that writes the target's first token, for every takeover."""
    before = 0
    for step in replay(pair.models, turn.needed):
        if step.model > before:
            yield step
        before = step.model


def _naive(pair: Pair, text: str) -> float:
    """Time one paragraph and one takeover by `generate`, in seconds. Each call reads the whole text.

    This is the simplest implementation. It writes no drafts, which makes it faster than a complete implementation.
    """
    began = clock()
    for model, tokenizer, tokens in zip(pair.models, pair.tokenizers, (PERIOD - TAKEOVER, TAKEOVER), strict=True):
        text += generate(model, tokenizer, QUESTION, text, tokens)
    return clock() - began


def _speedup(rounds: list[_Times], lengths: tuple[int, ...], pair: Pair) -> Figure:
    by_length = {
        length: Figure.of(
            [times.speedup(length) for times in rounds], bound=median(times.bound(length) for times in rounds)
        )
        for length in lengths
    }
    at = by_length.get(AT, by_length[lengths[-1]])
    medians = [by_length[length].value for length in lengths]
    hand_overs = list(rounds[0].naive)
    naive = np.median([list(times.naive.values()) for times in rounds], axis=0)
    return Figure(
        at.value,
        at.low,
        at.high,
        at.runs,
        target=">= 3 at 2k tokens, growing",
        details={
            "pair": pair.name,
            "bound": at.details["bound"],
            "growing": medians == sorted(medians),
            "by_hand_over": [float(median(t.naive[n] / t.ours[n] for t in rounds)) for n in hand_overs],
            "by_length": {length: figure.as_dict() for length, figure in by_length.items()},
            "tokens": [PERIOD * (number + 1) for number in hand_overs],
            "naive_ms_per_token": [1e3 * seconds / PERIOD for seconds in naive.tolist()],
        },
    )


def _flatness(rounds: list[_Times], lengths: tuple[int, ...], pair: Pair) -> Figure:
    """Fit a line through ours / ideal over the length. The value is the ratio of its end to its beginning."""
    ratios = np.concatenate([np.array(times.ours) / np.array(times.ideal) for times in rounds])
    tokens = np.concatenate([PERIOD * (np.arange(len(times.ours)) + 1) for times in rounds])
    slope, base, low, high = theilslopes(ratios, tokens)
    start, span = base + slope * lengths[0], lengths[-1] - lengths[0]
    ours, ideal = (np.median([getattr(times, name) for times in rounds], axis=0) for name in ("ours", "ideal"))
    return Figure(
        float(1 + slope * span / start),
        float(1 + low * span / start),
        float(1 + high * span / start),
        len(ratios),
        target="0.95 to 1.05",
        details={
            "pair": pair.name,
            "overhead_at_start": float(start),
            "tokens": [PERIOD * (number + 1) for number in range(len(ours))],
            "ms_per_token": [1e3 * seconds / PERIOD for seconds in ours.tolist()],
            "ideal_ms_per_token": [1e3 * seconds / PERIOD for seconds in ideal.tolist()],
        },
    )
