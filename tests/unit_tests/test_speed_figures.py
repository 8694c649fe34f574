"""A median has an interval."""

from __future__ import annotations

import pytest

from benchmarks.speed.figures import Figure


@pytest.mark.parametrize(
    ("samples", "expected"),
    [([2.0], (2.0, 2.0, 2.0)), ([1.0, 3.0, 2.0], (2.0, 1.0, 3.0)), (list(range(1, 101)), (50.5, 40, 61))],
)
def test_the_interval_of_a_median(samples: list[float], expected: tuple[float, float, float]) -> None:
    figure = Figure.of(samples)
    assert (figure.value, figure.low, figure.high) == expected
