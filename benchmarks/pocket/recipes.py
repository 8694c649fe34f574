"""Shapes, tokenizers and training lengths of the two models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.pocket.problems import FEW_CARRIES, TRAINING, Level
from benchmarks.pocket.vocabularies import CONTEXT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from benchmarks.pocket.vocabularies import Kind

Name = Literal["pocket-small", "pocket-large"]


@dataclass(frozen=True)
class Recipe:
    """One model of the pair.

    Attributes:
        hidden_size: Width of the residual stream.
        layers: Number of layers.
        heads: Attention heads of a layer.
        intermediate_size: Width of the feed-forward network.
        steps: Optimizer steps.
        tokens: Tokens of a step, padding included.
        pool: Examples that are drawn at a time and sorted by length.
        drills: Share of the examples that are bare sums.
        level: Of the problems it learns from.
        rate: Peak learning rate of the matrices (Muon, matched to AdamW's scale).
        table_rate: Peak learning rate of embeddings and norms (AdamW).
        warmup: Steps until the peak rate.
        minutes: Wall clock in minutes. If the steps take longer, the schedule is shortened to end in time.
    """

    name: Name
    vocabulary: Kind
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    steps: int
    tokens: int
    drills: float
    level: Level = TRAINING
    rate: float = 6e-3
    table_rate: float = 3e-3
    warmup: int = 40
    seed: int = 0
    minutes: float | None = None
    pool: int = 4096


RECIPES: dict[Name, Recipe] = {
    "pocket-small": Recipe(
        "pocket-small", "small", 128, 2, 4, 344, steps=2889, tokens=8192, drills=0.0, level=FEW_CARRIES
    ),
    "pocket-large": Recipe("pocket-large", "large", 160, 16, 5, 320, steps=1760, tokens=65536, drills=0.08),
}


def blank(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return the model of a recipe with random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)
