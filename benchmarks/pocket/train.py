"""Train the pocket pair from nothing: `python -m benchmarks.pocket.train --out DIR`.

The training uses a GPU if there is one.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.pocket.learning import Learner
from benchmarks.pocket.measure import RECORD, measure
from benchmarks.pocket.recipes import RECIPES, Recipe
from benchmarks.pocket.vocabularies import save, vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.pocket.learning import Progress


def store(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, progress: Progress) -> None:
    """Write the model in bfloat16, its tokenizer and the record of its training."""
    stored = LlamaForCausalLM(model.config)
    stored.load_state_dict(model.state_dict())
    stored = stored.bfloat16()
    stored.generation_config.update(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=1024
    )
    stored.save_pretrained(folder)
    save(tokenizer, folder)
    # Safetensors files are readable for their owner only, but a package is read by everybody.
    (folder / "model.safetensors").chmod(0o644)
    (folder / RECORD).write_text(json.dumps(asdict(progress), indent=2) + "\n", encoding="utf-8")


def make(recipe: Recipe, out: Path, problems: int, workers: int) -> None:
    """Train, store and measure one model, and write its card. An interrupted training continues."""
    folder = out / recipe.name
    if (folder / "tokenizer.json").exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    else:
        tokenizer = vocabulary(recipe.vocabulary)
    learner = Learner(recipe, tokenizer, folder, workers)
    progress = learner.learn(lambda model, so_far: store(model, tokenizer, folder, so_far))
    learner.save()
    store(learner.model, tokenizer, folder, progress)
    measure(recipe, folder, problems)


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory. Otherwise most of a step on a CPU is spent on getting memory again."""
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, in bytes.
    for option, value in ((-1, 2**31 - 1), (-2, 2**28), (-3, 2**30)):
        mallopt(option, value)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description="Train the pocket pair. Run the command again to continue after an interruption."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder that gets pocket-small/ and pocket-large/")
    parser.add_argument("--only", choices=sorted(RECIPES), help="train one model only")
    parser.add_argument("--minutes", type=float, help="shorten the schedule of each model to end in this time")
    parser.add_argument("--problems", type=int, default=500, help="held-out problems for the cards")
    parser.add_argument("--workers", type=int, default=1, help="processes that make training data")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="threads of the training")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    for name in [options.only] if options.only else RECIPES:
        make(replace(RECIPES[name], minutes=options.minutes), options.out, options.problems, options.workers)


if __name__ == "__main__":
    main()
