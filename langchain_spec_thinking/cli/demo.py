"""The demo: the pocket pair solves word problems, then each of its models alone solves the same problems."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_core.messages import HumanMessage
from rich.markup import escape
from rich.table import Table

from langchain_spec_thinking import Backend, ChatSpeculativeThinking, DelegationPolicy, RandomTrigger, pocket
from langchain_spec_thinking.cli.view import LEGEND, show, summary
from langchain_spec_thinking.drivers import drive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from langchain_spec_thinking.turn_runs import AnyRun

EXPLANATION = (
    "Two tiny models that come with the package solve word problems made by a program: a fast model with two "
    "layers, and a slow model with sixteen. A few problems prove nothing. `make bench-pocket` solves 500."
)


@dataclass
class _Column:
    """One way to solve the problems, with its results."""

    name: str
    model: ChatSpeculativeThinking
    right: int = 0
    tokens: int = 0
    target_tokens: int = 0
    seconds: float = 0.0

    def cell(self, run: AnyRun, problem: pocket.Problem, seconds: float) -> str:
        """Add a finished turn to the results. Return its answer as a table cell."""
        found = pocket.boxed(run.turn.answer)
        right = found == problem.answer
        segments = run.report.segments
        tokens = sum(segment.tokens for segment in segments)
        self.right += right
        self.tokens += tokens
        self.target_tokens += sum(segment.tokens for segment in segments if segment.author == "target")
        self.seconds += seconds
        answer = "no answer" if found is None else found
        return f"[green]{answer}[/]" if right else f"[red]{answer} ✗[/]"


def demonstrate(console: Console, count: int) -> None:
    """Solve the first `count` problems with the pair and stream the text. Then compare with each model alone."""
    pocket.require_extra()  # before the next line, which imports a package of the extra
    from transformers.utils import logging  # noqa: PLC0415 - slow import

    logging.disable_progress_bar()  # the console shows the progress
    console.print(EXPLANATION, style="dim")
    with console.status("loading ..."):
        both = ChatSpeculativeThinking.pocket()
    columns = [
        _Column("small alone", _alone(pocket.speculative())),
        _Column("large alone", _alone(pocket.target())),
        _Column("the pair", both),
    ]
    console.print(LEGEND)
    problems = pocket.problems()[:count]
    cells = [[f"{number}", str(problem.answer)] for number, problem in enumerate(problems, 1)]
    for number, problem in enumerate(problems, 1):
        console.print(f"\n[bold]{number}. {escape(problem.question)}[/bold]\n")
        began = time.monotonic()
        run = show(console, both, [HumanMessage(problem.question)])
        seconds = time.monotonic() - began
        console.print(summary(run.report), style="dim")
        pair_cell = columns[2].cell(run, problem, seconds)
        for column in columns[:2]:
            with console.status(f"{column.name} ..."):
                cells[number - 1].append(_solve(column, problem))
        cells[number - 1].append(pair_cell)
    console.print()
    console.print(_table(columns, cells))


def _alone(backend: Backend) -> ChatSpeculativeThinking:
    """Return one model alone, without takeovers. The pair uses it on both sides."""
    return ChatSpeculativeThinking.pocket(
        speculative=backend, target=backend, policy=DelegationPolicy(trigger=RandomTrigger(0))
    )


def _solve(column: _Column, problem: pocket.Problem) -> str:
    began = time.monotonic()
    run = column.model.new_run([HumanMessage(problem.question)])
    for _ in drive(run):
        pass
    return column.cell(run, problem, time.monotonic() - began)


def _table(columns: Sequence[_Column], cells: Sequence[Sequence[str]]) -> Table:
    table = Table(title="Side by side")
    table.add_column("problem", justify="right")
    table.add_column("right answer", justify="right")
    for column in columns:
        table.add_column(column.name, justify="right")
    for row in cells:
        table.add_row(*row)
    table.add_section()
    table.add_row("right", "", *(f"{column.right} of {len(cells)}" for column in columns))
    table.add_row("tokens", "", *(f"{column.tokens / len(cells):.0f} each" for column in columns))
    table.add_row("by the large model", "", "0%", "100%", f"{columns[2].target_tokens / columns[2].tokens:.0%}")
    table.add_row("seconds", "", *(f"{column.seconds / len(cells):.1f} each" for column in columns))
    table.add_row("tokens/s", "", *(f"{column.tokens / column.seconds:.0f}" for column in columns))
    return table
