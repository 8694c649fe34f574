"""What the two models are: their shapes, their tokenizers, and how long they learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.pocket.vocabularies import CONTEXT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from benchmarks.pocket.vocabularies import Kind

Name = Literal["pocket-small", "pocket-large"]


@dataclass(frozen=True)
class Recipe:
    """One model of the pair.

    Attributes:
        width: Size of the residual stream.
        budget: Tokens to learn from, padding included.
        first_batch: Tokens of a batch at the beginning, where many small steps teach more than few good ones.
        last_batch: Tokens of a batch at the end; in between it grows evenly on a logarithmic scale.
        drills: Share of the examples that are bare sums.
        rate: Peak learning rate of the matrices (Muon, matched to AdamW's scale).
        table_rate: Peak learning rate of embeddings and norms (AdamW).
        warmup: Steps until the peak rate.
        minutes: Where the budget does not fit this much wall clock, the schedule is shortened to end in time.
    """

    name: Name
    vocabulary: Kind
    width: int
    layers: int
    heads: int
    hidden: int
    budget: int
    drills: float
    first_batch: int = 1536
    last_batch: int = 4096
    rate: float = 8e-3
    table_rate: float = 3e-3
    warmup: int = 40
    seed: int = 0
    minutes: float | None = None


RECIPES: dict[Name, Recipe] = {
    "pocket-small": Recipe("pocket-small", "characters", 128, 3, 4, 344, budget=10_000_000, drills=0.3),
    "pocket-large": Recipe("pocket-large", "bpe", 256, 5, 4, 688, budget=24_000_000, drills=0.1),
}


def batch_size(recipe: Recipe, done: float) -> int:
    """Tokens of a batch when a share `done` of the schedule is over."""
    growth: float = (recipe.last_batch / recipe.first_batch) ** done
    return round(recipe.first_batch * growth)


def blank(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The model of a recipe with random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("eager")  # for sequences this short it learns a third faster on a CPU than sdpa
    return model
