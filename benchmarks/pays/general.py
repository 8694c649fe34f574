"""The general pair: Qwen2.5-Coder 0.5B and 1.5B on questions of many kinds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from benchmarks.pays.figures import pair_figures
from benchmarks.pays.llama_servers import MODELS, SLOTS, llama_pair, missing_files, run_with_servers
from benchmarks.pays.questions import general_questions
from langchain_spec_thinking import Confidence, DelegationPolicy
from langchain_spec_thinking.evaluation import Variant, alone, evaluate
from langchain_spec_thinking.price import Price

__all__ = ["CHOOSING", "POLICIES", "REPORTED", "measure", "missing_files", "run_general", "turns"]

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.pays.progress import OnTurn
    from langchain_spec_thinking import ChatSpeculativeThinking
    from langchain_spec_thinking.evaluation.questions import Question
    from langchain_spec_thinking.turn import Author

PRICES: Final[dict[Author, Price]] = {"speculative": Price(0, 0, 0), "target": Price(1, 4, 0.1)}
"""Prices per million tokens of prompt, completion and cached prompt: the small model runs on one's own machine."""
CHOOSING, REPORTED = (2, 11), (4, 12)
"""How many questions of each kind and level, and their seed. The first ones are for choosing a rule."""
_QUICK: Final = 4
"""Number of questions that show whether the code runs."""
POLICIES: Final = {
    "lowest -1.2": DelegationPolicy.gated(escalation=Confidence(-1.2, measure="lowest")),
}
RECOMMENDED: Final = "lowest -1.2"
"""The rule that was furthest above the coin of its cost on the questions for choosing, of those in docs/results.md."""


def measure(folder: Path, on_turn: OnTurn, *, quick: bool) -> dict[str, Any]:
    """Serve both models, and return the figures of the pair, by name."""
    with llama_pair(MODELS, folder) as pair:
        return {"general": run_general(pair, folder, on_turn, quick=quick)}


def turns(*, quick: bool) -> int:
    """Return how many turns `measure` runs."""
    return len(_reported(quick=quick)) * (2 + len(POLICIES))


def run_general(
    pair: ChatSpeculativeThinking, folder: Path, on_turn: OnTurn = lambda _name, _turns: None, *, quick: bool = False
) -> dict[str, Any]:
    """Compare rules of escalation with both models, and return the figures for `build/pays.json`.

    Turns that are finished in `folder` are not repeated.
    """
    variants = [alone(pair, "speculative", "small"), alone(pair, "target", "large")]
    variants += [Variant(name, pair.model_copy(update={"policy": policy})) for name, policy in POLICIES.items()]
    found = evaluate(
        _reported(quick=quick),
        variants,
        folder,
        check="benchmarks.pays.answers:is_right",
        concurrency=SLOTS,
        on_outcome=lambda name, _: on_turn(name, 1),
    )
    figures = pair_figures(replace(found, prices=PRICES), RECOMMENDED)
    # Eight turns share the cores, so their seconds say nothing about a turn.
    runs = {name: {**run, "seconds": None} for name, run in figures["runs"].items()}
    return {**figures, "seconds_n": 0, "runs": runs}


def _reported(*, quick: bool) -> list[Question]:
    questions = general_questions(*REPORTED, general_questions(*CHOOSING))
    return questions[:_QUICK] if quick else questions


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    run_with_servers(run_general, "general", __doc__, arguments)


if __name__ == "__main__":
    main()
