"""The policies that are compared on the pocket pair, and the rule that recommends one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.pays.figures import equal_cost_share
from langchain_spec_thinking import (
    Agreement,
    CueTrigger,
    DelegationPolicy,
    EscalateIfAny,
    FirstTokenEntropy,
    Lexicon,
    Stall,
)

if TYPE_CHECKING:
    from langchain_spec_thinking.evaluation import Evaluation

_CHECKS = Lexicon(reflection=("wait", "hold on"), verification=())
"""Only the checks of single steps call the large model."""
_RECAP = Lexicon(affirmation=(), reflection=("verify", "recap"), verification=("verify", "recap"))
"""Only the recap at the end of a long thought calls the large model."""
_SHORT_RECAP = Lexicon(affirmation=(), reflection=("verify", "recap"), verification=())
"""The same. The large model writes its first 20 tokens, as after other cues."""

CANDIDATES: dict[str, DelegationPolicy] = {
    # The large model for a step.
    "pair": DelegationPolicy(),
    "pair, 10 tokens": DelegationPolicy(takeover_tokens=10),
    "pair, whole step": DelegationPolicy(takeover_tokens=None),
    "checks": DelegationPolicy(trigger=CueTrigger(_CHECKS)),
    "recap": DelegationPolicy(trigger=CueTrigger(_RECAP)),
    "recap, whole step": DelegationPolicy(trigger=CueTrigger(_RECAP), takeover_tokens=None),
    "recap, 20 tokens": DelegationPolicy(trigger=CueTrigger(_SHORT_RECAP)),
    # The large model for the rest of the thought.
    "cue, rest": DelegationPolicy(takeover_tokens="rest"),
    "recap, rest": DelegationPolicy(trigger=CueTrigger(_RECAP), takeover_tokens="rest"),
    **{
        f"entropy {threshold}, rest": DelegationPolicy(trigger=FirstTokenEntropy(threshold), takeover_tokens="rest")
        for threshold in (0.8, 0.9, 1.0, 1.2)
    },
    # The large model for the question.
    "agreement of 2": DelegationPolicy.gated(),
    "agreement of 3": DelegationPolicy.gated(escalation=Agreement(3)),
    "agreement of 4": DelegationPolicy.gated(escalation=Agreement(4)),
    "stall": DelegationPolicy.gated(escalation=Stall()),
    "stall or agreement of 3": DelegationPolicy.gated(escalation=EscalateIfAny(Stall(), Agreement(3))),
    # Both: takeovers, and the large model for the question if the answers differ.
    "entropy 1.2, rest, agreement of 2": DelegationPolicy(
        trigger=FirstTokenEntropy(1.2), takeover_tokens="rest", escalation=Agreement()
    ),
}
SHOWN = ("pair", "cue, rest", "entropy 0.9, rest", "agreement of 2", "agreement of 3", "agreement of 4")
"""The candidates that always answer all questions, besides the recommended one."""
COST_MAX = 0.5
"""The maximum cost of a recommended policy, as a share of the cost of the large model alone."""
LOSS_MAX = 0.03
"""How far a recommended policy may be below the large model alone, as a share of all questions."""


def recommend(evaluation: Evaluation) -> str:
    """Return the candidate that is furthest above the coin of its cost, on questions that only serve this choice.

    Candidates that cost more than `COST_MAX`, or that lose more than `LOSS_MAX`, are recommended only if there is no
    other one.
    """

    def worth(name: str) -> tuple[bool, float]:
        figures, large = evaluation.figures[name], evaluation.figures[evaluation.side("target") or ""]
        good = figures.accuracy.value >= large.accuracy.value - LOSS_MAX
        cheap = sum(figures.costs) <= COST_MAX * sum(large.costs)
        _, over_coin = evaluation.compare_with_coin(name, equal_cost_share(evaluation, name))
        return good and cheap, over_coin.value

    return max(evaluation.pairs, key=worth)
