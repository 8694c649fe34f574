"""The runs that are compared: each model alone, the pair under two policies, and the pair under a coin."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.pocket.alone import boxed
from benchmarks.pocket.problems import Problem
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, RandomTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking import Backend

AT_ONCE = 64
"""Turns that run at the same time and share forward passes."""
MAX_TOKENS = 1400
"""Most tokens of a turn, about twice what the longest good one takes."""


@dataclass(frozen=True)
class Outcome:
    """What came of one problem.

    Attributes:
        tokens: Kept, thought and answer together, each in its author's vocabulary.
        target_tokens: How many of them the large model wrote.
    """

    right: bool
    tokens: int
    target_tokens: int


@dataclass(frozen=True)
class Result:
    """The outcomes of a run, in the order of the problems, and how long all of them took together, in seconds."""

    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def right(self) -> int:
        """How many answers are right."""
        return sum(outcome.right for outcome in self.outcomes)

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right / len(self.outcomes)

    @property
    def tokens(self) -> int:
        """Tokens kept in all turns together."""
        return sum(outcome.tokens for outcome in self.outcomes)

    @property
    def target_share(self) -> float:
        """Share of the kept tokens that the large model wrote."""
        return sum(outcome.target_tokens for outcome in self.outcomes) / max(1, self.tokens)


Solver = Callable[[int, Problem], Outcome]
"""Solves the problem of a number."""


def pair(small: Backend, large: Backend, policy: Callable[[int], DelegationPolicy]) -> Solver:
    """Both models; `policy` gives the policy for the problem of a number."""

    def solve(number: int, problem: Problem) -> Outcome:
        model = ChatSpeculativeThinking(
            speculative=small, target=large, policy=policy(number), temperature=0, max_tokens=MAX_TOKENS
        )
        message = model.invoke(problem.text)
        segments = message.response_metadata["speculative_thinking"]["segments"]
        by_target = sum(segment["tokens"] for segment in segments if segment["author"] == "target")
        right = boxed(message.text) == problem.answer
        return Outcome(right, sum(segment["tokens"] for segment in segments), by_target)

    return solve


def alone(backend: Backend) -> Solver:
    """One model by itself: a pair whose coin never falls."""
    return pair(backend, backend, coin(0))


def coin(probability: float) -> Callable[[int], DelegationPolicy]:
    """The takeovers of the default policy, but at random boundaries instead of at cues."""
    return lambda number: DelegationPolicy(trigger=RandomTrigger(probability, seed=number))


def run(solve: Solver, problems: Sequence[Problem], done: Callable[[], None]) -> Result:
    """Solve problems, many at a time; `done` is called after each."""

    def one(numbered: tuple[int, Problem]) -> Outcome:
        outcome = solve(*numbered)
        done()
        return outcome

    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = tuple(pool.map(one, enumerate(problems)))
    return Result(outcomes, time.monotonic() - began)


def matched(share_at: Callable[[float], float], share: float, *, rounds: int = 3, close: float = 0.01) -> float:
    """Probability at which a coin gives the large model about this share of the tokens.

    Args:
        share_at: Measures the share at a probability; it grows nearly in proportion.
        share: What is wanted.
        rounds: Most measurements.
        close: Stop where the measured share is this near.
    """
    probability = min(1.0, 2 * share)
    for _ in range(rounds):
        found = share_at(probability)
        if abs(found - share) <= close:
            break
        probability = min(1.0, probability * share / max(found, close))
    return probability
