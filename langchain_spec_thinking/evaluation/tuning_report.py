"""What a tuning found, in tables, in a plot and as data."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.choice import LARGE, SMALL, compare, mean_of
from langchain_spec_thinking.evaluation.plots import style
from langchain_spec_thinking.evaluation.results import pareto
from langchain_spec_thinking.evaluation.tuning_words import sentences

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_spec_thinking.evaluation.results import Figures
    from langchain_spec_thinking.evaluation.statistics import Interval
    from langchain_spec_thinking.evaluation.tables import Rows
    from langchain_spec_thinking.evaluation.tuned import Tuning

_GREY = "0.65"


def choosing_table(tuning: Tuning) -> Rows:
    """Return a row for each variant of the choosing part, the cheapest first.

    A policy that was dropped has the figures of its last round.
    """
    heading = ["policy", "n", *_heading(tuning), ""]
    last = last_figures(tuning)
    shares = {name: _share(tuning, name, figures.count) for name, figures in last.items()}
    rows = [
        [name, str(last[name].count), *_cells(tuning, last[name], shares[name]), _note(tuning, name)]
        for name in sorted(last, key=lambda name: (shares[name], name))
    ]
    return [heading, *rows]


def reporting_table(tuning: Tuning) -> Rows:
    """Return a row for each model alone, for the chosen policy, and for the coin of the same cost or time."""
    heading = ["policy", *_heading(tuning)]
    figures = tuning.reporting.figures
    large = mean_of(figures[LARGE].costs)
    rows = [[name, *_cells(tuning, one, mean_of(one.costs) / large if large else 0.0)] for name, one in figures.items()]
    if tuning.judgement:
        share = tuning.judgement.share
        cost, seconds = (
            share * mean_of(b) + (1 - share) * mean_of(a)
            for a, b in (
                (figures[SMALL].costs, figures[LARGE].costs),
                (figures[SMALL].seconds, figures[LARGE].seconds),
            )
        )
        right = _right(tuning.judgement.coin)
        rows.append(["coin", right, *_expense(tuning, cost, cost / large if large else 0.0, seconds)])
    return [heading, *rows]


def _heading(tuning: Tuning) -> list[str]:
    return ["right (95%)", "cost of 1000" if tuning.prices else "large tokens", "share", "s/turn"]


def _cells(tuning: Tuning, figures: Figures, share: float) -> list[str]:
    expense = _expense(tuning, mean_of(figures.costs), share, mean_of(figures.seconds))
    return [_right(figures.accuracy), *expense]


def _right(accuracy: Interval) -> str:
    return f"{accuracy.value:.1%} ({100 * accuracy.low:.0f}-{100 * accuracy.high:.0f})"


def _expense(tuning: Tuning, cost: float, share: float, seconds: float) -> list[str]:
    return [f"{1000 * cost:.4g}" if tuning.prices else f"{cost:.0f}", f"{share:.0%}", f"{seconds:.2f}"]


def _note(tuning: Tuning, name: str) -> str:
    if name == tuning.chosen:
        return "best"
    if name not in tuning.choosing.figures or name in tuning.rounds[-1].dropped:
        return "dropped"
    return "front" if name in pareto_front(tuning) else ""


def last_figures(tuning: Tuning) -> dict[str, Figures]:
    """Return the figures of each variant in the last round that it took part in."""
    return {name: figures for one in tuning.rounds for name, figures in one.evaluation.figures.items()}


def pareto_front(tuning: Tuning) -> list[str]:
    """Return the names of the variants of the last round that no other one beats in right answers and expense."""
    figures = tuning.choosing.figures
    return pareto({name: (mean_of(tuning.goal.expenses(one)), one.accuracy.value) for name, one in figures.items()})


def _share(tuning: Tuning, name: str, count: int) -> float:
    """Return the cost of a variant as a share of the large model's on the same questions."""
    found = next(one.evaluation for one in tuning.rounds if one.evaluation.count == count)
    large = mean_of(found.figures[LARGE].costs)
    return mean_of(found.figures[name].costs) / large if large else 0.0


def markdown(tuning: Tuning) -> str:
    """Return all results as Markdown."""
    headline, *reasons = sentences(tuning)
    parts = [f"**{headline}**", "\n".join(f"- {reason}" for reason in reasons)]
    if tuning.policy:
        parts += [f"```python\npolicy = {tuning.python}\n```", f"```bash\n--policy '{tuning.policy_line}'\n```"]
    parts += [f"The choosing part, {tuning.choosing.count} questions:", _table(choosing_table(tuning))]
    parts += [f"The reporting part, {tuning.reporting.count} other questions:", _table(reporting_table(tuning))]
    return "\n\n".join([*parts, "![Right answers against cost](pareto.png)", *tuning.left_out]) + "\n"


def _table(rows: Rows) -> str:
    heading, *body = (f"| {' | '.join(cells)} |" for cells in rows)
    return "\n".join([heading, f"|{'|'.join(['---', *(['---:'] * (len(rows[0]) - 1))])}|", *body])


