"""How often a model may be asked for the rest of a text that ended early."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_spec_thinking.deadline import Deadline
    from langchain_spec_thinking.turn import Author

RESUMES_MAX = 16
"""Most requests of a turn that may end early with little text, for each model. One more, and the model has failed."""
PROGRESS_TOKENS = 32
"""A request that ends early after this many tokens is not counted, and the next request follows at once."""
WAIT_MAX = 5.0
"""Longest wait before the next request, in seconds."""
_FIRST_WAIT = 0.25
"""Longest wait after the second early end in a row, in seconds. It doubles with each further one."""


class Resumes:
    """Counts the requests of a turn that end early, and limits those that bring little text.

    A request ends early if its stream breaks, or if its server writes less than requested and says that the limit was
    reached. Requests that are short on purpose do not end early.

    Args:
        deadline: The deadline of the turn.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._counted: Counter[Author] = Counter()
        self._in_a_row: Counter[Author] = Counter()
        self._wait = 0.0

    def allow_resume(self, author: Author, tokens: int, requested: int) -> bool:
        """Count a request that ended early, and return whether a request for the rest is allowed.

        It is not allowed if too many requests ended early with little text, or if the wait would pass the deadline.

        Args:
            author: The model that wrote.
            tokens: How many tokens the request brought.
            requested: How many tokens were requested.
        """
        self._wait = 0.0
        if tokens >= min(PROGRESS_TOKENS, requested):
            self._in_a_row[author] = 0
            return True
        self._counted[author] += 1
        self._in_a_row[author] += 1
        if self._counted[author] > RESUMES_MAX:
            return False
        wait = _backoff(self._in_a_row[author])
        if wait >= self._deadline.left():
            return False
        self._wait = wait
        return True

    def take_wait(self) -> float:
        """Return how long to wait before the next request, in seconds."""
        wait, self._wait = self._wait, 0.0
        return wait


def _backoff(in_a_row: int) -> float:
    """Return a random wait, so that clients whose streams broke at the same time come back at different times."""
    longest = min(WAIT_MAX, _FIRST_WAIT * 2 ** (in_a_row - 2)) if in_a_row > 1 else 0.0
    return random.uniform(0, longest)  # noqa: S311 - not used for security
