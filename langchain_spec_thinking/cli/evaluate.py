"""`spec-thinking evaluate`: find out whether a pair pays on your own questions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from langchain_spec_thinking.cli import pairs
from langchain_spec_thinking.cli.console import console, printable
from langchain_spec_thinking.cli.failures import exit_on_failure, exit_on_interrupt
from langchain_spec_thinking.cli.further_models import further_models, prices_of
from langchain_spec_thinking.cli.progress import show_progress
from langchain_spec_thinking.evaluation import Evaluation, Variant, alone, load_questions
from langchain_spec_thinking.evaluation import evaluate as run
from langchain_spec_thinking.evaluation.economics import takeover_costs
from langchain_spec_thinking.evaluation.policy_lines import FORM, parse_policy
from langchain_spec_thinking.evaluation.report import require_extra, save
from langchain_spec_thinking.evaluation.tables import figures_table, tests_table
from langchain_spec_thinking.evaluation.verdicts import verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from langchain_spec_thinking import ChatSpeculativeThinking

_GAP = 2
"""Space between two columns of a table, in characters."""
PRICE = "PROMPT,COMPLETION[,CACHED] per million tokens of the"
LISTED = "Default: the price that the backend knows."


def evaluate(  # noqa: PLR0913, PLR0917 - options, which typer passes by name
    data: pairs.Data = "pocket",
    speculative: pairs.Speculative = None,
    target: pairs.Target = None,
    speculative_key_env: pairs.SpeculativeKeyEnv = None,
    target_key_env: pairs.TargetKeyEnv = None,
    policy: Annotated[list[str] | None, typer.Option(help=f"{FORM}. Repeatable. Default: `pair`.")] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=MODEL: a further model that answers alone, for example one that could replace the pair. The "
            "API key of its server is read from VARIANT_NAME_API_KEY. Instead of a model, module:object may name any "
            "chat model, agent or other Runnable, or a RunnableVariant. Repeatable."
        ),
    ] = None,
    check: pairs.Check = "math",
    speculative_price: Annotated[str | None, typer.Option(help=f"{PRICE} small model. {LISTED}")] = None,
    target_price: Annotated[str | None, typer.Option(help=f"{PRICE} large model. {LISTED}")] = None,
    variant_price: Annotated[
        list[str] | None, typer.Option(help=f"NAME={PRICE} variant of this name. {LISTED} Repeatable.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for runs, tables and plots. Finished runs are not repeated.")
    ] = Path("evaluation"),
    limit: pairs.Limit = None,
    concurrency: pairs.Concurrency = 8,
    max_tokens: pairs.MaxTokens = None,
    thinking_tokens: pairs.ThinkingTokens = None,
    temperature: pairs.Temperature = None,
    seed: pairs.Seed = None,
    answer_by: pairs.AnswerBy = "speculative",
) -> None:
    """Find out whether a pair pays: compare each model alone and any number of policies on the same questions."""
    with exit_on_failure(), exit_on_interrupt(out):
        require_extra()
        given = pairs.price(speculative_price), pairs.price(target_price)
        questions = load_questions(data, limit)
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
            further = further_models(variant or [], model)
        prices = pairs.prices(*given, model)
        further_prices = prices_of(further, variant_price or [], known=bool(prices))
        variants = [*_variants(model, policy or ["pair"]), *further]
        with show_progress(console, [one.name for one in variants], len(questions)) as on_outcome:
            found = run(questions, variants, out, check=check, concurrency=concurrency, on_outcome=on_outcome)
        found = replace(found, prices=prices, further_prices=further_prices)
        files = save(found, out)
    show(console, found)
    if not prices:
        console.print(
            "\nVerdicts compare times, because no prices are known (--speculative-price and --target-price).",
            style="dim",
        )
    console.print("\n" + "\n".join(map(str, [*files, out / "runs.jsonl"])), style="dim", markup=False, soft_wrap=True)


def show(console: Console, evaluation: Evaluation) -> None:
    """Print the results."""
    console.print(_table(figures_table(evaluation), f"{evaluation.count} questions", console.width))
    console.print()
    console.print(_table(tests_table(evaluation), "Paired tests on the same questions", console.width))
    console.print()
    for name in evaluation.pairs:
        console.print(f"\n[bold]{escape(name)}[/bold]")
        for verdict in verdicts(evaluation, name):
            console.print(verdict.text, style="red" if verdict.dominated else None, markup=False)
        if costs := takeover_costs(evaluation, name):
            console.print("\n".join(costs.sentences()), markup=False)
    for line in _error_lines(evaluation):
        console.print(f"\n{line}", style="red", markup=False)


def _error_lines(evaluation: Evaluation) -> Iterator[str]:
    """Describe the errors of each variant. If variants have the same first error, it is shown once."""
    told: dict[str, str] = {}
    for name, figures in evaluation.figures.items():
        errors = [outcome.error for outcome in figures.outcomes if outcome.error]
        if not errors:
            continue
        counted = f"{name}: {len(errors)} errors, counted as wrong."
        if first := told.get(errors[0]):
            yield f"{counted} The first error is that of {first}."
        else:
            told[errors[0]] = name
            yield f"{counted} The same command retries them. First error: {printable(errors[0])}"


def _variants(model: ChatSpeculativeThinking, policies: Sequence[str]) -> list[Variant]:
    variants = [alone(model, "speculative", "small"), alone(model, "target", "target")]
    for line in policies:
        name, policy = parse_policy(line)
        policy = model.policy if line == "pair" else policy
        variants.append(Variant(name, model.model_copy(update={"policy": policy})))
    return variants


def _table(rows: Sequence[Sequence[str]], title: str, width: int) -> Table:
    """Return a table. Headings wrap between words, and cells too if the terminal is narrow. No figure is cut."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    columns = [(heading.split(" "), cells) for heading, *cells in zip(*rows, strict=True)]
    whole = [_longest([*words, *cells]) for words, cells in columns]
    parts = [_longest([*words, *(word for cell in cells for word in cell.split(" "))]) for words, cells in columns]
    fits = sum(whole) + _GAP * len(whole) <= width
    for heading, column_width in zip(rows[0], whole if fits else parts, strict=True):
        table.add_column(heading, justify="right" if table.columns else "left", width=column_width, overflow="fold")
    for row in rows[1:]:
        table.add_row(*map(escape, row))
    return table


def _longest(texts: Sequence[str]) -> int:
    return max(map(len, texts))
