"""`spec-thinking calibrate`: a threshold from a target share, cues from runs, numbers of the policy by replay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from langchain_spec_thinking import CueTrigger, DelegationPolicy, Lexicon
from langchain_spec_thinking.cli import pairs
from langchain_spec_thinking.cli.console import console
from langchain_spec_thinking.cli.failures import exit_on_failure
from langchain_spec_thinking.evaluation import load_questions
from langchain_spec_thinking.evaluation.calibration import (
    calibrate_to_share,
    measure_share,
    parse_trigger,
    tunable_triggers,
    with_value,
)
from langchain_spec_thinking.evaluation.mining import mine
from langchain_spec_thinking.evaluation.policy_lines import format_policy, save_policy
from langchain_spec_thinking.evaluation.runs import read_runs
from langchain_spec_thinking.evaluation.sweeps import VALUES, sweep
from langchain_spec_thinking.policy.triggers.registry import short_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.evaluation.calibration import Measured
    from langchain_spec_thinking.evaluation.mining import Mined
    from langchain_spec_thinking.evaluation.sweeps import Swept
    from langchain_spec_thinking.policy.triggers import TunableParameter

app = typer.Typer(invoke_without_command=True, help="Set the parameters of a policy.")

Runs = Annotated[Path, typer.Option(help="The file runs.jsonl that `evaluate` wrote.")]
Out = Annotated[Path | None, typer.Option(help="Save the policy to this file, for `--policy NAME:FILE.json`.")]
_SHOWN = 20
_TRIGGERS = ", ".join(tunable_triggers())


@app.callback()
def calibrate(  # noqa: PLR0913, PLR0917 - options, which typer passes by name
    context: typer.Context,
    target_share: Annotated[
        float | None, typer.Option(help="Share of the tokens that the large model should write.", min=0.001, max=1)
    ] = None,
    trigger: Annotated[
        str, typer.Option(help=f"One of {_TRIGGERS}, or module:Class. Settings may follow after a comma.")
    ] = "random",
    data: pairs.Data = "pocket",
    speculative: pairs.Speculative = None,
    target: pairs.Target = None,
    speculative_key_env: pairs.SpeculativeKeyEnv = None,
    target_key_env: pairs.TargetKeyEnv = None,
    out: Out = None,
    limit: pairs.Limit = 100,
    concurrency: pairs.Concurrency = 8,
    max_tokens: pairs.MaxTokens = None,
    temperature: pairs.Temperature = None,
    seed: pairs.Seed = None,
    answer_by: pairs.AnswerBy = "speculative",
) -> None:
    """Set a trigger's parameter so that the large model (target) writes a given share of the tokens of a sample."""
    if context.invoked_subcommand:
        return
    if target_share is None:
        console.print("Give --target-share, or use the command cues or sweep.", style="red")
        raise typer.Exit(2)
    with exit_on_failure(RuntimeError):
        policy, parameter = parse_trigger(trigger)
        name = short_name(type(policy.trigger))
        if not out:
            format_policy(name, policy)  # raises before anything is measured if a line cannot express it
        questions = load_questions(data, limit)
        with console.status("loading ..."):
            model = pairs.pair(
                speculative,
                target,
                keys={"speculative": speculative_key_env, "target": target_key_env},
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
                answer_by=answer_by,
            )
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:

            def share_at(value: float) -> Any:  # noqa: ANN401 - an interval
                bar = progress.add_task(f"{parameter.field} {value:g}", total=len(questions))
                share = measure_share(
                    model, with_value(policy, parameter, value), questions, concurrency, lambda: progress.advance(bar)
                )
                console.print(
                    f"{parameter.field} {value:g}: the large model writes {share.value:.1%} "
                    f"(95% interval {share.low:.1%} to {share.high:.1%})",
                    markup=False,
                )
                return share

            measured = calibrate_to_share(share_at, target_share, parameter)
        _report_result(name, with_value(policy, parameter, measured[0].value), target_share, measured, parameter, out)


@app.command()
def cues(
    runs: Runs,
    variant: Annotated[
        str, typer.Option(help="Variant whose runs are read. The small model alone gives the most information.")
    ] = "small",
    least: Annotated[
        int, typer.Option(help="Minimum number of turns that contain a step with the opening.", min=1)
    ] = 5,
    out: Out = None,
) -> None:
    """Propose a cue list: openings of steps that are typical of wrong answers."""
    with exit_on_failure():
        mined = mine(read_runs(runs, variant), least)
    _show_mined(mined)
    if not mined.cues:
        console.print("No opening separates wrong answers from right ones, so no cue list is proposed. Use more runs.")
        return
    policy = DelegationPolicy(trigger=CueTrigger(Lexicon(affirmation=(), reflection=mined.cues)))
    _print_policy("mined", policy, out)


