"""`spec-thinking tune`: find out what to run for a pair of models."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from langchain_spec_thinking.cli import pairs
from langchain_spec_thinking.cli.console import console
from langchain_spec_thinking.cli.evaluate import LISTED, PRICE
from langchain_spec_thinking.cli.failures import exit_on_failure, exit_on_interrupt
from langchain_spec_thinking.evaluation import Goal, load_questions
from langchain_spec_thinking.evaluation import tune as run
from langchain_spec_thinking.evaluation.policy_lines import FORM, parse_policy
from langchain_spec_thinking.evaluation.report import require_extra
from langchain_spec_thinking.evaluation.tuning import TuningListener
from langchain_spec_thinking.evaluation.tuning_report import choosing_table, reporting_table, save
from langchain_spec_thinking.evaluation.tuning_words import sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from langchain_spec_thinking.evaluation import Tuning
    from langchain_spec_thinking.evaluation.outcomes import Outcome
    from langchain_spec_thinking.evaluation.tables import Rows


def tune(  # noqa: PLR0913, PLR0917 - options, which typer passes by name
    data: pairs.Data = "pocket",
    speculative: pairs.Speculative = None,
    target: pairs.Target = None,
    speculative_key_env: pairs.SpeculativeKeyEnv = None,
    target_key_env: pairs.TargetKeyEnv = None,
    accuracy: Annotated[
        float | None, typer.Option(help="Goal: the cheapest policy with this share of right answers, from 0 to 1.")
    ] = None,
    cost: Annotated[
        float | None,
        typer.Option(help="Goal: the most accurate policy that costs at most this share of the large model alone."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Goal: the most accurate policy whose turns take at most this long.")
    ] = None,
    policy: Annotated[list[str] | None, typer.Option(help=f"A further policy to try: {FORM}. Repeatable.")] = None,
    check: pairs.Check = "math",
    speculative_price: Annotated[str | None, typer.Option(help=f"{PRICE} small model. {LISTED}")] = None,
    target_price: Annotated[
        str | None,
        typer.Option(
            help=f"{PRICE} large model. {LISTED} Without prices, the cost is the number of tokens that the large model "
            "writes."
        ),
    ] = None,
    max_spend: Annotated[
        float | None,
        typer.Option(
            help="What all turns may cost together, in the currency of the prices. Without prices: in tokens of the "
            "large model. If that is too little for all questions, fewer are asked."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for runs, tables and plots. Finished runs are not repeated.")
    ] = Path("tuning"),
    limit: pairs.Limit = None,
    concurrency: pairs.Concurrency = 8,
    max_tokens: pairs.MaxTokens = None,
    thinking_tokens: pairs.ThinkingTokens = None,
    temperature: pairs.Temperature = None,
    seed: pairs.Seed = None,
    answer_by: pairs.AnswerBy = "speculative",
) -> None:
    """Find out what to run: try many policies on your questions, and say which one pays, or that none does.

    Without --accuracy, --cost or --seconds, the goal is the cheapest policy that has at most 3 points fewer right
    answers than the large model alone.
    """
    with exit_on_failure(RuntimeError), exit_on_interrupt(out):
        require_extra()
        goal = Goal(accuracy, cost, seconds)
        given = pairs.price(speculative_price), pairs.price(target_price)
        questions = load_questions(data, limit)
        further = dict(map(parse_policy, policy or []))
        with console.status("loading ..."):
            model = pairs.pair(
                speculative,
                target,
                keys={"speculative": speculative_key_env, "target": target_key_env},
                max_tokens=max_tokens,
                thinking_tokens=thinking_tokens,
                temperature=temperature,
                seed=seed,
                answer_by=answer_by,
            )
        prices = pairs.prices(*given, model)
        if not prices:
            console.print("Without prices, the cost is the number of tokens that the large model writes.", style="dim")
        with _progress(console) as listener:
            found = run(
                questions,
                model,
                out,
                prices=prices,
                goal=goal,
                policies=further,
                max_spend=max_spend,
                check=check,
                concurrency=concurrency,
                seed=seed or 0,
                listener=listener,
            )
        files = save(found)
    _show(console, found)
    console.print("\n" + "\n".join(map(str, [*files, out / "runs.jsonl"])), style="dim", markup=False, soft_wrap=True)


def _show(console: Console, found: Tuning) -> None:
    """Print the recommendation last, because that is where the eye is when the command ends."""
    choosing = f"The choosing part: {found.choosing.count} questions"
    reporting = f"The reporting part: {found.reporting.count} other questions"
    console.print(_table(choosing_table(found), choosing))
    console.print(_table(reporting_table(found), reporting))
    headline, *reasons = sentences(found)
    console.print(f"\n{headline}", style="bold", markup=False)
    for reason in reasons:
        console.print(reason, markup=False)
    if found.policy:
        console.print(f"\npolicy = {found.python}", markup=False, soft_wrap=True)
        console.print(f"--policy '{found.policy_line}'", markup=False, soft_wrap=True)
    unit = "" if found.prices else " tokens of the large model"
    console.print(f"\nThe tuning cost {found.spent:.4g}{unit}.", style="dim")


def _table(rows: Rows, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    heading, *body = rows
    for number, cell in enumerate(heading):
        table.add_column(cell, justify="right" if number else "left", no_wrap=number == 0)
    for row in body:
        table.add_row(*row)
    return table


@contextmanager
def _progress(console: Console) -> Iterator[TuningListener]:
    """Show a bar for each stage on a terminal, and a line elsewhere."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(console, progress)


class _Lines(TuningListener):
    """Prints a line for each stage."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def message(self, text: str) -> None:
        self._console.print(text, markup=False)

    def stage(self, names: Sequence[str], count: int) -> None:
        self._console.print(_stage(names, count), markup=False)


class _Bar(_Lines):
    """Shows the turns of the current stage as a bar."""

    def __init__(self, console: Console, progress: Progress) -> None:
        super().__init__(console)
        self._progress = progress
        self._task: TaskID | None = None

    def stage(self, names: Sequence[str], count: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(_stage(names, count), total=len(names) * count)

    def outcome(self, name: str, outcome: Outcome) -> None:  # noqa: ARG002 - the base class defines them
        if self._task is not None:
            self._progress.advance(self._task)


def _stage(names: Sequence[str], count: int) -> str:
    which = ", ".join(names) if len(names) <= 3 else f"{len(names)} variants"  # noqa: PLR2004 - as many as fit
    return f"{which}: {count} question{'' if count == 1 else 's'}"
