"""Intervals and paired tests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_Z95 = 1.96


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """Return the figure for JSON. JSON has no infinity, so an infinite end becomes None."""
        return {name: value if math.isfinite(value) else None for name, value in vars(self).items()}


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test of two runs on the same questions.

    Attributes:
        difference: Share of right answers of the first run minus that of the second run.
        only_first: Number of questions that only the first run answers right.
        only_second: Number of questions that only the second run answers right.
        p: Probability of a split at least this uneven if both runs were equally good.
    """

    difference: float
    only_first: int
    only_second: int
    p: float


def wilson(right: int, count: int) -> Interval:
    """Return a share with its Wilson interval."""
    from scipy.stats import binomtest  # type: ignore[import-untyped]  # noqa: PLC0415 - slow import

    found = binomtest(right, count).proportion_ci(method="wilson")
    return Interval(right / count, float(found.low), float(found.high))


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> PairedTest:
    """Compare two runs by the questions that only one of them answers right."""
    from scipy.stats import binomtest  # noqa: PLC0415

    pairs = list(zip(first, second, strict=True))
    only_first = sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    uneven = only_first + only_second
    p = float(binomtest(only_first, uneven).pvalue) if uneven else 1.0
    return PairedTest((sum(first) - sum(second)) / len(pairs), only_first, only_second, p)


def mean(values: Sequence[float]) -> Interval:
    """Return a mean with its Student's t interval."""
    from scipy.stats import t  # noqa: PLC0415

    count = len(values)
    middle = sum(values) / count
    if count == 1:
        return Interval(middle, -math.inf, math.inf)
    spread = math.sqrt(sum((value - middle) ** 2 for value in values) / (count - 1) / count)
    reach = float(t.ppf(0.975, count - 1)) * spread
    return Interval(middle, middle - reach, middle + reach)


def ratio(parts: Sequence[float], wholes: Sequence[float]) -> Interval:
    """Return the ratio of two sums. Its interval treats questions as the sample, not tokens."""
    count, whole = len(parts), sum(wholes)
    if not whole:
        return Interval(0.0, 0.0, 1.0)
    share = sum(parts) / whole
    if count == 1:
        return Interval(share, 0.0, 1.0)
    residuals = sum((part - share * all_) ** 2 for part, all_ in zip(parts, wholes, strict=True))
    spread = math.sqrt(residuals * count / (count - 1)) / whole
    return Interval(share, max(0.0, share - _Z95 * spread), min(1.0, share + _Z95 * spread))
