"""Model cards of the pair, filled in with the figures of their training and measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.pocket.problems import LARGEST

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from benchmarks.pocket.alone import Score
    from benchmarks.pocket.learning import Progress
    from benchmarks.pocket.recipes import Recipe

CARD = """\
---
license: mit
language: en
library_name: transformers
pipeline_tag: text-generation
---

# {name}

{role} of the pocket pair, which ships with `langchain-spec-thinking` for demos and tests of Speculative Thinking
(arXiv:2504.12329). It solves made-up grade-school word problems of two to four steps and knows nothing else.

| | |
|---|---|
| Architecture | `LlamaForCausalLM`, {layers} layers of width {width}, {heads} heads, tied embeddings |
| Parameters | {parameters:,} |
| Tokenizer | {tokenizer} |
| Context | {context} positions; trained on up to about {seen} |
| Weights | bfloat16 |
| Training | {steps:,} steps, {tokens:,} tokens, {minutes:.0f} minutes on {device}, in {rounds} |
| Optimizer | Muon and AdamW, cosine schedule, seed {seed} |
| Final training loss | {loss:.4f} nats a token (smoothed) |
| Greedy accuracy, {total} held-out problems | {accuracy:.1%} (95% Wilson interval {low:.1%} to {high:.1%}) |
| Mean output | {mean:.0f} tokens |

## Data

`benchmarks/pocket/problems.py` makes the problems, and `benchmarks/pocket/traces.py` makes the solutions. Blank lines
separate the steps of a solution. Checks ("Wait, ...", "Hold on, ...", "Yes, ...") follow the harder steps, and a recap
("Let me verify: ...") comes before the thinking closes. About one step in six contains an error (a wrong result, a
misread number, a wrong operation), and a check or the recap corrects it. Steps with an error have no loss. So neither
model learns to write a wrong number, but both learn to correct one. Both models see the same kind of data. The small
one is worse because it is small{briefly}.

{drills:.0%} of the examples are drills: two dozen bare sums ("24 + 17 = 41, ..."). Only their results have
a loss (`benchmarks/pocket/drills.py`).

Every training problem is new. `split` sends a problem to training or to the held-out side by a hash of the sequence
of its numbers, so a held-out problem shares neither text nor number skeleton with training.

## Limits

- Only these stories, numbers up to {largest}, four operations. Anything else gives fluent nonsense.
- English only; other text is read byte by byte and not understood.
- Multi-turn history and system messages are tolerated, not used.

## Train again

    python -m benchmarks.pocket.train --out DIR --only {name}
"""


def card(recipe: Recipe, model: LlamaForCausalLM, progress: Progress, score: Score) -> str:
    """Return the model card of one checkpoint."""
    small = recipe.name == "pocket-small"
    return CARD.format(
        name=recipe.name,
        role="The small model" if small else "The large model",
        layers=recipe.layers,
        width=recipe.width,
        heads=recipe.heads,
        parameters=model.num_parameters(),
        tokenizer="one token per character (UTF-8 byte)"
        if small
        else f"byte-pair encoding, {model.config.vocab_size} tokens, single digits",
        context=model.config.max_position_embeddings,
        seen=1000 if small else 400,
        rounds="one round" if progress.rounds == 1 else f"{progress.rounds} rounds",
        steps=progress.steps,
        tokens=progress.tokens,
        minutes=progress.seconds / 60,
        device="a CPU" if progress.device == "cpu" else "an accelerator",
        seed=recipe.seed,
        largest=LARGEST,
        drills=recipe.drills,
        loss=progress.loss,
        total=score.total,
        accuracy=score.accuracy.value,
        low=score.accuracy.low,
        high=score.accuracy.high,
        mean=score.mean_tokens,
        briefly=" and reads characters" if small else "",
    )