def as_dict(tuning: Tuning) -> dict[str, Any]:
    """Return everything that a tuning found, for JSON."""
    reporting = tuning.reporting
    judgement, name = tuning.judgement, tuning.chosen
    found: dict[str, Any] = {
        "n": reporting.count,
        "goal": asdict(tuning.goal),
        "prices": {side: asdict(price) for side, price in tuning.prices.items()},
        "recommended": tuning.recommended,
        "chosen": name,
        "python": tuning.python,
        "policy": tuning.policy_line,
        "sentences": sentences(tuning),
        "runs": {name: _run(figures) for name, figures in reporting.figures.items()},
        "vs_equal_cost_coin": judgement and _difference(judgement.difference) | {"share": judgement.share},
        "vs_target": None,
        "choosing": {name: {"n": one.count} | _run(one) for name, one in last_figures(tuning).items()},
        "left_out": list(tuning.left_out),
        "spent": tuning.spent,
    }
    if name and judgement:
        answered = reporting.restricted_to(name, LARGE).figures
        mine, large = answered[name], answered[LARGE]
        ratio = mean_of(mine.costs) / mean_of(large.costs) if mean_of(large.costs) else None
        found["vs_target"] = _difference(compare(mine, large)) | {"cost_ratio": ratio}
    return found


def _run(figures: Figures) -> dict[str, Any]:
    usage = [outcome.usage["target"] for outcome in figures.outcomes]
    return {
        "accuracy": figures.accuracy.value,
        "ci95": [figures.accuracy.low, figures.accuracy.high],
        "cost": mean_of(figures.costs),
        "seconds": mean_of(figures.seconds),
        "target_tokens": mean_of([used.completion_tokens for used in usage]),
        "target_requests": mean_of([used.requests for used in usage]),
    }


def _difference(difference: Interval) -> dict[str, Any]:
    ends = difference.as_dict()
    return {"difference": difference.value, "ci95": [ends["low"], ends["high"]]}


def save(tuning: Tuning) -> list[Path]:
    """Write `tuning.json`, `tuning.md` and `pareto.png` to the folder of a tuning.

    Returns:
        The files that were written.

    Raises:
        ImportError: The extra `[evaluate]` is not installed.
    """
    data, text, plot = (tuning.folder / name for name in ("tuning.json", "tuning.md", "pareto.png"))
    data.write_text(json.dumps(as_dict(tuning), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    text.write_text(markdown(tuning), encoding="utf-8")
    with style() as plt:
        figure = _draw(plt, tuning)
        figure.savefig(plot, dpi=150)
        plt.close(figure)
    return [data, text, plot]


def _draw(plt: Any, tuning: Tuning) -> Any:  # noqa: ANN401 - matplotlib's types
    """Draw right answers against expense: the variants of the last round, and those that were dropped before."""
    figure, axes = plt.subplots(figsize=(8.5, 5), layout="constrained")
    last, final = last_figures(tuning), tuning.choosing.figures
    at = {name: (_place(tuning, figures, name), 100 * figures.accuracy.value) for name, figures in last.items()}
    axes.plot(*zip(at[SMALL], at[LARGE], strict=True), ":", color="0.6", label="coins over whole questions")
    front = [at[name] for name in pareto_front(tuning)]
    axes.plot(*zip(*front, strict=True), "-", color="0.8", zorder=0, label="Pareto front")
    axes.plot(*zip(*front, strict=True), "o", color="0.87", markersize=15, zorder=0)
    dropped = [name for name in last if name not in final]
    if dropped:
        axes.plot(
            *zip(*(at[name] for name in dropped), strict=True), "x", color=_GREY, label="dropped after fewer questions"
        )
    axes.set_prop_cycle(color=plt.get_cmap("tab20").colors)
    shown = {SMALL, LARGE, tuning.chosen, *pareto_front(tuning)}  # intervals of all would hide each other
    for name, figures in sorted(final.items(), key=lambda item: at[item[0]]):
        low, high = 100 * figures.accuracy.low, 100 * figures.accuracy.high
        (x, y), best = at[name], name == tuning.chosen
        reach = [[y - low], [high - y]] if name in shown else None
        look = {"fmt": "*" if best else "o", "markersize": 13 if best else 5, "capsize": 3}
        axes.errorbar(x, y, reach, label=f"{name} ({y:.1f}%)", **look)
    axes.set(ylabel="right answers (%)", title=f"The choosing part, {tuning.choosing.count} questions")
    axes.set_xlabel(
        "seconds per turn" if tuning.goal.measure == "time" else f"{tuning.unit}, % of the large model alone"
    )
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure


def _place(tuning: Tuning, figures: Figures, name: str) -> float:
    return mean_of(figures.seconds) if tuning.goal.measure == "time" else 100 * _share(tuning, name, figures.count)
