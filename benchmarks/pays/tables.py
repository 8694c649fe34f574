"""Tables of `build/pays.json`. Those in the documentation are made here too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SMALL, LARGE = "small", "large"
_NAMES = {SMALL: "the small model alone", LARGE: "the large model alone"}


def table(pair: Mapping[str, Any]) -> str:
    """Return all runs of a pair as a Markdown table."""
    heading = ("run", "right", "95% interval", "cost", "minus coin of its cost", "tokens, large", "requests, large")
    rows = [
        (
            _name(pair, name),
            _percent(run["accuracy"]),
            f"{_percent(run['ci95'][0])} to {_percent(run['ci95'][1])}",
            _cost(pair, name),
            "" if name in _NAMES else _points(run["vs_equal_cost_coin"]),
            f"{run['target_tokens']:.0f}",
            f"{run['target_requests']:.2f}",
            _seconds(run["seconds"]),
        )
        for name, run in pair["runs"].items()
    ]
    return markdown((*heading, "seconds"), rows)


def short_table(pair: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return a few runs, and what each of them costs."""
    heading = ("who answers", "right", "cost, as a share of the large model", "above a coin of the same cost")
    rows = [
        (
            _NAMES.get(name, f"`{name}`"),
            _percent(pair["runs"][name]["accuracy"]),
            _cost(pair, name),
            "" if name in _NAMES else _points(pair["runs"][name]["vs_equal_cost_coin"]),
        )
        for name in names
    ]
    return markdown(heading, rows)


def rule_table(pair: Mapping[str, Any], rules: Mapping[str, str]) -> str:
    """Return rules of escalation.

    Args:
        pair: The figures of the pair.
        rules: The names of the runs, and how each rule is written.
    """
    heading = ("rule", "right", "cost, as a share of the large model alone", "questions for the large model")
    rows = [
        (
            _NAMES.get(name, f"`{rule}`"),
            _percent(pair["runs"][name]["accuracy"]),
            _cost(pair, name),
            f"{pair['runs'][name]['target_requests']:.0%}",
        )
        for name, rule in rules.items()
    ]
    return markdown(heading, rows)


def vendor_table(pairs: Mapping[str, Any]) -> str:
    """Return what the requests of the gated pair brought at each vendor."""
    rows = [
        (
            name.removeprefix("scripted, "),
            *(str(pair["requests"][key]) for key in ("sent", "refused", "without_text")),
            f"{pair['runs'][pair['recommended']]['target_requests']:.2f}",
        )
        for name, pair in pairs.items()
        if "requests" in pair
    ]
    return markdown(("vendor", "requests", "refused", "without text", "requests per question"), rows)


def agent_table(agents: Mapping[str, Any]) -> str:
    """Return how many tasks each agent finished, and what the models wrote and read for a task on average."""
    heading = ("model of the agent", "tasks done", "95% interval", "calls of tools", "requests, large")
    rows = [
        (
            _NAMES.get(name, f"`DelegationPolicy.{name}()`"),
            f"{run['success'] * agents['n']:.0f} of {agents['n']}",
            f"{_percent(run['ci95'][0])} to {_percent(run['ci95'][1])}",
            *(f"{run[key]:.1f}" for key in ("calls", "target_requests")),
            *(f"{run[key]:.0f}" for key in ("target_prompt_tokens", "target_completion_tokens")),
            f"{run['speculative_completion_tokens']:.0f}",
        )
        for name, run in agents["runs"].items()
    ]
    return markdown((*heading, "tokens read, large", "tokens written, large", "tokens written, small"), rows)


def markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is text and whose other columns are numbers."""
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cost_ratio(pair: Mapping[str, Any], name: str) -> float:
    """Return what a run costs, as a share of the large model alone."""
    return float(pair["runs"][name]["cost"] / pair["runs"][LARGE]["cost"])


def _name(pair: Mapping[str, Any], name: str) -> str:
    return f"**{name}**" if name == pair["recommended"] else name


def _cost(pair: Mapping[str, Any], name: str) -> str:
    return f"{cost_ratio(pair, name):.0%}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _points(found: Mapping[str, Any]) -> str:
    low, high = found["ci95"]
    return f"{100 * found['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"
