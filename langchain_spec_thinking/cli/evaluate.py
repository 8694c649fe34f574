"""`spec-thinking evaluate`: find out whether a pair pays on your own questions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from langchain_spec_thinking.cli import pairs
from langchain_spec_thinking.cli.console import console
from langchain_spec_thinking.cli.progress import show_progress
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.evaluation import Evaluation, Variant, alone, load_questions
from langchain_spec_thinking.evaluation import evaluate as run
from langchain_spec_thinking.evaluation.policy_lines import FORM, parse_policy
from langchain_spec_thinking.evaluation.report import require_extra, save
from langchain_spec_thinking.evaluation.tables import figures_table, tests_table
from langchain_spec_thinking.evaluation.verdicts import verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from langchain_spec_thinking import ChatSpeculativeThinking

PRICE = "PROMPT,COMPLETION[,CACHED] per million tokens of the"


def evaluate(  # noqa: PLR0913, PLR0917 - options, which typer passes by name
    data: pairs.Data = "pocket",
    speculative: pairs.Speculative = None,
    target: pairs.Target = None,
    policy: Annotated[list[str] | None, typer.Option(help=f"{FORM}. Repeatable. Default: `pair`.")] = None,
    coin: Annotated[
        list[str] | None,
        typer.Option(
            help="Control: share of whole questions for the large model, or the name of a policy to use its share. "
            "Repeatable."
        ),
    ] = None,
    check: pairs.Check = "math",
    speculative_price: Annotated[str | None, typer.Option(help=f"{PRICE} small model.")] = None,
    target_price: Annotated[str | None, typer.Option(help=f"{PRICE} large model.")] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for runs, tables and plots. Finished runs are not repeated.")
    ] = Path("evaluation"),
    limit: pairs.Limit = None,
    concurrency: pairs.Concurrency = 8,
    max_tokens: pairs.MaxTokens = 2048,
    temperature: pairs.Temperature = None,
    seed: pairs.Seed = None,
    answer_by: pairs.AnswerBy = "speculative",
) -> None:
    """Find out whether a pair pays: compare each model alone and any number of policies on the same questions."""
    try:
        require_extra()
        prices = pairs.prices(speculative_price, target_price)
        questions = load_questions(data, limit)
        with console.status("loading ..."):
            model = pairs.pair(
                speculative,
                target,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
                answer_by=answer_by,
            )
        variants = _variants(model, policy or ["pair"])
        _require_coins(coin or [], variants)
        with show_progress(console, [variant.name for variant in variants], len(questions)) as on_outcome:
            found = run(questions, variants, out, check=check, concurrency=concurrency, on_outcome=on_outcome)
        found = replace(found, prices=prices)
        for value in dict.fromkeys(coin or []):
            found = _with_coin(found, value, seed or 0)
        files = save(found, out)
    except (BackendError, ImportError, OSError, ValueError) as e:
        console.print(str(e), style="red", markup=False)
        raise typer.Exit(1) from e
    except KeyboardInterrupt as e:
        console.print(f"Interrupted. The answers so far are in {out}. Run the same command again to continue.")
        raise typer.Exit(130) from e
    show(console, found)
    if not prices:
        console.print(
            "\nVerdicts compare times, because no prices are given (--speculative-price and --target-price).",
            style="dim",
        )
    console.print("\n" + "\n".join(map(str, [*files, out / "runs.jsonl"])), style="dim", markup=False, soft_wrap=True)


def show(console: Console, evaluation: Evaluation) -> None:
    """Print the results."""
    console.print(_table(figures_table(evaluation), f"{evaluation.count} questions"))
    console.print(_table(tests_table(evaluation), "Paired tests on the same questions"))
    for name in evaluation.pairs:
        console.print(f"\n[bold]{escape(name)}[/bold]")
        for verdict in verdicts(evaluation, name):
            console.print(verdict.text, style="red" if verdict.dominated else None, markup=False)
    for name, figures in evaluation.figures.items():
        errors = [outcome.error for outcome in figures.outcomes if outcome.error]
        if errors:
            console.print(
                f"\n{name}: {len(errors)} errors, counted as wrong. The same command retries them. First error: "
                f"{errors[0]}",
                style="red",
                markup=False,
            )


def _variants(model: ChatSpeculativeThinking, policies: Sequence[str]) -> list[Variant]:
    variants = [alone(model, "speculative", "small"), alone(model, "target", "target")]
    for line in policies:
        name, policy = parse_policy(line)
        policy = model.policy if line == "pair" else policy
        variants.append(Variant(name, model.model_copy(update={"policy": policy})))
    return variants


def _require_coins(coins: Sequence[str], variants: Sequence[Variant]) -> None:
    """Refuse invalid values of `--coin` before anything runs."""
    pairs_of_two = [variant.name for variant in variants if variant.alone is None]
    for coin in coins:
        if coin not in pairs_of_two and not 0 <= _share(coin) <= 1:
            msg = f"--coin {coin}: expected a share from 0 to 1, or one of {', '.join(pairs_of_two)}"
            raise ValueError(msg)


def _share(coin: str) -> float:
    try:
        return float(coin)
    except ValueError:
        return -1


def _with_coin(evaluation: Evaluation, coin: str, seed: int) -> Evaluation:
    if coin in evaluation.pairs:
        return evaluation.with_coin(f"coin as {coin}", evaluation.figures[coin].target_share.value, seed)
    return evaluation.with_coin(f"coin:{coin}", _share(coin), seed)


def _table(rows: Sequence[Sequence[str]], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    heading, *body = rows
    longest = max(len(row[0]) for row in rows)
    for number, cell in enumerate(heading):
        table.add_column(cell, justify="right" if number else "left", min_width=0 if number else longest)
    for row in body:
        table.add_row(*map(escape, row))
    return table
