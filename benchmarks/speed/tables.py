"""Tables of the results."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEADINGS = ("figure", "value", "95% interval", "runs", "target", "met")
_COMPARISONS = {"<=": operator.le, ">=": operator.ge}
_THOUSAND = 1000


def figures(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the figures in the content of `build/bench.json`."""
    return {name: entry for name, entry in results.items() if isinstance(entry, dict) and "value" in entry}


def met(value: float, target: str | None) -> bool | None:
    """Return whether a value meets its target. None if there is no target.

    Args:
        value: The value.
        target: `"<= 1.03"`, `">= 3"` or `"0.95 to 1.05"`. Text after it is ignored.

    Raises:
        ValueError: The target has none of these forms.
    """
    if target is None:
        return None
    if match := re.match(r"(<=|>=) ([\d.]+)", target):
        return bool(_COMPARISONS[match[1]](value, float(match[2])))
    if match := re.match(r"([\d.]+) to ([\d.]+)", target):
        return float(match[1]) <= value <= float(match[2])
    msg = f"target: expected '<= number', '>= number' or 'number to number', got {target!r}"
    raise ValueError(msg)


def table(results: Mapping[str, Any]) -> Table:
    """Return the figures as a table for the terminal."""
    machine = results["machine"]
    result = Table(title=f"{machine['cores']} cores, {machine['cpu']}, {machine['device']}")
    for heading in _HEADINGS:
        result.add_column(heading, justify="left" if heading in {"figure", "target"} else "right")
    colours = {"yes": "[green]yes[/]", "no": "[red]no[/]"}
    for *cells, verdict in _rows(results):
        result.add_row(*cells, colours.get(verdict, verdict))
    return result


def markdown(results: Mapping[str, Any]) -> str:
    """Return the figures as a Markdown table, with the properties of the machine."""
    machine = results["machine"]
    lines = [f"| {' | '.join(_HEADINGS)} |", f"|{'---|' * len(_HEADINGS)}"]
    for name, *cells in _rows(results):
        lines.append(f"| {' | '.join([_code(name), *cells])} |")
    place = f"{machine['cores']} cores ({machine['cpu']}; {machine['device']}), load {machine['load']:.1f}"
    software = f"Python {machine['python']}, torch {machine['torch']} with {machine['threads']} threads"
    lines += ["", f"Measured {results['when'][:10]} on {place}, {software}."]
    return "\n".join(lines)


def _rows(results: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, figure in figures(results).items():
        yield _row(name, figure, figure["unit"])
        details = figure["details"]
        for kind in ("models", "pairs", "by_length"):
            for part, inner in details.get(kind, {}).items():
                if kind == "by_length" or len(details[kind]) > 1:
                    label = f"at {part} tokens" if kind == "by_length" else part
                    yield _row(f"- {label}", inner, figure["unit"])


def _row(name: str, figure: Mapping[str, Any], unit: str) -> tuple[str, ...]:
    verdict = met(figure["value"], figure["target"])
    return (
        name,
        f"{_number(figure['value'])}{'' if unit == 'ratio' else f' {unit}'}",
        f"{_number(figure['low'])} to {_number(figure['high'])}",
        str(figure["runs"]),
        figure["target"] or "",
        "" if verdict is None else "yes" if verdict else "no",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= _THOUSAND else f"{value:.3g}"


def _code(name: str) -> str:
    return name if name.startswith("-") else f"`{name}`"
