"""Train one model: plain torch, bfloat16 autocast, Muon for the matrices and AdamW for the rest."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.pocket.batches import IGNORED, loader
from benchmarks.pocket.recipes import blank

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from benchmarks.pocket.batches import Batch
    from benchmarks.pocket.recipes import Recipe

WEIGHT_DECAY = 0.01
CLIP = 1.0
FLAT = 0.35
"""Share of the training at the peak rate. After that the rate falls linearly."""
FLOOR = 0.01
"""The rate at the end, as a share of the peak rate."""
SAVE_EVERY = 180.0
"""Seconds between checkpoints."""
STATE = "state.pt"
"""File of a checkpoint from which the training continues: weights in float32 and the optimizers."""


@dataclass(frozen=True)
class Progress:
    """What the training used so far.

    Attributes:
        steps: Optimizer steps.
        tokens: Training tokens, padding included.
        seconds: Wall clock, summed over all interruptions.
        done: Share of the schedule, from 0 to 1.
        device: Name of the device.
        loss: Training loss in nats a token, smoothed.
    """

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    done: float = 0.0
    device: str = "cpu"
    loss: float = math.nan


class Learner:
    """A model in training. It continues from the checkpoint in its folder, if there is one.

    Args:
        recipe: Shape of the model and length of its training.
        tokenizer: Tokenizer of the model.
        folder: Folder of the checkpoint.
        workers: Processes that make batches; with 0 the training process makes them.
    """

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerFast, folder: Path, workers: int = 0) -> None:
        self._recipe, self._tokenizer, self._workers = recipe, tokenizer, workers
        self._state = folder / STATE
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(recipe.seed)
        self.model = blank(recipe, tokenizer).to(self._device).train()  # type: ignore[arg-type]
        self._optimizers = _optimizers(self.model, recipe)
        self.progress = Progress(device=_name(self._device))
        if self._state.exists():
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self._state, map_location=self._device, weights_only=True)
        before = Progress(**state["progress"])
        done = min(1.0, before.steps / self._recipe.steps)  # a longer recipe continues a training that had ended
        self.progress = replace(before, device=self.progress.device, done=done)
        self.model.load_state_dict(state["model"])
        for optimizer, stored in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)

    def save(self) -> None:
        """Write the checkpoint. An interruption leaves the old file or the new file, never a part of one."""
        self._state.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }
        part = self._state.with_suffix(".part")
        torch.save(state, part)
        part.replace(self._state)

    def learn(self, saved: Callable[[LlamaForCausalLM, Progress], None]) -> Progress:
        """Train to the end of the schedule.

        Args:
            saved: Called after every checkpoint.
        """
        recipe, first = self._recipe, self.progress
        seed = f"{recipe.seed}-{first.steps}"  # a training that continues draws new problems
        stream = iter(loader(self._tokenizer, seed, recipe, self._workers))
        began, last = time.monotonic(), first.seconds
        bar = tqdm(desc=recipe.name, total=recipe.steps, initial=first.steps, unit="step", mininterval=5)
        while self.progress.done < 1:
            batch = next(stream)
            loss = self._update(batch)
            self._count(loss, batch.ids.numel(), first.seconds + time.monotonic() - began)
            bar.update()
            bar.set_postfix(loss=f"{self.progress.loss:.4f}", refresh=False)
            if self.progress.seconds - last > SAVE_EVERY:
                last = self.progress.seconds
                self.save()
                saved(self.model, self.progress)
        bar.close()
        return self.progress

    def _update(self, batch: Batch) -> float:
        """Take one step and return its loss in nats a token."""
        self._set_rates()
        labels = batch.labels[:, 1:].to(self._device)
        taught = labels != IGNORED
        with torch.autocast(self._device.type, torch.bfloat16):
            hidden = self.model.model(input_ids=batch.ids.to(self._device), use_cache=False).last_hidden_state
            # Only tokens with a loss go through the head. The padding is on the right, so the causal mask hides it.
            logits = self.model.lm_head(hidden[:, :-1][taught])
        loss = functional.cross_entropy(logits.float(), labels[taught])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    def _count(self, loss: float, tokens: int, seconds: float) -> None:
        before, recipe = self.progress, self._recipe
        done = (before.steps + 1) / recipe.steps
        if recipe.minutes is not None:
            done = max(done, seconds / (60 * recipe.minutes))
        self.progress = replace(
            before,
            steps=before.steps + 1,
            tokens=before.tokens + tokens,
            seconds=seconds,
            done=min(1.0, done),
            loss=loss if math.isnan(before.loss) else 0.98 * before.loss + 0.02 * loss,
        )

    def _set_rates(self) -> None:
        """Set the learning rates: a linear warm-up, a plateau, a linear fall."""
        left = min(1.0, (1 - self.progress.done) / (1 - FLAT))
        factor = min(1.0, (self.progress.steps + 1) / self._recipe.warmup) * max(FLOOR, left)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor


def _optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices: list[torch.nn.Parameter] = []
    tables: list[torch.nn.Parameter] = []
    for name, value in model.named_parameters():
        (tables if "embed" in name or "norm" in name else matrices).append(value)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=recipe.rate, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(tables, lr=recipe.table_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    for optimizer in optimizers:
        optimizer.param_groups[0]["peak"] = optimizer.param_groups[0]["lr"]
    return optimizers


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
