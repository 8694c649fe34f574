"""The plot of a pair in `build/pays.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.pays.tables import LARGE, SMALL, cost_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def draw(pair: Mapping[str, Any], file: Path) -> None:
    """Draw right answers against cost, with the line of all coins over whole questions."""
    import matplotlib as mpl  # noqa: PLC0415 - only the command draws

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    runs = pair["runs"]
    ends = [(100 * cost_ratio(pair, name), 100 * runs[name]["accuracy"]) for name in (SMALL, LARGE)]
    axes.plot(*zip(*ends, strict=True), ":", color="0.6", label="coins over whole questions")
    for name, run in runs.items():
        x, y, (low, high) = 100 * cost_ratio(pair, name), 100 * run["accuracy"], run["ci95"]
        recommended = name == pair["recommended"]
        label = f"{name} ({y:.1f}% at {x:.0f}%){', recommended' if recommended else ''}"
        error = [[y - 100 * low], [100 * high - y]]
        axes.errorbar(x, y, error, fmt="*" if recommended else "o", markersize=13 if recommended else 6, label=label)
    axes.set(
        xlabel="cost (% of the large model alone)", ylabel="right answers (%)", title=f"{pair['n']} held-out questions"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    figure.savefig(file, dpi=130)
    plt.close(figure)
