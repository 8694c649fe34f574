"""Write the results of an evaluation to its folder: figures, tables and plots."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.economics import takeover_costs
from langchain_spec_thinking.evaluation.plots import draw
from langchain_spec_thinking.evaluation.tables import markdown
from langchain_spec_thinking.evaluation.verdicts import verdicts
from langchain_spec_thinking.installing import require_modules

if TYPE_CHECKING:
    from os import PathLike

    from langchain_spec_thinking.evaluation.results import Evaluation


def require_extra() -> None:
    """Check that the packages for tables and plots are installed. Call it before a long run.

    Raises:
        ImportError: The extra `[evaluate]` is not installed.
    """
    require_modules("An evaluation", "evaluate", "matplotlib", "scipy")


def as_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Return everything that an evaluation found, for JSON."""
    costs = {name: takeover_costs(evaluation, name) for name in evaluation.pairs}
    return {
        "n": evaluation.count,
        "variants": {name: figures.as_dict() for name, figures in evaluation.rows.items()},
        "mcnemar": {f"{one} - {other}": asdict(test) for (one, other), test in evaluation.tests.items()},
        "verdicts": {name: [verdict.text for verdict in verdicts(evaluation, name)] for name in evaluation.pairs},
        "takeover_costs": {name: found.as_dict() for name, found in costs.items() if found},
        "prices": {side: asdict(price) for side, price in evaluation.prices.items()},
        "further_prices": {name: asdict(price) for name, price in evaluation.further_prices.items()},
    }


def save(evaluation: Evaluation, folder: str | PathLike[str]) -> list[Path]:
    """Write `results.json`, `results.md` and the plots.

    Returns:
        The files that were written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures, tables = folder / "results.json", folder / "results.md"
    figures.write_text(
        json.dumps(as_dict(evaluation), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    tables.write_text(markdown(evaluation), encoding="utf-8")
    return [figures, tables, *draw(evaluation, folder)]
