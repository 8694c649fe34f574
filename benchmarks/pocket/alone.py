"""Measure one model alone: batched greedy decoding of held-out problems."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm  # type: ignore[import-untyped]
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.pocket.batches import prompt
from benchmarks.pocket.problems import problems
from langchain_spec_thinking.evaluation.statistics import Interval, wilson
from langchain_spec_thinking.pocket import boxed

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.pocket.problems import Problem

BATCH = 125
"""Problems decoded at a time."""
LIMIT = 500
"""Most new tokens of an output."""


@dataclass(frozen=True)
class Score:
    """Greedy accuracy on held-out problems, with every output for reading."""

    right: int
    total: int
    mean_tokens: float
    outputs: tuple[str, ...]

    @property
    def accuracy(self) -> Interval:
        """Share of right answers."""
        return wilson(self.right, self.total)


def load(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Load a checkpoint for measurements, on a GPU if there is one."""
    # The stored weights are bfloat16, but float32 arithmetic gives the same figures on every machine.
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.train(mode=False)
    if torch.cuda.is_available():
        model.cuda()  # type: ignore[call-arg]
    return model, PreTrainedTokenizerFast.from_pretrained(folder)


def asked(tokenizer: PreTrainedTokenizerFast, problem: Problem) -> str:
    """Return the text that a model continues with its thought about a problem."""
    return str(tokenizer.apply_chat_template(prompt(problem), add_generation_prompt=True, tokenize=False))


@torch.inference_mode()
def evaluate(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    count: int = 500,
    seed: int = 0,
) -> Score:
    """Return the greedy accuracy on the first `count` held-out problems of a seed.

    Args:
        model: In evaluation mode, on any device.
        tokenizer: Tokenizer of the model. It pads on the left.
        count: Number of problems.
        seed: Seed of the problems.
    """
    chosen = list(islice(problems(seed, "held_out"), count))
    prompts = [asked(tokenizer, problem) for problem in chosen]
    order = sorted(range(count), key=lambda index: len(prompts[index]))
    outputs, tokens = [""] * count, 0
    for start in tqdm(range(0, count, BATCH), desc="held-out", unit="batch"):
        rows = order[start : start + BATCH]
        encoded = tokenizer([prompts[row] for row in rows], return_tensors="pt", padding=True).to(model.device)
        ids = model.generate(**encoded, do_sample=False, max_new_tokens=LIMIT, pad_token_id=tokenizer.pad_token_id)
        written = ids[:, encoded["input_ids"].shape[1] :]
        tokens += int((written != tokenizer.pad_token_id).sum())
        for row, text in zip(rows, tokenizer.batch_decode(written, skip_special_tokens=True), strict=True):
            outputs[row] = text
    right = sum(boxed(output) == problem.answer for output, problem in zip(outputs, chosen, strict=True))
    return Score(right, count, tokens / count, tuple(outputs))
