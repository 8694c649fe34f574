"""The demo: the pocket pair solves word problems, then each of its models alone solves the same problems."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from langchain_core.messages import HumanMessage
from rich.markup import escape
from rich.table import Table

from langchain_spec_thinking import Backend, ChatSpeculativeThinking, DelegationPolicy, Price, RandomTrigger, pocket
from langchain_spec_thinking.cli.threads import use_one_thread
from langchain_spec_thinking.cli.view import COLOURS, show, summary
from langchain_spec_thinking.drivers import drive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from langchain_spec_thinking.turn import Author
    from langchain_spec_thinking.turn_runs import AnyRun

EXPLANATION: Final = (
    "Two tiny models that come with the package solve word problems. A program made the problems, and neither model "
    "was trained on them. The demo takes the first {count} of {all}: nobody chose them."
)
_ROLES: Final[dict[Author, str]] = {
    "speculative": "the small model writes (0.5 million parameters)",
    "target": "the large model takes over (4 million parameters)",
    "inserted": "the program writes, for example to end a thought that goes round in circles",
}
PRICE: Final = Price(1, 4, cached=0.1)
"""The price of the large model in the demo, and in the benchmarks of the pocket pair, in dollars per million tokens."""
MEASURED: Final = {"small": 0.772, "pair": 0.958, "large": 0.984}
"""The share of 500 problems that each solves (`make bench-pocket`)."""


@dataclass
class _Column:
    """One way to solve the problems, with its results.

    Attributes:
        name: The heading of the column.
        model: What solves the problems.
        large: The sides of the pair on which the large model is.
    """

    name: str
    model: ChatSpeculativeThinking
    large: Sequence[Author]
    right: int = 0
    target_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0

    def cell(self, run: AnyRun, problem: pocket.Problem, seconds: float) -> str:
        """Add a finished turn to the results. Return its answer as a table cell."""
        found = pocket.boxed(run.turn.answer)
        right = found == problem.answer
        self.right += right
        self.target_tokens += sum(segment.tokens for segment in run.report.segments if segment.author in self.large)
        self.cost += sum(PRICE.of(run.report.usage[side]) for side in self.large)
        self.seconds += seconds
        answer = "no answer" if found is None else found
        return f"[green]{answer}[/]" if right else f"[red]{answer} ✗[/]"


def demonstrate(console: Console, count: int) -> None:
    """Solve the first `count` problems with the pair and stream the text. Then compare with each model alone."""
    from transformers.utils import logging  # noqa: PLC0415 - slow import

    logging.disable_progress_bar()  # the console shows the progress
    use_one_thread()
    problems = pocket.problems()[:count]
    console.print(EXPLANATION.format(count=count, all=len(pocket.problems())))
    for author, role in _ROLES.items():
        console.print(f"  [{COLOURS[author]}]{author}[/]: {role}")
    with console.status("loading ..."):
        both = ChatSpeculativeThinking.pocket()
    small = _Column("small alone", _alone(pocket.speculative()), ())
    large = _Column("large alone", _alone(pocket.target()), ("speculative", "target"))
    pair = _Column("the pair", both, ("target",))
    rows = [
        _solve_with_each(console, number, problem, (small, large, pair)) for number, problem in enumerate(problems, 1)
    ]
    console.print()
    console.print(_table((small, large, pair), rows))
    console.print(f"\n{_conclusion(small, large, pair, count)}", style="bold")


def _solve_with_each(
    console: Console, number: int, problem: pocket.Problem, columns: tuple[_Column, _Column, _Column]
) -> list[str]:
    """Solve one problem: first with the pair, which shows its text. Return the row of the table."""
    *alone, pair = columns
    console.print(f"\n[bold]{number}. {escape(problem.question)}[/bold]\n")
    began = time.monotonic()
    run = show(console, pair.model, [HumanMessage(problem.question)])
    pair_cell = pair.cell(run, problem, time.monotonic() - began)
    console.print(summary(run.report), style="dim")
    cells = [f"{number}", f"{problem.answer}"]
    for column in alone:
        with console.status(f"{column.name} ..."):
            cells.append(_solve(column, problem))
    return [*cells, pair_cell]


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


def _table(columns: Sequence[_Column], rows: Sequence[Sequence[str]]) -> Table:
    caption = (
        f"dollars: if the large model costs ${PRICE.prompt:g} per million tokens that it reads (${PRICE.cached:.2f} if "
        f"they are cached) and ${PRICE.completion:g} per million tokens that it writes, and the small model is free"
    )
    table = Table(title="Side by side", caption=caption, caption_justify="left")
    table.add_column("problem")
    table.add_column("right answer", justify="right")
    for column in columns:
        table.add_column(column.name, justify="right")
    for row in rows:
        table.add_row(*row)
    count = len(rows)
    table.add_section()
    table.add_row("solved", "", *(f"{column.right} of {count}" for column in columns))
    table.add_section()
    table.add_row("per question:", *[""] * 4)
    table.add_row("tokens by the large", "", *(f"{column.target_tokens / count:.0f}" for column in columns))
    table.add_row("seconds", "", *(f"{column.seconds / count:.2f}" for column in columns))
    table.add_row("dollars per 1,000", "", *(f"{1000 * column.cost / count:.2f}" for column in columns))
    return table


def _conclusion(small: _Column, large: _Column, pair: _Column, count: int) -> str:
    """Return what a reader should remember, with the figures of this run and of a run that proves something."""
    solved = ", ".join(f"{name} {share:.1%}" for name, share in MEASURED.items())
    return (
        f"The pair solved {pair.right} of {count}, the small model {small.right}, the large model {large.right}. For "
        f"each question, the large model wrote {pair.target_tokens / count:.0f} tokens in the pair, and "
        f"{large.target_tokens / count:.0f} alone.\nSo few problems prove nothing. Of 500 problems, these shares were "
        f"solved: {solved} (`make bench-pocket`).\nRemember: the small model writes, and you pay the large model only "
        f"where the small model hesitates."
    )
