"""A measured figure: a median with its confidence interval."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from scipy.stats import quantile_test  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Sequence


class Skipped(Exception):  # noqa: N818 - it is not an error
    """A part cannot be measured here. The message says what is missing, and how to get it."""


@dataclass(frozen=True)
class Figure:
    """A median of paired runs.

    Attributes:
        value: The median.
        low: Lower end of the 95% interval of the median. The interval assumes nothing about the distribution. With
            fewer than six runs, it is the minimum.
        high: Upper end of the interval. With fewer than six runs, it is the maximum.
        runs: Number of runs.
        unit: Unit of `value`, `low` and `high`. Most figures are ratios of two times measured in one run.
        target: Target of the value, as text ("<= 1.03"). None if there is no target.
        details: Further results, by name.
    """

    value: float
    low: float
    high: float
    runs: int
    unit: str = "ratio"
    target: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, samples: Sequence[float], *, unit: str = "ratio", target: str | None = None, **details: Any) -> Figure:
        """Compute the figure from the results of the runs.

        Args:
            samples: One number per run, at least one.
            unit: Unit of the numbers.
            target: Target of the median, as text.
            **details: Further results.
        """
        interval = quantile_test(samples, p=0.5).confidence_interval(0.95)
        low = min(samples) if math.isnan(interval.low) else float(interval.low)
        high = max(samples) if math.isnan(interval.high) else float(interval.high)
        return cls(float(median(samples)), low, high, len(samples), unit, target, details)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry for `build/bench.json`."""
        return asdict(self)
