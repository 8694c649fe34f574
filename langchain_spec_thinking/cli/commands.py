"""The commands demo and doctor. The other commands have their own files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

import langchain_spec_thinking
from langchain_spec_thinking.backends.diagnosis import Diagnosis
from langchain_spec_thinking.backends.redaction import without_credentials
from langchain_spec_thinking.cli import pairs  # noqa: TC001 - typer reads it at run time
from langchain_spec_thinking.cli.calibrate import app as calibrate
from langchain_spec_thinking.cli.chat import chat
from langchain_spec_thinking.cli.console import console
from langchain_spec_thinking.cli.demo import demonstrate
from langchain_spec_thinking.cli.diagnosis import examine
from langchain_spec_thinking.cli.doctor import report
from langchain_spec_thinking.cli.doctor import show as doctor_show
from langchain_spec_thinking.cli.evaluate import evaluate
from langchain_spec_thinking.cli.failures import exit_on_failure, message_of
from langchain_spec_thinking.cli.models import LARGE_MODEL, SMALL_MODEL, backend
from langchain_spec_thinking.cli.serve import serve
from langchain_spec_thinking.cli.show import show_file
from langchain_spec_thinking.cli.tune import tune
from langchain_spec_thinking.errors import BackendError

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Author

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=langchain_spec_thinking.__doc__)

app.command()(chat)
app.command(name="show")(show_file)
app.command()(evaluate)
app.command()(tune)
app.command()(serve)
app.add_typer(calibrate, name="calibrate")


@app.command()
def demo(
    problems: Annotated[int, typer.Option(help="Number of problems.", min=1, max=20)] = 6,
) -> None:
    """Show how two models solve word problems together. The pair comes with the package."""
    with exit_on_failure():
        demonstrate(console, problems)


@app.command()
def doctor(
    speculative: Annotated[str | None, typer.Option(help=SMALL_MODEL)] = None,
    target: Annotated[str | None, typer.Option(help=LARGE_MODEL)] = None,
    speculative_key_env: pairs.SpeculativeKeyEnv = None,
    target_key_env: pairs.TargetKeyEnv = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Check what each model of a pair can do, and what to change. Sends a few requests of a few hundred tokens."""
    given: dict[Author, str | None] = {"speculative": speculative, "target": target}
    keys: dict[Author, str | None] = {"speculative": speculative_key_env, "target": target_key_env}
    specs = {role: spec for role, spec in given.items() if spec}
    if not specs:
        console.print("Give --speculative or --target.", style="red")
        raise typer.Exit(2)
    sides: dict[str, Diagnosis] = {}
    for role, spec in specs.items():
        with Console(stderr=True).status(f"{role}: {without_credentials(spec)} ..."):
            try:
                sides[role] = examine(backend(spec, role, keys[role]))
            except (BackendError, ImportError, ValueError) as e:
                sides[role] = Diagnosis(without_credentials(spec), error=message_of(e))
    if as_json:
        typer.echo(json.dumps(report(sides), indent=2))
    else:
        doctor_show(console, sides)
    if any(side.error for side in sides.values()):
        raise typer.Exit(1)
