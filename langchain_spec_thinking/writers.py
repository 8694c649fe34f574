"""Which model really writes: the one that the policy requests, or the speculative model in its place."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from langchain_spec_thinking.errors import BackendError, TurnTimeoutError
from langchain_spec_thinking.hidden_reasoning import hides_reasoning
from langchain_spec_thinking.policy.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from langchain_spec_thinking.backends.base import Backend, Usage
    from langchain_spec_thinking.deadline import Deadline
    from langchain_spec_thinking.report import Report
    from langchain_spec_thinking.turn import Author, Turn

OnTargetFailure = Literal["continue", "raise"]
"""What to do if the large model fails and retries do not help: go on without it, or raise the error."""

_LOGGER = logging.getLogger(__name__)
_LOGGED_TARGETS: set[str] = set()  # names of target models whose failure was logged


class Writers:
    """The two models of a turn, and the limits of what they may do.

    The speculative model replaces the target model after the target model failed for good, and while the budget of the
    turn is spent.

    Args:
        backends: The backend of each author.
        on_target_failure: What to do if the target model fails for good: `"continue"` with the speculative model alone,
            or `"raise"` the error.
        budget: Limits of how much of the target model the turn may use.

    Attributes:
        over_budget: Whether the budget did not allow the current request to the target model.
        target_lost: Whether the target model failed for good.
    """

    def __init__(
        self,
        *,
        backends: Mapping[Author, Backend],
        on_target_failure: OnTargetFailure,
        budget: Budget | None,
    ) -> None:
        self.over_budget = False
        self._backends = backends
        self._on_target_failure = on_target_failure
        self._budget = budget or Budget()
        self.target_lost = False
        self._limits_reported: set[str] = set()

    def author(self, requested: Author) -> Author:
        """Return the author of the current request, for which the policy asks `requested`."""
        return "speculative" if self.target_lost or self.over_budget else requested

    def backend(self, author: Author) -> Backend:
        """Return the backend of an author."""
        return self._backends[author]

    def connect_ahead(self) -> None:
        """Prepare connections for a takeover, which ends the stream of the speculative model."""
        if not self.target_lost:
            for backend in self._backends.values():
                backend.connect_ahead()

    def hides_reasoning(self, author: Author) -> bool:
        """Return whether a request has shown that a model hides its reasoning. A replay has no models."""
        backend = self._backends.get(author)
        return backend is not None and hides_reasoning(backend)

    def budget_spent(self, report: Report) -> bool:
        """Return whether the budget does not allow the target model to write now."""
        return self._budget.spent(report) is not None

    def tokens_left(self, author: Author, report: Report) -> int | None:
        """Return how many more tokens an author may write in the budget. None: no limit."""
        return self._budget.tokens_left(report) if author == "target" else None

    def may_write_rest(self, report: Report, *, again: bool) -> bool:
        """Return whether the budget allows the target model to write the rest of a text that it has begun.

        Args:
            report: The report of the turn.
            again: Whether the rest takes a further request.
        """
        return self._budget.tokens_left(report) != 0 and (not again or self._budget.requests_left(report))

    def apply_budget(self, requested: Author, report: Report) -> None:
        """Find out whether the budget allows a new request to an author, and report a limit that is reached."""
        spent = self._budget.spent(report) if requested == "target" else None
        self.over_budget = spent is not None
        if spent and spent.field not in self._limits_reported:
            self._limits_reported.add(spent.field)  # once for each limit: its numbers may change at each boundary
            report.add_degraded(f"the budget is spent: {spent.words}")

    @property
    def may_lose_target(self) -> bool:
        """Whether the speculative model continues alone if the target model fails for good."""
        return self._on_target_failure == "continue"

    def lose_target(self, error: BackendError, report: Report) -> None:
        """Let the speculative model write alone from now on, because the target model failed for good."""
        self.target_lost = True
        name = self._backends["target"].name
        reason = f"the large model failed, so the small model continued alone: {error}"
        report.add_degraded(reason)
        warn_of_failed_target(name, reason)


def warn_of_failed_target(name: str, reason: str) -> None:
    """Log the first failure of a target model. `degraded` reports every one."""
    if name not in _LOGGED_TARGETS:
        _LOGGED_TARGETS.add(name)
        _LOGGER.warning("%s Further failures of %s are reported only in `degraded`.", reason, name)


class Prefetcher:
    """Lets the target model read the turn ahead of a takeover. A prefetch that fails does not affect the turn.

    Args:
        turn: The turn to read.
        backend: The target model.

    Attributes:
        running: The prefetch that is running, if any.
    """

    def __init__(self, *, turn: Turn, backend: Backend) -> None:
        self.running: Future[Usage] | None = None
        self._turn = turn
        self._backend = backend
        self._failed = False
        self._read_at = 0  # number of spans of the turn at the last prefetch

    def start(self) -> None:
        """Begin to read the turn at a boundary, unless a prefetch is running or has read the same text."""
        if self._failed or self.running is not None or self._read_at == len(self._turn.spans):
            return
        self._read_at = len(self._turn.spans)
        try:
            self.running = self._backend.prefetch(self._turn)
        except BackendError:  # the next takeover will report the error; the running request is not affected
            self._failed = True

    def cancel(self) -> None:
        """Cancel the running prefetch, because the turn is over."""
        if self.running:
            self.running.cancel()

    def collect(self, report: Report) -> None:
        """Record the usage of the running prefetch if it is complete."""
        if self.running is None or not self.running.done():
            return
        done, self.running = self.running, None
        if done.cancelled():  # a takeover cancels the prefetch
            return
        if done.exception():  # the next takeover will report the error of the target model
            self._failed = True
            return
        report.record_prefetch(done.result())


def with_text(error: BackendError, turn: Turn) -> BackendError:
    """Add the text of the turn so far to an error, and return the error."""
    error.thinking, error.answer = turn.thinking, turn.answer
    return error


def require_time(deadline: Deadline, turn: Turn) -> None:
    """Raise an error if the turn has no time left.

    Raises:
        TurnTimeoutError: The deadline has passed. The error contains the text so far.
    """
    try:
        deadline.require()
    except TurnTimeoutError as error:
        raise with_text(error, turn) from None