@app.command(name="sweep")
def sweep_numbers(
    runs: Runs,
    variant: Annotated[str, typer.Option(help="Variant whose runs are read.")] = "pair",
) -> None:
    """Replay recorded runs with other numbers of the policy: lengths of takeovers, and the reflection limit."""
    with exit_on_failure():
        records = [record for record, _ in read_runs(runs, variant)]
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("replaying", total=sum(map(len, VALUES.values())))
            swept = sweep(records, progress=lambda: progress.advance(bar))
    _show_swept(swept)


def _report_result(
    name: str,
    policy: DelegationPolicy,
    wanted_share: float,
    measured: Sequence[Measured],
    parameter: TunableParameter,
    out: Path | None,
) -> None:
    best = measured[0]
    usable = best.share.value > 0
    if best.value == parameter.at_highest_share and best.share.value < wanted_share:
        hint = "" if parameter.field == "takeover_tokens" else " Longer takeovers (takeover_tokens) raise the share."
        console.print(
            f"A larger share is not possible: the large model writes at most {best.share.value:.1%} of the tokens."
            f"{hint}",
            style="yellow",
        )
    elif best.value == parameter.at_lowest_share and best.share.value > wanted_share:
        console.print(
            f"A smaller share is not possible: the large model writes at least {best.share.value:.1%} of the tokens.",
            style="yellow",
        )
    elif not best.share.low <= wanted_share <= best.share.high:
        usable = best.is_near(wanted_share)
        console.print(
            f"The nearest value found gives {best.share.value:.1%}, not {wanted_share:.1%}.",
            style="yellow",
        )
    if not usable:
        msg = (
            f"No policy is proposed, because {parameter.field} {best.value:g} gives {best.share.value:.1%} and no "
            f"value came nearer to {wanted_share:.1%}. Try another trigger (--trigger NAME), other settings (--trigger "
            "NAME,setting=value) or more questions (--limit). If the trigger is your own, its `tunable` may also need "
            "another range."
        )
        raise ValueError(msg)
    _print_policy(name, policy, out)


def _print_policy(name: str, policy: DelegationPolicy, out: Path | None) -> None:
    if out:
        save_policy(policy, out)
    try:
        line = format_policy(name, policy)
    except ValueError:
        line = f"{name}:{out}"
    console.print(f"\n--policy '{line}'", markup=False, soft_wrap=True)
    if out:
        console.print(f"{out}", style="dim", markup=False, soft_wrap=True)


def _show_mined(mined: Mined) -> None:
    table = Table(title="Openings of steps", title_justify="left")
    for heading in ("words", "in right answers", "in wrong answers", "log-odds of wrong", "95% interval", "cue"):
        table.add_column(heading, justify="left" if heading == "words" else "right")
    for opening in mined.openings[:_SHOWN]:
        odds = opening.log_odds
        table.add_row(
            opening.words,
            f"{opening.right} of {mined.right}",
            f"{opening.wrong} of {mined.wrong}",
            f"{odds.value:+.2f}",
            f"{odds.low:+.2f} to {odds.high:+.2f}",
            "yes" if opening.words in mined.cues else "",
        )
    console.print(table)
    count = len(mined.openings)
    console.print(
        f"{count} openings were tested; about {count * 0.025:.1f} of them are above 0 by chance.",
        style="dim",
    )


def _show_swept(swept: Sequence[Swept]) -> None:
    table = Table(title=f"{swept[0].turns} turns, replayed with other numbers", title_justify="left")
    for heading in ("number", "value", "valid to the end", "takeovers", "target share", "valid up to"):
        table.add_column(heading, justify="left" if heading == "number" else "right", no_wrap=heading == "number")
    for number, one in enumerate(swept):
        table.add_row(
            one.field,
            f"{one.value}{' (as run)' if one.recorded else ''}",
            f"{one.valid / one.turns:.0%}",
            "-" if one.takeovers is None else f"{one.takeovers:.1f}",
            "-" if one.target_share is None else f"{one.target_share:.1%}",
            "-" if one.reached is None else f"{one.reached:.0%} of the text",
            end_section=swept[number + 1 : number + 2] != [] and swept[number + 1].field != one.field,
        )
    console.print(table)
    console.print(
        "The value does not change a turn that is valid to the end. Takeovers and share are computed from these turns "
        "only. In the other turns a model would have stopped at another place, and the text that would follow is not "
        "known. To test such a value, use `evaluate --policy`.",
        style="dim",
    )
    ineffective = [name for name in VALUES if all(s.valid == s.turns for s in swept if s.field == name)]
    if ineffective:
        console.print(f"No value of {' or '.join(ineffective)} changes these runs.")
