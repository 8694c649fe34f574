"""The training loop: plain torch, bfloat16 autocast, Muon for the matrices and AdamW for the rest, cosine schedule."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.pocket.batches import IGNORED, batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from benchmarks.pocket.batches import Batch
    from benchmarks.pocket.recipes import Recipe

WEIGHT_DECAY = 0.01
CLIP = 1.0
FLOOR = 0.02
"""Share of the peak rate that the schedule ends at."""
SAVE_EVERY = 300.0
"""Seconds between checkpoints."""


AGAIN = 0.7
"""Share of the peak rate in a further round: enough to learn on, too little to unlearn."""


@dataclass(frozen=True)
class Progress:
    """What training used so far, in seconds, over all its rounds."""

    rounds: int = 0
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    device: str = "cpu"
    loss: float = math.nan


def learn(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    save: Callable[[], None],
    before: Progress,
) -> Progress:
    """Train a model by its recipe.

    Args:
        model: Changed in place.
        tokenizer: The model's own.
        recipe: Shapes and lengths; the same recipe and seed give the same batches.
        save: Called every five minutes, so that a usable checkpoint exists at any time.
        before: Earlier rounds; a further round draws problems no earlier one has drawn and starts at lower rates.
    """
    device = next(model.parameters()).device
    optimizers = _optimizers(model, recipe, AGAIN if before.rounds else 1.0)
    stream = batches(tokenizer, recipe.seed + before.rounds, recipe.tokens, recipe.drills)
    began = saved = time.monotonic()
    tokens, loss = 0, math.nan
    bar = tqdm(total=recipe.steps, desc=recipe.name, unit="step", mininterval=5)
    while bar.n < recipe.steps:
        done = bar.n / recipe.steps
        if recipe.minutes is not None:
            done = max(done, (time.monotonic() - began) / (60 * recipe.minutes))
        if done >= 1:
            break
        _schedule(optimizers, bar.n, done, recipe.warmup)
        batch = next(stream)
        now = _update(model, batch, device, optimizers)
        loss = now if math.isnan(loss) else 0.98 * loss + 0.02 * now
        tokens += batch.ids.numel()
        bar.update()
        bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        if time.monotonic() - saved > SAVE_EVERY:
            save()
            saved = time.monotonic()
    bar.close()
    seconds = time.monotonic() - began
    return Progress(
        before.rounds + 1, before.steps + bar.n, before.tokens + tokens, before.seconds + seconds, device.type, loss
    )


def _optimizers(model: LlamaForCausalLM, recipe: Recipe, share: float) -> list[torch.optim.Optimizer]:
    matrices = [value for name, value in model.named_parameters() if value.ndim == 2 and "embed" not in name]  # noqa: PLR2004
    tables = [value for name, value in model.named_parameters() if value.ndim != 2 or "embed" in name]  # noqa: PLR2004
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=recipe.rate, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(tables, lr=recipe.table_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    for optimizer in optimizers:
        optimizer.param_groups[0]["peak"] = share * optimizer.param_groups[0]["lr"]
    return optimizers


def _schedule(optimizers: list[torch.optim.Optimizer], step: int, done: float, warmup: int) -> None:
    """Sets the rates: a linear warm-up over the first steps under a cosine over the whole run."""
    factor = min(1.0, (step + 1) / warmup) * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done)))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor


def _update(
    model: LlamaForCausalLM, batch: Batch, device: torch.device, optimizers: list[torch.optim.Optimizer]
) -> float:
    """One step on one batch; returns its loss in nats a token."""
    labels = batch.labels[:, 1:].to(device)
    taught = labels != IGNORED
    with torch.autocast(device.type, torch.bfloat16):
        hidden = model.model(input_ids=batch.ids.to(device), use_cache=False).last_hidden_state
        # Only what carries loss goes through the head; the padding is on the right, so the causal mask hides it.
        logits = model.lm_head(hidden[:, :-1][taught])
    loss = functional.cross_entropy(logits.float(), labels[taught])
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()
