"""Compare the pocket pair with each of its two models alone: `make bench-pocket`.

Solves held-out problems with greedy decoding, many turns at a time. Writes a JSON file and a plot with the same name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.pocket.problems import problems
from benchmarks.pocket.runs import Pair, Result, Workers, random_takeovers
from langchain_spec_thinking import DelegationPolicy
from langchain_spec_thinking.evaluation.calibration import calibrate_to_share, parse_trigger
from langchain_spec_thinking.evaluation.statistics import Interval, mcnemar, ratio, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.pocket.problems import Problem

SEED = 1
"""Seed of the held-out problems. The training measures itself on problems of another seed."""
SAMPLE = 100
"""Number of further problems, on which the random trigger is calibrated."""
PAIRS = (("pair", "small"), ("large", "pair"), ("pair", "random"), ("pair", "pair_non_reasoning"))
"""Pairs of runs whose difference gets a p-value."""
NAMES = {
    "small": "small alone",
    "large": "large alone",
    "pair": "the pair",
    "pair_non_reasoning": "the pair, non-reasoning policy",
    "random": "the pair, random trigger",
}


def compare(count: int) -> dict[str, Result]:
    """Run all variants on the first `count` held-out problems."""
    stream = problems(SEED, "held_out")
    asked, sample = list(islice(stream, count)), list(islice(stream, SAMPLE))
    variants = {
        "small": Pair.alone("small"),
        "large": Pair.alone("large"),
        "pair": Pair(),
        "pair_non_reasoning": Pair(policy=DelegationPolicy.non_reasoning()),
    }
    with closing(Workers(min(2, os.cpu_count() or 1))) as workers:

        def run(name: str, pair: Pair, asked: Sequence[Problem]) -> Result:
            with tqdm(total=len(asked), desc=f"{name:<31}", unit="problem") as bar:
                return workers.run(pair, asked, lambda solved: bar.update(solved - bar.n))

        def share_at(probability: float) -> Interval:
            found = run(f"calibration ({probability:.2f})", Pair(policy=random_takeovers(probability)), sample).outcomes
            return ratio([outcome.target_tokens for outcome in found], [outcome.tokens for outcome in found])

        results = {name: run(NAMES[name], pair, asked) for name, pair in variants.items()}
        parameter, share = parse_trigger("random")[1], results["pair"].target_share
        probability = calibrate_to_share(share_at, share, parameter)[0].value
        results["random"] = run(NAMES["random"], Pair(policy=random_takeovers(probability)), asked)
    return results


def report(results: dict[str, Result]) -> dict[str, Any]:
    """Return all results for a JSON file."""
    count = len(results["pair"].outcomes)
    gap = results["large"].right - results["small"].right
    return {
        "n": count,
        "runs": {name: _figures(name, result, count) for name, result in results.items()},
        "mcnemar": {
            f"{one} - {other}": asdict(mcnemar(results[one].is_right, results[other].is_right)) for one, other in PAIRS
        },
        "gap_recovered": (results["pair"].right - results["small"].right) / gap if gap > 0 else None,
        "machine": {"cores": os.cpu_count(), "device": _device(), "python": platform.python_version()},
    }


def _figures(name: str, result: Result, count: int) -> dict[str, Any]:
    interval = wilson(result.right, count)
    return {
        "accuracy": result.accuracy,
        "ci95": [interval.low, interval.high],
        "tokens": result.tokens / count,
        "tokens_per_second": result.tokens / result.seconds,
        "target_share": 1.0 if name == "large" else result.target_share,
    }


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU ({platform.machine()})"


def show(found: dict[str, Any], console: Console) -> None:
    """Print the results."""
    table = Table(title=f"{found['n']} held-out problems, greedy")
    for heading in ("variant", "accuracy", "95% interval", "tokens", "tokens/s", "by the large model"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for name, figures in found["runs"].items():
        low, high = figures["ci95"]
        table.add_row(
            NAMES[name],
            f"{figures['accuracy']:.1%}",
            f"{low:.1%} to {high:.1%}",
            f"{figures['tokens']:.0f}",
            f"{figures['tokens_per_second']:.0f}",
            f"{figures['target_share']:.1%}",
        )
    console.print(table)
    if found["gap_recovered"] is not None:
        console.print(f"The pair recovers {found['gap_recovered']:.0%} of the gap between small and large.")
    for runs, test in found["mcnemar"].items():
        console.print(f"{runs}: {test['difference']:+.1%} (McNemar p = {test['p']:.2g})")


def draw(found: dict[str, Any], file: Path) -> None:
    """Draw accuracy against the large model's share of the tokens."""
    import matplotlib as mpl  # noqa: PLC0415 - only the command draws

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, figures in found["runs"].items():
        share, accuracy = 100 * figures["target_share"], 100 * figures["accuracy"]
        low, high = (100 * bound for bound in figures["ci95"])
        axes.errorbar(share, accuracy, [[accuracy - low], [high - accuracy]], fmt="o", capsize=3, label=NAMES[name])
    axes.set(
        xlabel="tokens of the large model (%)",
        ylabel="right answers (%)",
        title=f"Pocket pair, {found['n']} held-out problems",
        xlim=(-4, 104),
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Compare the pocket pair with each of its models alone.")
    parser.add_argument(
        "--out", type=Path, default=Path("build/pocket.json"), help="JSON file; the plot is written beside it"
    )
    parser.add_argument("--problems", type=int, default=500, help="held-out problems")
    options = parser.parse_args(arguments)
    found = report(compare(options.problems))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    draw(found, options.out.with_suffix(".png"))
    show(found, Console(highlight=False))


if __name__ == "__main__":
    main()
