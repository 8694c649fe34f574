"""`spec-thinking show`: a saved or recorded turn, on the terminal or as a page."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

from langchain_spec_thinking.cli.console import console, printable
from langchain_spec_thinking.cli.failures import exit_on_failure
from langchain_spec_thinking.cli.view import show_again, table, takeovers_table
from langchain_spec_thinking.viewing.files import read_turns


def show_file(
    run: Annotated[
        Path,
        typer.Argument(help="File of `chat --save`, `Trace.save`, `chat --record` or `recording`.", show_default=False),
    ],
    turn: Annotated[
        int | None, typer.Option(help="Number of the turn in the file, counted from 1. Default: the last turn.", min=1)
    ] = None,
    page: Annotated[Path | None, typer.Argument(help="Output file. Default: beside RUN.")] = None,
    html: Annotated[bool, typer.Option("--html", help="Write an HTML page.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Show a saved or recorded turn: who wrote what, why, and what it cost."""
    with exit_on_failure():
        turns = read_turns(run)
        number = turn or len(turns)
        if number > len(turns):
            msg = f"--turn {number}: expected a turn from 1 to {len(turns)}, because {run} holds {len(turns)}"
            raise ValueError(msg)
        shown = turns[number - 1]
        if html:
            page = page or run.with_name(f"{run.stem}{f'-{number}' if turn else ''}.html")
            page.write_text(shown.trace.html(), encoding="utf-8")
    if html:
        console.print(f"{page}", markup=False)
        return
    if len(turns) > 1:
        console.print(f"turn {number} of {len(turns)}", style="dim")
    if not shown.texts:
        console.print("This record holds no texts, so only its figures are shown.", style="yellow")
    show_again(console, shown.trace)
    console.print(table(shown.trace.report))
    if shown.trace.report.takeovers:
        console.print(takeovers_table(shown.trace))
    if shown.error:
        console.print(f"The turn broke off: {printable(shown.error)}", style="red", markup=False)
