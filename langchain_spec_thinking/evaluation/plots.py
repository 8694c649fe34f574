"""The plots of an evaluation."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.results import pareto
from langchain_spec_thinking.evaluation.statistics import mean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from langchain_spec_thinking.evaluation.results import Evaluation, Figures

_BINS = 20
_RIGHT, _WRONG = "#2a7f62", "#c0483f"
_KINDS = {
    "opening": "#7f7f7f",
    "reflection": "#3b6fb6",
    "affirmation": "#e0a030",
    "verification": "#8a5fb0",
    "excessive_reflection": "#c0483f",
    "trigger": "#2a7f62",
}


def draw(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draw accuracy against cost and time, the lengths of answers and the positions of takeovers.

    If prices are not known, the target's tokens replace the cost.

    Returns:
        The PNG files.

    Raises:
        ImportError: The extra `[evaluate]` is not installed.
    """
    first = "accuracy_cost" if evaluation.prices else "accuracy_target_tokens"
    drawn = {
        first: _accuracy_against_cost,
        "accuracy_time": _accuracy_against_time,
        "lengths": _lengths,
        "takeovers": _takeovers,
    }
    files = []
    for name, draw_one in drawn.items():
        file = folder / f"{name}.png"
        with style() as plt:
            figure = draw_one(plt, evaluation)
            figure.savefig(file, dpi=150)
            plt.close(figure)
        files.append(file)
    return files


@contextmanager
def style() -> Iterator[Any]:
    """Return pyplot, with the style that all plots have."""
    import matplotlib as mpl  # noqa: PLC0415 - slow import of an optional extra

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}):
        yield plt


def _accuracy_against_cost(plt: Any, evaluation: Evaluation) -> Any:  # noqa: ANN401 - matplotlib's types
    if evaluation.prices:
        where = {name: 1000 * mean(figures.costs).value for name, figures in evaluation.rows.items()}
        return _accuracy(plt, evaluation, where, "cost of 1000 questions")
    where = {name: figures.tokens("target") for name, figures in evaluation.rows.items()}
    return _accuracy(plt, evaluation, where, "tokens of the large model per question")


def _accuracy_against_time(plt: Any, evaluation: Evaluation) -> Any:  # noqa: ANN401
    where = {name: mean(figures.seconds).value for name, figures in evaluation.figures.items()}
    return _accuracy(plt, evaluation, where, "seconds per turn")


def _accuracy(plt: Any, evaluation: Evaluation, where: dict[str, float], label: str) -> Any:  # noqa: ANN401
    figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    shown = {name: evaluation.rows[name] for name in where}
    points = {name: (where[name], 100 * figures.accuracy.value) for name, figures in shown.items()}
    small, target = evaluation.side("speculative"), evaluation.side("target")
    if small and target and "seconds" not in label:
        ends = [points[small], points[target]]
        axes.plot(*zip(*ends, strict=True), ":", color="0.6", label="coins over whole questions")
    front = pareto(points)
    best = [points[name] for name in front]
    axes.plot(*zip(*best, strict=True), "o-", color="0.8", markersize=14, zorder=0, label="Pareto front")
    colour = "0.4"
    for (name, (x, y)), figures in zip(points.items(), shown.values(), strict=True):
        text = f"{name} ({y:.1f}%)"
        if name not in evaluation.figures:  # the coin of the pair before it, at the same place or near by
            axes.errorbar(x, y, fmt="x", color=colour, markersize=8, label=text)
            continue
        low, high = 100 * figures.accuracy.low, 100 * figures.accuracy.high
        drawn = axes.errorbar(x, y, [[y - low], [high - y]], fmt="o", capsize=3, label=text)
        colour = drawn.lines[0].get_color()
    axes.set(xlabel=label, ylabel="right answers (%)", title=f"{next(iter(shown.values())).count} questions")
    most = max(where.values()) or 1
    axes.set_xlim(-0.04 * most, 1.08 * most)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure


def _lengths(plt: Any, evaluation: Evaluation) -> Any:  # noqa: ANN401
    """Draw box plots of the lengths of right and wrong answers. Long wrong ones were cut off or repeat themselves."""
    shown = evaluation.figures
    figure, axes = plt.subplots(figsize=(7.5, 1.2 + 0.75 * len(shown)), layout="constrained")
    labels = []
    for at, (name, figures) in enumerate(reversed(shown.items())):
        labels.append(name)
        for right, colour, shift in ((True, _RIGHT, 0.18), (False, _WRONG, -0.18)):
            lengths = [o.length for o in figures.outcomes if o.right == right and o.error is None]
            if not lengths:
                continue
            box = axes.boxplot(
                lengths,
                positions=[at + shift],
                widths=0.28,
                orientation="horizontal",
                patch_artist=True,
                flierprops={"markersize": 3, "markeredgecolor": colour, "alpha": 0.6},
                medianprops={"color": "white"},
            )
            box["boxes"][0].set(facecolor=colour, edgecolor=colour)
            most = max(lengths)
            axes.annotate(f" {len(lengths)}", (most, at + shift), va="center", fontsize="small", color=colour)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="tokens, thought and answer together", title="Lengths and numbers of right and wrong answers")
    axes.set_xlim(left=0)
    axes.margins(x=0.08)
    axes.grid(axis="x", alpha=0.25)
    handles = [plt.Line2D([], [], color=c, lw=6, label=n) for n, c in (("right", _RIGHT), ("wrong", _WRONG))]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize="small")
    return figure


def _takeovers(plt: Any, evaluation: Evaluation) -> Any:  # noqa: ANN401
    """Draw a histogram for each pair with takeovers: where in the text they begin, by kind."""
    names = [name for name in evaluation.pairs if evaluation.figures[name].takeovers]
    rows = max(1, len(names))
    figure, grid = plt.subplots(rows, figsize=(7.5, 1 + 1.9 * rows), layout="constrained", sharex=True, squeeze=False)
    kinds: Counter[str] = Counter()
    for name, (axes,) in zip(names, grid, strict=False):
        figures = evaluation.figures[name]
        kinds.update(_histogram(axes, figures))
        axes.set_title(f"{name}: {figures.takeovers:.1f} takeovers per turn")
        axes.set_ylabel("per turn")
    grid[-1][0].set(xlabel="position in thought and answer (%)", xlim=(0, 100))
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=_KINDS.get(kind, "0.4"), label=kind) for kind, _ in kinds.most_common()
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize="small")
    return figure


def _histogram(axes: Any, figures: Figures) -> Counter[str]:  # noqa: ANN401
    positions: dict[str, list[float]] = {}
    for outcome in figures.outcomes:
        for at, kind in outcome.takeovers:
            positions.setdefault(kind, []).append(100 * min(at, 0.999))
    kinds = sorted(positions, key=lambda kind: -len(positions[kind]))
    if kinds:
        axes.hist(
            [positions[kind] for kind in kinds],
            bins=_BINS,
            range=(0, 100),
            stacked=True,
            color=[_KINDS.get(kind, "0.4") for kind in kinds],
            weights=[[1 / figures.count] * len(positions[kind]) for kind in kinds],
        )
    return Counter({kind: len(at) for kind, at in positions.items()})
