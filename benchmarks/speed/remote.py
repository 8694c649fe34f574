"""Cost of the client if both models are on servers. It is measured without any model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.speed import far, streaming, throughput

if TYPE_CHECKING:
    from tqdm import tqdm  # type: ignore[import-untyped]

    from benchmarks.speed.figures import Figure


def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Measure the cost of a streamed token, and how many turns one event loop can serve. Takes about four minutes."""
    if quick:
        return {
            **streaming.measure(bar.update, runs=2, tokens=150),
            **throughput.measure(bar.update, runs={2: 1, 64: 1}, tokens=5),
            **far.measure(bar.update, one_way=0.01),
        }
    return {**streaming.measure(bar.update), **throughput.measure(bar.update), **far.measure(bar.update)}
