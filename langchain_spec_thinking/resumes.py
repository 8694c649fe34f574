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
    """

    def __init__(self) -> None:
        self._counted: Counter[Author] = Counter()
        self._in_a_row: Counter[Author] = Counter()

    def next_wait(self, author: Author, tokens: int, requested: int, deadline: Deadline) -> float | None:
        """Count a request that ended early, and return how long to wait before the next one, in seconds.

        The wait is random, so that clients whose streams broke at the same time do not come back at the same time.

        Args:
            author: The model that wrote.
            tokens: How many tokens the request brought.
            requested: How many tokens were requested.
            deadline: The deadline of the turn.

        Returns:
            None if there must be no further request: too many ended early, or the wait would pass the deadline.
        """
        if tokens >= min(PROGRESS_TOKENS, requested):
            self._in_a_row[author] = 0
            return 0.0
        self._counted[author] += 1
        self._in_a_row[author] += 1
        if self._counted[author] > RESUMES_MAX:
            return None
        wait = self._backoff(self._in_a_row[author])
        return wait if wait < deadline.left() else None

    @staticmethod
    def _backoff(in_a_row: int) -> float:
        longest = min(WAIT_MAX, _FIRST_WAIT * 2 ** (in_a_row - 2)) if in_a_row > 1 else 0.0
        return random.uniform(0, longest)  # noqa: S311 - not used for security
