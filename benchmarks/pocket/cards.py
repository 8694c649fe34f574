"""Model cards of the pair, filled in with the figures of their training and measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.pocket.batches import SCORE_SHARE
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
(arXiv:2504.12329). It solves made-up grade-school word problems of one to eight steps and knows nothing else.

| | |
|---|---|
| Architecture | `LlamaForCausalLM`, {layers} layers of width {width}, {heads} heads, tied embeddings |
| Parameters | {parameters:,} |
| Tokenizer | {tokenizer} |
| Context | {context} positions; trained on up to about 500 tokens |
| Weights | bfloat16 |
| Training | {steps:,} steps, {tokens:,} tokens, {minutes:.0f} minutes on {device} |
| Optimizer | Muon and AdamW, seed {seed}; a short warm-up, a constant rate, then a linear fall to 1% of it |
| Final training loss | {loss:.4f} nats a token (smoothed) |
| Greedy accuracy, {total} held-out problems | {accuracy:.1%} (95% Wilson interval {low:.1%} to {high:.1%}) |
| Mean output | {mean:.0f} tokens |

## Data

`benchmarks/pocket/problems.py` makes the problems: one to eight steps, sums and differences up to {largest}, tables,
shares, prices, rates and comparisons. One problem in five contains a sentence that does not matter. The difficulty of a
problem is known: one point for each step, for each sum that carries or borrows, and for each sentence that does not
matter.

`benchmarks/pocket/traces.py` writes the thoughts. Each paragraph is a step. A check ("Wait, ...", "Hold on, ...",
"Yes, ...") follows every sum that carries or borrows. Problems of four steps and more end with a recap ("Let me
verify: ..."). About one step in eight contains an error: a wrong result, a misread number, a wrong operation, or a
sentence that was passed over. A check or the recap corrects it. Steps with an error have no loss, so the model does not
learn to write errors, but it learns to correct them.

{carries}

{drills}

{scores:.0%} of the examples with a problem ask for a score of the last step, in the words of `ScoreAndAccept`: 9 if the
step is right, 0 if it contains an error.

The problems that the accuracy was measured on are longer on average than those of the training (`QUESTIONS` and
`TRAINING`), so that some are easy for the small model of the pair and some are beyond it.

Every training problem is new. `split` sends a problem to training or to the held-out side by a hash of the sequence
of its numbers, so a held-out problem shares neither text nor number skeleton with training.

## Limits

- Only these stories, numbers from 2 to {largest}, four operations. Anything else gives fluent nonsense.
- English only; other text is read byte by byte and not understood.
- Multi-turn history and system messages are tolerated, not used.
- A score judges the last step only: whether it agrees with the story, and whether its result is right. The scores of
  the large model are hardly useful: of the small model's steps, `ScoreAndAccept` rejects 99% of the wrong ones and 78%
  of the right ones (`python -m benchmarks.pocket.doubt`).

## Train again

    python -m benchmarks.pocket.train --out DIR --only {name}
"""


ALL = "The stories contain every kind of sum."
FEW = """\
The stories are of the same kind as those of the large model, but few sums carry or borrow: the generator kept such a
sum with a chance of {share:.0%}, and otherwise drew something else. So this model is weak at such sums. It writes its
checks at the same places as the large model."""
DRILLS = """\
{share:.0%} of the examples are drills: two dozen bare sums ("24 + 17 = 41, ..."). Only their results have a loss
(`benchmarks/pocket/drills.py`)."""
NO_DRILLS = "This model had no drills in bare sums. The large model had some."


def card(recipe: Recipe, model: LlamaForCausalLM, progress: Progress, score: Score) -> str:
    """Return the model card of one checkpoint."""
    return CARD.format(
        name=recipe.name,
        role="The small model" if recipe.name == "pocket-small" else "The large model",
        layers=recipe.layers,
        width=recipe.hidden_size,
        heads=recipe.heads,
        parameters=model.num_parameters(),
        tokenizer=f"byte-pair encoding, {model.config.vocab_size} tokens, single digits",
        context=model.config.max_position_embeddings,
        steps=progress.steps,
        tokens=progress.tokens,
        minutes=progress.seconds / 60,
        device=progress.device,
        seed=recipe.seed,
        largest=LARGEST,
        scores=SCORE_SHARE,
        carries=ALL if recipe.level.carries == 1 else FEW.format(share=recipe.level.carries),
        drills=DRILLS.format(share=recipe.drills) if recipe.drills else NO_DRILLS,
        loss=progress.loss,
        total=score.total,
        accuracy=score.accuracy.value,
        low=score.accuracy.low,
        high=score.accuracy.high,
        mean=score.mean_tokens,
    )
