"""Remakes the pocket pair from nothing: `python -m benchmarks.pocket.train --out DIR`.

About two hours on two cores with bfloat16 instructions; an accelerator is used where there is one.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import json
import os
import platform
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.pocket.learning import Progress, learn
from benchmarks.pocket.measure import RECORD, measure
from benchmarks.pocket.recipes import RECIPES, Recipe, blank
from benchmarks.pocket.vocabularies import save, vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence


def store(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a checkpoint in bfloat16."""
    stored = copy.deepcopy(model).bfloat16().cpu()
    stored.generation_config.update(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=1024
    )
    stored.save_pretrained(folder)
    save(tokenizer, folder)
    # Safetensors are written for the owner alone; a package is read by everybody.
    (folder / "model.safetensors").chmod(0o644)


def make(recipe: Recipe, out: Path, problems: int, *, further: bool) -> None:
    """Train, store and measure one model, and write its card; `further` adds a round to what `out` holds."""
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder, before = out / recipe.name, Progress()
    tokenizer = (
        PreTrainedTokenizerFast.from_pretrained(folder) if further else vocabulary(recipe.vocabulary, recipe.seed)
    )
    model = blank(recipe, tokenizer)
    if further:
        model.load_state_dict(LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict())
        before = Progress(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    model.train()
    if device.type == "cuda":
        model.cuda()  # type: ignore[call-arg]
    progress = learn(model, tokenizer, recipe, lambda: store(model, tokenizer, folder), before)
    store(model, tokenizer, folder)
    (folder / RECORD).write_text(json.dumps(asdict(progress), indent=2) + "\n", encoding="utf-8")
    measure(recipe, folder, problems)


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory: else most of a step's time goes into getting it from the system again."""
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, in bytes.
    for option, value in ((-1, 2**31 - 1), (-2, 2**28), (-3, 2**30)):
        mallopt(option, value)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the pocket pair.")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets pocket-small/ and pocket-large/")
    parser.add_argument("--only", choices=sorted(RECIPES), help="remake one model only")
    parser.add_argument("--further", action="store_true", help="add a round of training to the models in the folder")
    parser.add_argument("--minutes", type=float, help="shorten each model's schedule to end in this time")
    parser.add_argument("--problems", type=int, default=500, help="held-out problems for the cards")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args(arguments)
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    for name in [options.only] if options.only else RECIPES:
        make(replace(RECIPES[name], minutes=options.minutes), options.out, options.problems, further=options.further)


if __name__ == "__main__":
    main()
