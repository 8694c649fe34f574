"""What the turns of a tuning cost, and the limit of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.evaluation.halving import planned_turns, slices
from langchain_spec_thinking.evaluation.outcomes import Outcome
from langchain_spec_thinking.evaluation.runs import RUNS
from langchain_spec_thinking.jsonl import read_lines
from langchain_spec_thinking.price import Price
from langchain_spec_thinking.report import AuthorUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from langchain_spec_thinking.chat_models import ChatSpeculativeThinking
    from langchain_spec_thinking.evaluation.questions import Question
    from langchain_spec_thinking.turn import Author

LARGE_TOKENS: dict[Author, Price] = {"speculative": Price(0, 0), "target": Price(0, 1_000_000)}
"""Prices that make the cost of a turn the number of tokens that the large model wrote for it."""


class Spending:
    """Counts what turns cost. A `Meter` of `evaluate`.

    Turns that are already in the folder count too, also those that ended in an error.

    A turn may begin only if the turns that run and one more could each cost as much as the dearest turn so far. If it
    may not, it may begin later, because most of the running turns cost less. The first turn must run alone. More than
    the limit is spent only if a turn is dearer than all turns before it.

    Args:
        folder: Folder with the runs.
        prices: Prices of both models.
        limit: The limit, in the currency of the prices. None: no limit.

    Attributes:
        prices: Prices of both models.
        limit: The limit.
        spent: What all turns cost so far.
        dearest: What the dearest turn cost so far.
    """

    def __init__(self, folder: Path, prices: Mapping[Author, Price], limit: float | None = None) -> None:
        self.limit = limit
        self.spent = 0.0
        self.prices = prices
        self.dearest = 0.0
        self._running = 0
        self._answered: set[tuple[str, str]] = set()
        if (folder / RUNS).exists():
            for _, line in read_lines(folder / RUNS, allow_incomplete_last_line=True):
                self._count(line["variant"], Outcome.of_line(line))

    @property
    def unit(self) -> str:
        """What follows an amount in a sentence: nothing after money, whose currency is not known."""
        return " tokens of the large model" if self.prices == LARGE_TOKENS else ""

    @property
    def left(self) -> float:
        """What is left of the limit."""
        return float("inf") if self.limit is None else self.limit - self.spent

    @property
    def reached(self) -> str:
        """Why no further turn may begin, as a clause."""
        return (
            f"of max_spend={self.limit:.4g}{self.unit}, {self.spent:.4g} are spent, and a further turn may cost "
            f"{self.dearest:.4g}"
        )

    def cost(self, outcome: Outcome) -> float:
        """Return what a turn cost."""
        return sum(price.of(outcome.usage[side]) for side, price in self.prices.items())

    def begin(self) -> bool:
        """Return whether a turn may begin now."""
        if self.limit is None:
            return True
        if self.left <= 0 or self.left < (self._running + 1) * self.dearest:
            return False
        self._running += 1
        return True

    def end(self, variant: str, outcome: Outcome) -> None:
        """Count a turn that ended."""
        self._running = max(0, self._running - 1)
        self._count(variant, outcome)

    def open_turns(self, names: Iterable[str], questions: Sequence[Question]) -> int:
        """Return how many turns of some variants are not answered yet."""
        return sum((name, question.id) not in self._answered for name in names for question in questions)

    def _count(self, variant: str, outcome: Outcome) -> None:
        cost = self.cost(outcome)
        self.spent += cost
        self.dearest = max(cost, self.dearest)
        if outcome.error is None:
            self._answered.add((variant, outcome.question))


def announcement(
    model: ChatSpeculativeThinking,
    spending: Spending,
    parts: tuple[Sequence[Question], Sequence[Question]],
    candidates: int,
) -> Iterator[str]:
    """Say before the first turn how many turns there will be, and what they can cost.

    Args:
        model: The pair.
        spending: Prices, limit, and what earlier turns cost.
        parts: The questions of the choosing part and of the reporting part.
        candidates: Number of policies that will be tried.
    """
    choosing, reporting = parts
    alone, compared = len(choosing) + len(reporting), planned_turns(candidates, len(choosing))
    yield (
        f"Both models answer {alone} questions alone. {candidates} policies are compared on "
        f"{', '.join(map(str, slices(len(choosing))))} questions, each time the better half: about {compared} turns. "
        f"The best one answers {len(reporting)} other questions."
    )
    if spending.spent:
        yield f"Earlier turns in this folder cost {spending.spent:.4g}{spending.unit}."
    if model.max_tokens is None:
        yield "max_tokens is not set, so the cost is not known before the first answers."
    else:
        most = _most(model, spending.prices, [*choosing, *reporting]) * (1 + (compared + len(reporting)) / alone)
        yield (
            f"If each of these turns took {model.max_tokens} tokens of both models, all would cost {most:.4g}"
            f"{spending.unit}. Texts that the large model reads again come on top."
        )
    if spending.limit is not None:
        yield f"Not more than {spending.limit:.4g}{spending.unit} is spent."


def _most(model: ChatSpeculativeThinking, prices: Mapping[Author, Price], questions: Sequence[Question]) -> float:
    """Return what the longest answers of both models to all questions would cost."""
    total = 0.0
    for side, price in prices.items():
        backend = model.speculative if side == "speculative" else model.target
        read = sum(backend.count_tokens(question.question) for question in questions)
        total += price.of(AuthorUsage(0, read, 0, len(questions) * (model.max_tokens or 0)))
    return total
