"""A plot of what the process uses over the turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.soak.samples import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_UNITS = {"memory": "memory (MB)", "allocated": "allocated (MB)"}


def draw(results: Mapping[str, Any], file: Path) -> None:
    """Plot each quantity over the turns, with the medians of both halves.

    Args:
        results: Content of the JSON file.
        file: Image file to write.
    """
    import matplotlib as mpl  # noqa: PLC0415 - only the command plots

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    samples, growth = results["samples"], results["growth"]
    figure, axes = plt.subplots(len(QUANTITIES), 1, sharex=True, figsize=(9, 13), layout="constrained")
    for plot, name in zip(axes, QUANTITIES, strict=True):
        plot.plot([one["turns"] for one in samples], [one[name] for one in samples], ".-", color="tab:blue")
        colour = "tab:red" if growth[name]["grew"] else "tab:green"
        for half, style in (("first_half", ":"), ("second_half", "--")):
            plot.axhline(growth[name][half], color=colour, linestyle=style, label=f"median of the {half[:-5]} half")
        plot.set(ylabel=_UNITS.get(name, name))
        plot.set_ylim(bottom=0)
        plot.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    axes[-1].set_xlabel("turns")
    figure.savefig(file, dpi=130)
    plt.close(figure)
