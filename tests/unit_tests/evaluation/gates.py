"""Pairs with a known best policy. The small model writes no cue and no blank line, so takeovers never help."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.evaluation import Question
from langchain_spec_thinking.testing import ScriptedBackend, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_spec_thinking.turn import Turn

LONG = "I add the numbers with care " * 20
"""The thought of the large model. It is longer than an opening."""


def questions(count: int = 40) -> list[Question]:
    """Return sums. Those of odd numbers are hard."""
    return [Question(f"q{n}", f"What is {n} + 1000?", str(n + 1000)) for n in range(count)]


def _total(turn: Turn) -> int:
    return sum(map(int, re.findall(r"\d+", turn.history[-1].content)))


def reply(total: int, thought: str = "I add.") -> str:
    return f"{thought}\n</think>\n\nThe answer is \\boxed{{{total}}}."


class Large(ScriptedBackend):
    """A large model that is always right."""

    def __init__(self) -> None:
        super().__init__(lambda turn: reply(_total(turn), LONG), name="large", thinks=True)

    @property
    def tokens(self) -> int:
        """How many tokens it has written. Every request gets the whole reply."""
        return len(self.requests) * len(words(reply(1000, LONG)))


def unsure() -> Callable[[Turn], str]:
    """Return a small model that is wrong on hard sums, in another way each time: Agreement finds that."""
    guesses = itertools.count(1)
    return lambda turn: reply(_total(turn) + (next(guesses) if _total(turn) % 2 else 0))


def surely_wrong(turn: Turn) -> str:
    """Write for a small model that is wrong on hard sums, and each time in the same way: nothing finds that."""
    return reply(_total(turn) + _total(turn) % 2)


def always_right(turn: Turn) -> str:
    """Write for a small model that is as good as the large one."""
    return reply(_total(turn))


def pair(
    small: Callable[[Turn], str], large: ScriptedBackend | None = None, **settings: Any
) -> ChatSpeculativeThinking:
    backend = ScriptedBackend(small, name="small", thinks=True)
    return ChatSpeculativeThinking(speculative=backend, target=large or Large(), **settings)


def small_model() -> ScriptedBackend:
    """Return a small model that is unsure on hard sums, for the command line."""
    return ScriptedBackend(unsure(), name="small", thinks=True)
