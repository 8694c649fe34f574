"""Measure checkpoints of the pair and write their model cards: `python -m benchmarks.pocket.measure --out DIR`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.pocket.alone import evaluate, load
from benchmarks.pocket.cards import card
from benchmarks.pocket.learning import Progress
from benchmarks.pocket.recipes import RECIPES, Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.pocket.alone import Score

RECORD = "training.json"
"""File of a checkpoint that records the steps, tokens and seconds of its training."""


def measure(recipe: Recipe, folder: Path, problems: int) -> Score:
    """Measure a stored checkpoint on held-out problems and write its model card beside it."""
    model, tokenizer = load(folder)
    progress = Progress(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    score = evaluate(model, tokenizer, problems)
    (folder / "README.md").write_text(card(recipe, model, progress, score), encoding="utf-8")
    return score


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Measure the pocket pair and write its cards.")
    parser.add_argument("--out", type=Path, required=True, help="folder that holds pocket-small/ and pocket-large/")
    parser.add_argument("--only", choices=sorted(RECIPES), help="measure one model only")
    parser.add_argument("--problems", type=int, default=500, help="held-out problems")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    for name in [options.only] if options.only else RECIPES:
        score = measure(RECIPES[name], options.out / name, options.problems)
        found = score.accuracy
        print(f"{name}: {score.right}/{score.total}, 95% interval {found.low:.1%} to {found.high:.1%}")  # noqa: T201 - output of the command


if __name__ == "__main__":
    main()
