"""The figures of a pair in `build/pays.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.statistics import mean
from langchain_spec_thinking.price import Price

if TYPE_CHECKING:
    from langchain_spec_thinking.evaluation import Evaluation
    from langchain_spec_thinking.evaluation.results import Figures
    from langchain_spec_thinking.evaluation.statistics import Interval
    from langchain_spec_thinking.turn import Author

PRICES: dict[Author, Price] = {"speculative": Price(0, 0), "target": Price(1, 4, cached=0.1)}
"""Invented prices per million tokens: the small model is free."""


def pair_figures(evaluation: Evaluation, recommended: str, timed: Evaluation | None = None) -> dict[str, Any]:
    """Return the figures of all runs of a pair, and what the recommended run gives.

    Costs, seconds, tokens and requests are means per question. Costs are in the currency of the prices.

    Args:
        evaluation: The runs, with those of both models alone, and the prices.
        recommended: Name of the run that is recommended.
        timed: Runs of the first questions, one turn at a time. `seconds` comes from them. Without them, `seconds`
            comes from `evaluation`.

    Raises:
        ValueError: The prices or the runs of a model alone are missing, or there is no run of that name.
    """
    _require_complete(evaluation, recommended)
    large = evaluation.figures[evaluation.side("target") or ""]
    mine = evaluation.figures[recommended]
    differences = [float(a) - float(b) for a, b in zip(mine.is_right, large.is_right, strict=True)]
    timed = timed or evaluation
    runs = {
        name: {**_run(figures, timed.figures.get(name)), "vs_equal_cost_coin": _over_coin(evaluation, name)}
        for name, figures in evaluation.figures.items()
    }
    return {
        "n": evaluation.count,
        "seconds_n": timed.count,
        "prices": {side: vars(price) for side, price in evaluation.prices.items()},
        "runs": runs,
        "recommended": recommended,
        "vs_equal_cost_coin": runs[recommended]["vs_equal_cost_coin"],
        "vs_target": {**_difference(mean(differences)), "cost_ratio": sum(mine.costs) / sum(large.costs)},
    }


def equal_cost_share(evaluation: Evaluation, name: str) -> float:
    """Return the share of whole questions for the large model at which a coin costs as much as a run.

    A run that costs less than the small model alone gives 0, and one that costs more than the large model alone gives
    1. No coin costs as much as such a run.
    """
    if (share := evaluation.cost_share(name)) is not None:
        return share
    target = evaluation.side("target") or ""
    return float(sum(evaluation.figures[name].costs) >= sum(evaluation.figures[target].costs))


def _run(figures: Figures, timed: Figures | None) -> dict[str, Any]:
    usage = [outcome.usage["target"] for outcome in figures.outcomes]
    return {
        "accuracy": figures.accuracy.value,
        "ci95": [figures.accuracy.low, figures.accuracy.high],
        "cost": sum(figures.costs) / figures.count,
        "seconds": sum(timed.seconds) / timed.count if timed else None,
        "target_tokens": sum(used.completion_tokens for used in usage) / figures.count,
        "target_requests": sum(used.requests for used in usage) / figures.count,
        "errors": figures.errors,
    }


def _over_coin(evaluation: Evaluation, name: str) -> dict[str, Any]:
    _, difference = evaluation.compare_with_coin(name, equal_cost_share(evaluation, name))
    return _difference(difference)


def _difference(found: Interval) -> dict[str, Any]:
    return {"difference": found.value, "ci95": [found.low, found.high]}


def _require_complete(evaluation: Evaluation, recommended: str) -> None:
    if not evaluation.prices:
        msg = "prices: expected the prices of both models, because costs are compared, got none"
        raise ValueError(msg)
    if evaluation.side("speculative") is None or evaluation.side("target") is None:
        msg = f"runs: expected each model alone, got {', '.join(evaluation.outcomes)}"
        raise ValueError(msg)
    if recommended not in evaluation.outcomes:
        msg = f"{recommended}: expected one of the runs, got {', '.join(evaluation.outcomes)}"
        raise ValueError(msg)
