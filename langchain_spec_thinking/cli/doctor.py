"""Report of the doctor: what each model can do, what the pair will do, and what would improve it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from langchain_spec_thinking.backends.capabilities import IN_THIS_PROCESS, OWN_TOKENS
from langchain_spec_thinking.cli.console import printable
from langchain_spec_thinking.escalation_advice import continuation_advice
from langchain_spec_thinking.hidden_reasoning import no_short_takeovers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from langchain_spec_thinking.backends.diagnosis import Diagnosis

_MARKS = {True: "[green]yes[/]", False: "[red]no[/]", None: "[yellow]not known[/]"}
_TOOL_CALLS = {"native": "in fields of the request", "text": "described in the prompt", None: _MARKS[None]}


def show(console: Console, sides: dict[str, Diagnosis]) -> None:
    """Print the findings."""
    for role, side in sides.items():
        console.print(_table(role, side))
    if all(side.error is None for side in sides.values()):
        _print_list(console, "What the pair will do", list(expected_behaviour(sides)))
    _print_list(console, "What to change or to know", list(recommendations(sides)))


def report(sides: dict[str, Diagnosis]) -> dict[str, object]:
    """Return the findings for JSON."""
    able = all(side.error is None for side in sides.values())
    return {
        **{role: side.as_dict() for role, side in sides.items()},
        "pair": list(expected_behaviour(sides)) if able else [],
        "changes": list(recommendations(sides)),
    }


def expected_behaviour(sides: dict[str, Diagnosis]) -> Iterator[str]:
    """Describe what a pair of these models will do."""
    small, large = sides.get("speculative"), sides.get("target")
    if small and large and large.hides_reasoning:
        yield f"{small.name} writes alone, without takeovers, because {large.name} does not show its reasoning."
    elif small and small.thinks:
        yield (
            f"Reasoning mode: {small.name} writes. If its next sentence after a blank line reflects, affirms or "
            "verifies, the large model takes over for 20 tokens."
        )
    elif small:
        yield (
            "Non-reasoning mode, with DelegationPolicy.non_reasoning(): the large model writes the first 100 tokens "
            f"and the beginning of every paragraph, {small.name} writes the rest."
        )
    for role, side in sides.items():
        yield f"{role}: {_continuation(side.capabilities.continuation)} {_prefill_cost(side)}"
        if side.capabilities.stops_on_cancel is False:
            yield f"{role}: {_hangup_cost(side.capabilities.stopped_tokens_max)}"
    lengths = [context for side in sides.values() if (context := side.capabilities.context)]
    if lengths:
        yield f"Messages, thought and answer together must fit into {min(lengths)} tokens."


def recommendations(sides: dict[str, Diagnosis]) -> Iterator[str]:
    """Describe what would improve the pair."""
    for role, side in sides.items():
        if side.error:
            yield f"{role}: {side.error}"
        for advice in side.advice:
            yield f"{role}: {advice}"
        if role == "target" and side.hides_reasoning:
            yield f"{role}: {no_short_takeovers(side.name)}"
        elif role == "target" and (policy := continuation_advice(side.name, side.capabilities)):
            yield f"{role}: {policy}"
    if _same_model([*sides.values()]):
        yield "Both sides are the same model: a takeover changes nothing."


def _same_model(sides: list[Diagnosis]) -> bool:
    """Return whether both sides are the same model. Sides that do not say what runs them count as different."""
    models = {(side.name, side.capabilities.place, side.capabilities.engine) for side in sides}
    return len(models) < len(sides) and all(side.capabilities.engine for side in sides)


def _continuation(way: str | None) -> str:
    if way is None:
        return "it is not known how replies are continued."
    if way == OWN_TOKENS:
        return "its own tokens are kept."
    if way == "chat_instruct":
        return (
            "replies cannot be continued. The model is instructed to continue, and `degraded` in the report records "
            "this."
        )
    return f"replies are continued by {way}."


def _hangup_cost(limit: int | None) -> str:
    if limit is None:
        return "discarded text is still written and billed, because the server keeps writing after a disconnect."
    return f"requests are limited to {limit} tokens, because the server keeps writing and billing after a disconnect."


def _prefill_cost(side: Diagnosis) -> str:
    if side.capabilities.continuation == OWN_TOKENS:
        return "A hand-over prefills only the new text."
    if side.cached_tokens is None:
        return "It is unknown whether a hand-over uses a prefix cache."
    if side.cached_tokens:
        return f"A hand-over uses the prefix cache ({side.cached_tokens} of {side.prompt_tokens} tokens)."
    return "Every hand-over reads and bills the whole text again."


def _table(role: str, side: Diagnosis) -> Table:
    table = Table(
        title=f"{role}: {escape(printable(side.name))}", title_justify="left", show_header=False, min_width=60
    )
    table.add_column(style="dim")
    table.add_column()
    for name, value in _rows(side):
        table.add_row(name, value)
    return table


def _rows(side: Diagnosis) -> Iterator[tuple[str, str]]:
    can = side.capabilities
    yield "where", escape(can.place) if can.place else _MARKS[None]
    yield "engine", escape(can.engine) if can.engine else _MARKS[None]
    yield "reachable", _MARKS[side.error is None]
    if side.error:  # the error is printed below the table
        return
    if can.place != IN_THIS_PROCESS:
        yield "model listed", _MARKS[side.model_there]
    yield "uses think tags", _MARKS[side.thinks]
    yield "hides reasoning", _MARKS[side.hides_reasoning]
    for trial in side.trials:
        yield trial.strategy, f"[{'green' if trial.works else 'red'}]{escape(printable(trial.outcome))}[/]"
    yield "continuation", escape(can.continuation) if can.continuation else _MARKS[None]
    speed = f", first text after {side.first_text:.2f} s" if side.first_text is not None else ""
    speed += f", then {side.tokens_per_second:.0f} tokens/s" if side.tokens_per_second else ""
    yield "streams", f"{_MARKS[side.streams]}{speed}"
    yield "reports usage", _MARKS[side.tells_usage]
    cached = _MARKS[None] if side.cached_tokens is None else f"{side.cached_tokens} of {side.prompt_tokens}"
    yield "prompt tokens cached", cached
    yield "log-probabilities", _MARKS[side.logprobs]
    yield "stops on disconnect", _MARKS[can.stops_on_cancel]
    yield "tool calls", _TOOL_CALLS[can.tool_calls]
    yield "token counts", "exact" if can.counts_exactly else "estimated until the engine reports them"
    yield "prefetches", _MARKS[can.prefetches]
    yield "context", f"{can.context} tokens" if can.context else _MARKS[None]


def _print_list(console: Console, title: str, lines: list[str]) -> None:
    if lines:
        console.print(f"\n[bold]{title}[/]")
        for line in lines:
            console.print(f"- {escape(printable(line))}")
