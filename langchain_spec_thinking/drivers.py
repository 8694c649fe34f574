"""The two loops that pass the policy's commands to the backends, and the backends' text to the policy.

The loops differ only in how they wait: `drive` blocks, `adrive` uses an event loop. `Run` contains everything that they
share. Both look at the deadline of the turn before they wait for the next event. `adrive` cancels a backend that is
late. `drive` cannot interrupt a backend: it relies on the backend to look at the deadline too.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from langchain_spec_thinking.backends.base import End
from langchain_spec_thinking.errors import BackendError, TurnTimeoutError
from langchain_spec_thinking.owned_stream import OwnedStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Generator
    from typing import Self

    from langchain_spec_thinking.backends.base import Event
    from langchain_spec_thinking.deadline import Deadline
    from langchain_spec_thinking.run import Run
    from langchain_spec_thinking.turn_events import TurnEvent

T = TypeVar("T")
CLOSING_SECONDS = 0.5
"""How long a backend may take to close its stream after the deadline, in seconds."""
_EARLY_WAKE = 0.02
"""An event loop may wake up this much too early, in seconds. The deadline must have passed when it does."""


def drive(run: Run) -> Generator[TurnEvent, None, None]:
    """Write the turn. Yield text when it becomes final, and an event at the start and the end of each takeover.

    To cancel the running request, close the generator.
    """
    with closing(run):
        yield from run.start()
        while (pending := run.pending_request) is not None:
            try:
                if wait := run.resumes.take_wait():
                    run.deadline.clock.sleep(wait)
                with closing(run.backend.continue_turn(run.turn, run.request())) as events:
                    for event in events:
                        yield from run.receive(event)
                        if run.pending_request is not pending:
                            break
                        run.deadline.require()
                    else:  # a stream without an `End` counts as the end of the turn
                        yield from run.receive(End("stop"))
            except BackendError as error:
                yield from run.recover(error)


async def adrive(run: Run) -> AsyncGenerator[TurnEvent, None]:
    """Write the turn like `drive`, on an event loop."""
    with closing(run):
        for turn_event in run.start():
            yield turn_event
        while (pending := run.pending_request) is not None:
            try:
                if wait := run.resumes.take_wait():
                    await run.deadline.clock.async_sleep(wait)
                async with _TimedStream(run.backend.acontinue_turn(run.turn, run.request()), run.deadline) as events:
                    while run.pending_request is pending:
                        for turn_event in run.receive(await events.next()):
                            yield turn_event
            except BackendError as error:
                for turn_event in run.recover(error):
                    yield turn_event


class _TimedStream:
    """Reads the stream of a backend, but not after the deadline of the turn. Closes it at the end of the context."""

    def __init__(self, events: AsyncGenerator[Event, None], deadline: Deadline) -> None:
        self._events = OwnedStream(events)
        self._deadline = deadline

    async def next(self) -> Event:
        """Return the next event. A stream without an `End` counts as the end of the turn."""
        self._deadline.require()
        return await _in_time(anext(self._events, End("stop")), self._deadline)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the stream. It may take a moment longer than the deadline."""
        await _in_time(self._events.aclose(), self._deadline, CLOSING_SECONDS)


async def _in_time(waiting: Awaitable[T], deadline: Deadline, further: float = 0.0) -> T:
    """Wait for a backend, and cancel the wait when the deadline has passed.

    Args:
        waiting: What to wait for.
        deadline: The deadline of the turn.
        further: How much longer than the deadline it may take, in seconds.

    Raises:
        TurnTimeoutError: The wait was cancelled.
    """
    if not deadline.limited:
        return await waiting
    limit = asyncio.timeout(max(deadline.left(), 0.0) + further + _EARLY_WAKE)
    try:
        async with limit:
            return await waiting
    except TimeoutError:
        if not limit.expired():
            raise
        raise TurnTimeoutError(deadline.seconds) from None
