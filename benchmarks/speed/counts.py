"""`prefill_excess_tokens_per_handover` and `wasted_draft_share`: figures that are counted, not timed."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from benchmarks.pocket.problems import problems
from benchmarks.speed.figures import Figure
from benchmarks.speed.pairs import Pair
from benchmarks.speed.recording import Recording
from langchain_spec_thinking import DelegationPolicy

if TYPE_CHECKING:
    from tqdm import tqdm  # type: ignore[import-untyped]

_TURNS = 40
_MAX_TOKENS = 1000
_SEED = 11


def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Count over held-out problems of the pocket pair."""
    bar.set_postfix_str("pocket")
    return count(Pair.pocket(), 2 if quick else _TURNS, bar)


def count(pair: Pair, turns: int, bar: tqdm[None]) -> dict[str, Figure]:
    """Count over held-out problems of a pair, with the default policy."""
    excess: list[float] = []
    wasted: list[float] = []
    hand_overs, most, dropped, drafted = 0, 0, 0, 0
    for problem in islice(problems(_SEED, "held_out"), turns):
        chat = pair.chat(max_tokens=_MAX_TOKENS, policy=DelegationPolicy())
        turn = Recording.of(chat, pair.models, problem.text)
        usage = turn.usage["speculative"]
        if turn.read_again:
            excess.append(sum(turn.read_again) / len(turn.read_again))
        wasted.append(usage.discarded_tokens / usage.completion_tokens)
        hand_overs += len(turn.read_again)
        most = max([most, *turn.read_again])
        dropped += usage.discarded_tokens
        drafted += usage.completion_tokens
        bar.update()
    return {
        "prefill_excess_tokens_per_handover": Figure.of(
            excess, unit="tokens", target="<= 2", most=most, hand_overs=hand_overs
        ),
        "wasted_draft_share": Figure.of(
            wasted, unit="share", overall=dropped / drafted, dropped=dropped, drafted=drafted
        ),
    }
