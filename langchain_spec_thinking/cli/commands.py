"""The commands demo, chat, show and doctor. The other commands have their own files."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from rich.console import Console
from rich.markup import escape

import langchain_spec_thinking
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, recording
from langchain_spec_thinking.backends.diagnosis import Diagnosis
from langchain_spec_thinking.backends.redaction import without_credentials
from langchain_spec_thinking.cli import pairs  # noqa: TC001 - typer reads it at run time
from langchain_spec_thinking.cli.calibrate import app as calibrate
from langchain_spec_thinking.cli.console import console
from langchain_spec_thinking.cli.demo import demonstrate
from langchain_spec_thinking.cli.diagnosis import examine
from langchain_spec_thinking.cli.doctor import report
from langchain_spec_thinking.cli.doctor import show as doctor_show
from langchain_spec_thinking.cli.evaluate import evaluate
from langchain_spec_thinking.cli.models import LARGE_MODEL, SMALL_MODEL, backend
from langchain_spec_thinking.cli.serve import serve
from langchain_spec_thinking.cli.tune import tune
from langchain_spec_thinking.cli.view import LEGEND, show, show_again, table, takeovers_table
from langchain_spec_thinking.default_policy import default_policy
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.evaluation.policy_lines import FORM, parse_policy
from langchain_spec_thinking.viewing.trace import Trace

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.base import Backend
    from langchain_spec_thinking.turn import Author

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=langchain_spec_thinking.__doc__)

app.command()(evaluate)
app.command()(tune)
app.command()(serve)
app.add_typer(calibrate, name="calibrate")


@app.command()
def demo(
    problems: Annotated[int, typer.Option(help="Number of problems.", min=1, max=20)] = 6,
) -> None:
    """Show how two models solve word problems together. The pair comes with the package."""
    try:
        demonstrate(console, problems)
    except ImportError as e:
        console.print(str(e), style="red", markup=False)
        raise typer.Exit(1) from e


@app.command()
def chat(
    speculative: Annotated[str, typer.Option(help=SMALL_MODEL)],
    target: Annotated[str, typer.Option(help=LARGE_MODEL)],
    max_tokens: pairs.MaxTokens = None,
    thinking_tokens: pairs.ThinkingTokens = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", min=0)] = 0.6,
    seed: Annotated[int | None, typer.Option(help="For reproducible sampling.")] = None,
    answer_by: Annotated[
        str, typer.Option(help="Which model writes the answer: speculative (small) or target (large).")
    ] = "speculative",
    policy: Annotated[
        str | None, typer.Option(help=f"{FORM}, for example gated. Default: by whether the small model reasons.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Save the latest turn to this file, for `show`.")] = None,
    record: Annotated[Path | None, typer.Option(help="Append every turn to this file, for `read_records`.")] = None,
) -> None:
    """Chat with a pair of models. An empty line or Ctrl-D ends the conversation."""
    try:
        small, large = backend(speculative, "speculative"), backend(target, "target")
        mode, delegation = parse_policy(policy) if policy else _default(small)
        limits: dict[str, Any] = {"max_tokens": max_tokens, "thinking_tokens": thinking_tokens}
        settings: dict[str, Any] = {**limits, "answer_by": answer_by, "seed": seed}
        model = ChatSpeculativeThinking(
            speculative=small, target=large, policy=delegation, temperature=temperature, **settings
        )
    except (BackendError, ImportError, OSError, ValueError) as e:
        console.print(str(e), style="red", markup=False)
        raise typer.Exit(1) from e
    console.print(f"{escape(mode)}, {LEGEND}")
    with recording(record) if record else nullcontext():
        _converse(model, save)


def _default(small: Backend) -> tuple[str, DelegationPolicy]:
    """Return the policy that suits the small model, with the name of its mode, and print what is not known."""
    found, not_known = default_policy(small)
    if not_known:
        console.print(not_known)
    return "reasoning mode" if found == DelegationPolicy() else "non-reasoning mode", found


def _converse(model: ChatSpeculativeThinking, save: Path | None) -> None:
    messages: list[BaseMessage] = []
    while question := _read_question():
        messages.append(HumanMessage(question))
        try:
            run = show(console, model, messages)
        except (BackendError, KeyboardInterrupt) as e:
            error = "interrupted" if isinstance(e, KeyboardInterrupt) else str(e)
            console.print(f"\n{error}", style="red", markup=False)
            messages.pop()
            continue
        messages.append(AIMessage(run.turn.answer))
        console.print(table(run.report))
        if save:
            Trace.of_run(run, model.model_name).save(save)


@app.command(name="show")
def show_file(
    run: Annotated[Path, typer.Argument(help="File that `chat --save` or `Trace.save` wrote.")],
    page: Annotated[Path | None, typer.Argument(help="Output file. Default: beside RUN.")] = None,
    html: Annotated[bool, typer.Option("--html", help="Write an HTML page.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Show a saved turn: who wrote what, why, and what it cost."""
    try:
        trace = Trace.load(run)
        if html:
            page = page or run.with_suffix(".html")
            page.write_text(trace.html(), encoding="utf-8")
    except (OSError, ValueError) as e:
        console.print(str(e), style="red", markup=False)
        raise typer.Exit(1) from e
    if html:
        console.print(f"{page}", markup=False)
        return
    show_again(console, trace)
    console.print(table(trace.report))
    if trace.report.takeovers:
        console.print(takeovers_table(trace))


@app.command()
def doctor(
    speculative: Annotated[str | None, typer.Option(help=SMALL_MODEL)] = None,
    target: Annotated[str | None, typer.Option(help=LARGE_MODEL)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Check what each model of a pair can do, and what to change. Sends a few requests of a few hundred tokens."""
    given: dict[Author, str | None] = {"speculative": speculative, "target": target}
    specs = {role: spec for role, spec in given.items() if spec}
    if not specs:
        console.print("Give --speculative or --target.", style="red")
        raise typer.Exit(2)
    sides: dict[str, Diagnosis] = {}
    for role, spec in specs.items():
        with Console(stderr=True).status(f"{role}: {without_credentials(spec)} ..."):
            try:
                sides[role] = examine(backend(spec, role))
            except (BackendError, ImportError, ValueError) as e:
                sides[role] = Diagnosis(without_credentials(spec), error=str(e))
    if as_json:
        typer.echo(json.dumps(report(sides), indent=2))
    else:
        doctor_show(console, sides)
    if any(side.error for side in sides.values()):
        raise typer.Exit(1)


def _read_question() -> str:
    try:
        return console.input("[bold]> [/bold]").strip()
    except (EOFError, KeyboardInterrupt):
        return ""
