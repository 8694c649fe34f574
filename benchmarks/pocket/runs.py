"""Runs to compare: each model alone, the pair under two policies, and the pair with a random trigger.

Within a process, turns that run at the same time share forward passes. Two processes keep two cores busy.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from transformers.utils import logging

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, RandomTrigger, pocket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor
    from multiprocessing.sharedctypes import Synchronized

    from benchmarks.pocket.problems import Problem

Model = Literal["small", "large"]

CONCURRENCY = 48
"""Number of turns that run at the same time in a process."""
MAX_TOKENS = 1400
"""Maximum number of tokens of a turn, about twice the longest good turn."""
_PROGRESS_EVERY = 0.2
_LOADERS = {"small": pocket.speculative, "large": pocket.target}


@dataclass(frozen=True)
class Outcome:
    """The outcome of one problem.

    Attributes:
        right: Whether the answer is right.
        tokens: Number of kept tokens of thought and answer together, each in its author's own vocabulary.
        target_tokens: Number of these tokens that the target wrote.
    """

    right: bool
    tokens: int
    target_tokens: int


@dataclass(frozen=True)
class Result:
    """The outcomes of a run in the order of the problems, and the duration of the whole run in seconds."""

    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def is_right(self) -> list[bool]:
        """Whether each answer is right."""
        return [outcome.right for outcome in self.outcomes]

    @property
    def right(self) -> int:
        """Number of right answers."""
        return sum(self.is_right)

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right / len(self.outcomes)

    @property
    def tokens(self) -> int:
        """Number of kept tokens of all turns together."""
        return sum(outcome.tokens for outcome in self.outcomes)

    @property
    def target_share(self) -> float:
        """Share of the kept tokens that the target wrote."""
        return sum(outcome.target_tokens for outcome in self.outcomes) / max(1, self.tokens)


def random_takeovers(probability: float) -> DelegationPolicy:
    """Return the default policy with takeovers at random boundaries instead of at cues."""
    return DelegationPolicy(trigger=RandomTrigger(probability))


@dataclass(frozen=True)
class Pair:
    """The two models and the policy. For one model alone, both sides use it and there are no takeovers."""

    speculative: Model = "small"
    target: Model = "large"
    policy: DelegationPolicy = field(default_factory=DelegationPolicy)

    @classmethod
    def alone(cls, model: Model) -> Pair:
        """Return one model alone, without takeovers."""
        return cls(model, model, random_takeovers(0))

    def solve(self, number: int, problem: Problem) -> Outcome:
        """Solve a problem. Its number is the seed of a random trigger, so that each problem has other takeovers."""
        policy = self.policy
        if isinstance(policy.trigger, RandomTrigger):
            policy = replace(policy, trigger=replace(policy.trigger, seed=number))
        model = ChatSpeculativeThinking(
            speculative=_LOADERS[self.speculative](),
            target=_LOADERS[self.target](),
            policy=policy,
            temperature=0,
            max_tokens=MAX_TOKENS,
        )
        message = model.invoke(problem.text)
        segments = message.response_metadata["speculative_thinking"]["segments"]
        by_target = sum(segment["tokens"] for segment in segments if segment["author"] == "target")
        right = pocket.boxed(message.text) == problem.answer
        return Outcome(right, sum(segment["tokens"] for segment in segments), by_target)


class Workers:
    """Processes that solve problems. Each uses one core and solves many problems at a time.

    Args:
        count: Number of processes. Each takes about half a gigabyte of memory.
        pool: Makes another executor instead of processes. It is given the initializer of each worker.
    """

    def __init__(self, count: int, pool: Callable[[Callable[[], None]], Executor] | None = None) -> None:
        self._count = count
        # Spawn, because a forked child would inherit the state of torch's threads but not the threads.
        context = multiprocessing.get_context("spawn")
        self._solved: Synchronized[int] = context.Value("i", 0)
        begin = partial(_begin, self._solved)
        self._pool = pool(begin) if pool else ProcessPoolExecutor(count, context, begin)

    def run(self, pair: Pair, problems: Sequence[Problem], progress: Callable[[int], Any]) -> Result:
        """Solve problems. Call `progress` with the number of problems solved so far."""
        numbered = list(enumerate(problems))
        self._solved.value = 0
        shares = [self._pool.submit(_solve, pair, numbered[worker :: self._count]) for worker in range(self._count)]
        while wait(shares, _PROGRESS_EVERY).not_done:
            progress(self._solved.value)
        progress(len(problems))
        solved = [share.result() for share in shares]
        outcomes = tuple(solved[number % self._count][0][number // self._count] for number, _ in numbered)
        return Result(outcomes, max(seconds for _, seconds in solved))

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)


_counter: Synchronized[int] | None = None


def _begin(counter: Synchronized[int]) -> None:
    """Set up a process. Load both models."""
    global _counter  # noqa: PLW0603 - each process has one counter
    _counter = counter
    logging.disable_progress_bar()  # the run has its own
    torch.set_num_threads(1)
    for load in _LOADERS.values():
        load()


def _solve(pair: Pair, numbered: Sequence[tuple[int, Problem]]) -> tuple[list[Outcome], float]:
    """Solve problems in this process. Return the outcomes and the duration in seconds."""

    def one(problem: tuple[int, Problem]) -> Outcome:
        outcome = pair.solve(*problem)
        if _counter is not None:
            with _counter.get_lock():
                _counter.value += 1
        return outcome

    began = time.monotonic()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        return list(pool.map(one, numbered)), time.monotonic() - began
