"""Progress of a running evaluation: a bar and a table on a terminal, a few lines elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from langchain_spec_thinking.evaluation.results import Figures
from langchain_spec_thinking.evaluation.tables import HEADING, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from langchain_spec_thinking.evaluation.outcomes import Outcome

    OnOutcome = Callable[[str, Outcome], None]

_LINES = 5
"""Number of progress lines for each variant if there is no terminal."""


@contextmanager
def show_progress(console: Console, names: Sequence[str], count: int) -> Iterator[OnOutcome]:
    """Show the progress of the named variants. Each of them has `count` questions to answer."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in names}
    if not console.is_terminal:
        yield lambda name, outcome: _print_progress(console, name, outcomes[name], outcome, count)
        return
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    task = progress.add_task("", total=count * len(names))

    def on_outcome(name: str, outcome: Outcome) -> None:
        outcomes[name].append(outcome)
        progress.update(task, advance=1, description=escape(name))

    # The table goes over all outcomes, so it is built when it is shown and not after every answer.
    with Live(
        get_renderable=lambda: Group(_table(outcomes), progress), console=console, refresh_per_second=2, transient=True
    ):
        yield on_outcome


def _print_progress(console: Console, name: str, outcomes: list[Outcome], outcome: Outcome, count: int) -> None:
    outcomes.append(outcome)
    done = len(outcomes)
    if done * _LINES // count > (done - 1) * _LINES // count:
        errors = sum(one.error is not None for one in outcomes)
        right = sum(one.right for one in outcomes)
        failures = f", {errors} errors" if errors else ""
        console.print(f"{name}: {done} of {count}, {right} right{failures}", markup=False)


def _table(outcomes: dict[str, list[Outcome]]) -> Table:
    table = Table()
    for number, heading in enumerate([HEADING[0], "done", "errors", *HEADING[1:]]):
        table.add_column(heading, justify="right" if number else "left")
    for name, done in outcomes.items():
        if done:
            figures = Figures(tuple(done))
            first, *rest = row(name, figures)
            table.add_row(escape(first), str(len(done)), str(figures.errors), *rest)
    return table
