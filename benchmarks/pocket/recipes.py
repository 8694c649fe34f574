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
        steps: Optimizer steps.
        tokens: Tokens of a batch, padding included.
        drills: Share of the examples that are bare sums.
        rate: Peak learning rate of the matrices (Muon, matched to AdamW's scale).
        table_rate: Peak learning rate of embeddings and norms (AdamW).
        warmup: Steps until the peak rate.
        minutes: Where the steps do not fit this much wall clock, the schedule is shortened to end in time.
    """

    name: Name
    vocabulary: Kind
    width: int
    layers: int
    heads: int
    hidden: int
    steps: int
    tokens: int
    drills: float
    rate: float = 6e-3
    table_rate: float = 3e-3
    warmup: int = 40
    seed: int = 0
    minutes: float | None = None


# The steps are those of the models that ship, which took them in several rounds (`--further`).
RECIPES: dict[Name, Recipe] = {
    "pocket-small": Recipe("pocket-small", "characters", 160, 3, 5, 432, steps=2800, tokens=4096, drills=0.35),
    "pocket-large": Recipe("pocket-large", "bpe", 256, 5, 4, 688, steps=4100, tokens=4096, drills=0.1),
}


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
