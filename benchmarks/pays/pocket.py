"""The pocket pair: which level of help pays on held-out problems."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from benchmarks.pays.candidates import CANDIDATES, SHOWN, recommend
from benchmarks.pays.figures import PRICES, equal_cost_share, pair_figures
from benchmarks.pocket.problems import problems
from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.evaluation import Question, Variant, alone, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from benchmarks.pays.progress import OnTurn
    from langchain_spec_thinking.evaluation import Evaluation
    from langchain_spec_thinking.evaluation.outcomes import Outcome

SMALL, LARGE = "small", "large"
_REPORTED_SEED, _CHOICE_SEED = 1, 2
_CONCURRENCY = 48
"""Number of turns that run at the same time. They share forward passes."""
_TIMED_AT_ONCE = 5
"""After how many timed questions the next run has its turn."""
_MAX_TOKENS = 600
"""Maximum number of tokens of a turn, about twice the longest good turn."""


@dataclass(frozen=True)
class Sizes:
    """How many questions each step asks.

    Attributes:
        reported: Questions of the figures.
        choice: Other questions, on which the recommended policy is chosen.
        timed: The first of the reported questions, which are asked once more, one turn at a time, for the seconds.
    """

    reported: int = 500
    choice: int = 100
    timed: int = 60


QUICK = Sizes(reported=4, choice=4, timed=2)


def pocket_pair() -> ChatSpeculativeThinking:
    """Return the pair that comes with the package. A seed makes the samples of `Agreement` repeatable."""
    return ChatSpeculativeThinking.pocket(max_tokens=_MAX_TOKENS, seed=1)


@dataclass(frozen=True)
class PocketRuns:
    """The runs of the pocket pair in a folder. Runs that are already there are not repeated.

    Attributes:
        folder: Folder for the runs.
        sizes: How many questions each step asks.
        on_turn: Called after each turn with the name of the run and 1.
        pair: Makes the pair.
    """

    folder: Path
    sizes: Sizes
    on_turn: OnTurn = lambda _name, _turns: None
    pair: Callable[[], ChatSpeculativeThinking] = pocket_pair
    _reported: set[tuple[str, str]] = field(default_factory=set, init=False, compare=False)

    def figures(self) -> dict[str, Any]:
        """Choose a policy on some questions, and return the figures of all runs on others."""
        choice = self._evaluated("choice", CANDIDATES, _CHOICE_SEED, self.sizes.choice)
        recommended = recommend(choice)
        shown = tuple(dict.fromkeys([*SHOWN, recommended]))
        reported = self._evaluated("reported", shown, _REPORTED_SEED, self.sizes.reported)
        # The runs take turns after a few questions, because other programs slow the machine down for a while.
        counts = [*range(_TIMED_AT_ONCE, self.sizes.timed, _TIMED_AT_ONCE), self.sizes.timed]
        timed = [self._evaluated("timed", shown, _REPORTED_SEED, count, concurrency=1) for count in counts][-1]
        return {**pair_figures(reported, recommended, timed), "choice": choice_figures(choice)}

    def _evaluated(
        self, part: str, names: Iterable[str], seed: int, count: int, concurrency: int = _CONCURRENCY
    ) -> Evaluation:
        found = evaluate(
            _questions(seed, count),
            self._variants(names),
            self.folder / part,
            concurrency=concurrency,
            on_outcome=lambda name, outcome: self._report(f"{part}: {name}", outcome),
        )
        return replace(found, prices=PRICES)

    def _report(self, name: str, outcome: Outcome) -> None:
        """Report a turn once: `evaluate` also reports turns that it finds in its folder."""
        if (name, outcome.question) not in self._reported:
            self._reported.add((name, outcome.question))
            self.on_turn(name, 1)

    def _variants(self, names: Iterable[str]) -> list[Variant]:
        model = self.pair()
        pairs = [Variant(name, model.model_copy(update={"policy": CANDIDATES[name]})) for name in names]
        return [alone(model, "speculative", SMALL), alone(model, "target", LARGE), *pairs]


def choice_figures(choice: Evaluation) -> dict[str, Any]:
    """Return what the choice was based on: for each run the accuracy, the cost ratio and the gain over the coin."""
    large = sum(choice.figures[choice.side("target") or ""].costs)
    runs = {}
    for name, figures in choice.figures.items():
        _, over_coin = choice.compare_with_coin(name, equal_cost_share(choice, name))
        runs[name] = {
            "accuracy": figures.accuracy.value,
            "cost_ratio": sum(figures.costs) / large,
            "vs_equal_cost_coin": over_coin.value,
        }
    return {"n": choice.count, "runs": runs}


def measure(folder: Path, on_turn: OnTurn, *, quick: bool) -> dict[str, Any]:
    """Return the figures of the pocket pair, by name."""
    return {"pocket": PocketRuns(folder, QUICK if quick else Sizes(), on_turn).figures()}


def turns(*, quick: bool) -> int:
    """Return how many turns `measure` runs, if the recommended policy is one that is always shown."""
    sizes = QUICK if quick else Sizes()
    return sizes.choice * (len(CANDIDATES) + 2) + (sizes.reported + sizes.timed) * (len(SHOWN) + 2)


def _questions(seed: int, count: int) -> list[Question]:
    chosen = islice(problems(seed, "held_out"), count)
    return [Question(f"{seed}-{number}", problem.text, str(problem.answer)) for number, problem in enumerate(chosen)]
