"""Tables of an evaluation as rows of text, for the terminal and for Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.evaluation.coins import Coin
from langchain_spec_thinking.evaluation.economics import takeover_costs
from langchain_spec_thinking.evaluation.statistics import mean
from langchain_spec_thinking.evaluation.verdicts import verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_spec_thinking.evaluation.results import Evaluation, Figures

Rows = list[list[str]]
"""Rows of cells. The first row is the heading."""

HEADING = [
    "variant",
    "right",
    "95% interval",
    "tokens, small",
    "tokens, large",
    "target share",
    "tokens/s",
    "seconds per turn",
]


def row(name: str, figures: Figures | Coin) -> list[str]:
    """Return the figures of a variant or a coin as text, in the order of `HEADING`."""
    speed = None if isinstance(figures, Coin) else figures.tokens_per_second
    accuracy = figures.accuracy
    return [
        name,
        f"{accuracy.value:.1%}",
        f"{accuracy.low:.1%} to {accuracy.high:.1%}",
        f"{figures.tokens('speculative'):.0f}",
        f"{figures.tokens('target'):.0f}",
        f"{figures.target_share.value:.1%}",
        "-" if speed is None else f"{speed:.0f}",
        f"{mean(figures.seconds).value:.2f}",
    ]


def figures_table(evaluation: Evaluation) -> Rows:
    """Return the figures of every variant and coin. Add costs if prices are known, and errors if there are any."""
    rows = [[*HEADING], *(row(name, figures) for name, figures in evaluation.rows.items())]
    shown = list(evaluation.rows.values())
    if evaluation.prices:
        _widen(rows, "cost of 1000", (f"{1000 * mean(figures.costs).value:.4g}" for figures in shown))
    if any(figures.errors for figures in evaluation.figures.values()):
        _widen(rows, "errors", ("-" if isinstance(figures, Coin) else str(figures.errors) for figures in shown))
    return rows


def tests_table(evaluation: Evaluation) -> Rows:
    """Return the paired tests of all variants. Verdicts compare with coins over whole questions."""
    heading = ["variants", "difference", "only the first right", "only the second right", "McNemar p"]
    rows = [
        [f"{one} - {other}", f"{test.difference:+.1%}", str(test.only_first), str(test.only_second), f"{test.p:.2g}"]
        for (one, other), test in evaluation.tests.items()
    ]
    return [heading, *rows]


def markdown(evaluation: Evaluation) -> str:
    """Return all results as Markdown."""
    parts = [f"{evaluation.count} questions.", _table(figures_table(evaluation)), _table(tests_table(evaluation))]
    parts += ["\n".join([f"**{name}**", "", *_sentences(evaluation, name)]) for name in evaluation.pairs]
    return "\n\n".join(parts) + "\n"


def _sentences(evaluation: Evaluation, name: str) -> list[str]:
    texts = [verdict.text for verdict in verdicts(evaluation, name)]
    costs = takeover_costs(evaluation, name)
    return [f"- {text}" for text in [*texts, *(costs.sentences() if costs else [])]]


def _table(rows: Rows) -> str:
    heading, *body = (f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |" for cells in rows)
    return "\n".join([heading, f"|{'|'.join(['---', *(['---:'] * (len(rows[0]) - 1))])}|", *body])


def _widen(rows: Sequence[list[str]], heading: str, cells: Iterable[str]) -> None:
    for cells_of_row, cell in zip(rows, [heading, *cells], strict=True):
        cells_of_row.append(cell)
