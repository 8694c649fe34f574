"""A plot of the results."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from benchmarks.speed.tables import figures, met

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

_COLOURS = {True: "tab:green", False: "tab:red", None: "tab:gray"}


def draw(results: Mapping[str, Any], file: Path) -> None:
    """Plot every ratio with its target, and the cost per token over the length of the text.

    Args:
        results: Content of `build/bench.json`.
        file: Image file to write.
    """
    import matplotlib as mpl  # noqa: PLC0415 - only the command plots

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    ratios = {name: figure for name, figure in figures(results).items() if figure["unit"] == "ratio"}
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 2 + 0.45 * max(5, len(ratios))), layout="constrained")
    _ratios(left, ratios)
    _lengths(right, ratios)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _ratios(axes: Axes, ratios: Mapping[str, Mapping[str, Any]]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415 - only the command plots

    for row, figure in enumerate(ratios.values()):
        value, low, high = (figure[key] for key in ("value", "low", "high"))
        colour = _COLOURS[met(value, figure["target"])]
        axes.errorbar(
            value, row, xerr=[[max(0, value - low)], [max(0, high - value)]], fmt="o", capsize=3, color=colour
        )
        targets = [float(number) for number in re.findall(r"[\d.]+", figure["target"] or "")]
        limits = targets if " to " in (figure["target"] or "") else targets[:1]
        axes.scatter(limits, [row] * len(limits), marker="|", s=300, color="black", zorder=3)
        end = max([high, *limits])  # the number stands to the right of the bar and of the mark, so it covers neither
        axes.annotate(f"{value:.3g}", (end, row), (6, -3), textcoords="offset points", fontsize=9, color=colour)
    axes.set_xscale("log", subs=range(2, 10))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # a label at each of 1 to 9 would cover its neighbours
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(ratios)), ratios)
    axes.invert_yaxis()
    axes.margins(x=0.15, y=0.1)
    axes.grid(axis="x", which="both", alpha=0.3)
    axes.set(xlabel="ratio", title="Green: met, red: missed; the black mark is the target")


def _lengths(axes: Axes, ratios: Mapping[str, Mapping[str, Any]]) -> None:
    axes.set(xlabel="text length in tokens", ylabel="milliseconds per token", title="Cost per token over text length")
    if not {"speedup_vs_naive", "cost_per_token_flat"} <= ratios.keys():
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
        return
    naive, flat = (ratios[name]["details"] for name in ("speedup_vs_naive", "cost_per_token_flat"))
    axes.plot(naive["tokens"], naive["naive_ms_per_token"], "s--", color="tab:orange", label="naive loop")
    axes.plot(flat["tokens"], flat["ms_per_token"], ".-", color="tab:blue", label="this package")
    axes.plot(flat["tokens"], flat["ideal_ms_per_token"], "-", color="black", linewidth=1, label="lower bound")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(which="both", alpha=0.3)
    speedup = axes.twinx()
    by_length = ratios["speedup_vs_naive"]["details"]["by_length"]
    lengths = [int(length) for length in by_length]
    speedup.plot(lengths, [figure["value"] for figure in by_length.values()], "D-", color="tab:green", label="speedup")
    speedup.set_ylabel("speedup of the whole turn over the naive loop", color="tab:green")
    speedup.set_ylim(bottom=0)
    lines = [*axes.get_legend_handles_labels()[0], *speedup.get_legend_handles_labels()[0]]
    axes.legend(handles=lines, loc="upper left", frameon=False)
