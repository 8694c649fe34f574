"""The two loops that pass the policy's commands to the backends, and the backends' text to the policy.

The loops differ only in how they wait: `drive` blocks, `adrive` uses an event loop. `Run` contains everything that they
share. Both look at the deadline of the turn before they wait for the next event. `adrive` cancels a backend that is
late. `drive` cannot interrupt a backend: it relies on the backend to look at the deadline too.

A turn with a rule of escalation consists of several runs. `EscalatedRun` contains everything that is not waiting.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from langchain_spec_thinking.backends.base import End
from langchain_spec_thinking.errors import BackendError, TurnTimeoutError
from langchain_spec_thinking.escalated_run import EscalatedRun
from langchain_spec_thinking.owned_stream import OwnedStream
from langchain_spec_thinking.samples import SampleTasks, SampleThreads

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


def drive(run: Run | EscalatedRun) -> Generator[TurnEvent, None, None]:
    """Write the turn. Yield text when it becomes final, and an event at the start and the end of each takeover.

    To cancel the running request, close the generator.
    """
    return _drive_escalated(run) if isinstance(run, EscalatedRun) else _drive(run)


def adrive(run: Run | EscalatedRun) -> AsyncGenerator[TurnEvent, None]:
    """Write the turn like `drive`, on an event loop."""
    return _adrive_escalated(run) if isinstance(run, EscalatedRun) else _adrive(run)


def _drive(run: Run) -> Generator[TurnEvent, None, None]:
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


async def _adrive(run: Run) -> AsyncGenerator[TurnEvent, None]:
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


def _drive_escalated(run: EscalatedRun) -> Generator[TurnEvent, None, None]:
    with closing(run):
        try:
            yield from _drive_attempt(run)
            yield from _drive_target(run)
        except BackendError as error:
            run.fail(error)
            raise


async def _adrive_escalated(run: EscalatedRun) -> AsyncGenerator[TurnEvent, None]:
    with closing(run):
        try:
            for part in (_adrive_attempt, _adrive_target):
                async with OwnedStream(part(run)) as events:
                    async for event in events:
                        yield event
        except BackendError as error:
            run.fail(error)
            raise


def _drive_attempt(run: EscalatedRun) -> Generator[TurnEvent, None, None]:
    """Write the attempt and its samples, and show the verdict."""
    with SampleThreads(run.samples, _drive) as samples:
        with closing(_drive(run.attempt)) as events:
            while not run.attempt_over and (event := next(events, None)):
                yield from run.receive(event)
                run.collect(samples.ended())
                if not run.undecided:
                    samples.stop()
        run.finish_attempt()
        while run.undecided:
            if question := run.next_question():
                run.receive_reply(question, _error_of(_drive(question)))
            else:
                run.collect(samples.wait(run.deadline))
                run.deadline.require()
    yield from run.conclude()


async def _adrive_attempt(run: EscalatedRun) -> AsyncGenerator[TurnEvent, None]:
    async with SampleTasks(run.samples, _adrive) as samples:
        async with OwnedStream(_adrive(run.attempt)) as events:
            while not run.attempt_over and (event := await anext(events, None)):
                for shown in run.receive(event):
                    yield shown
                run.collect(samples.ended())
                if not run.undecided:
                    samples.stop()
        run.finish_attempt()
        while run.undecided:
            if question := run.next_question():
                run.receive_reply(question, await _aerror_of(_adrive(question)))
            else:
                run.collect(await _in_time(samples.wait(), run.deadline))
    for shown in run.conclude():
        yield shown


def _drive_target(run: EscalatedRun) -> Generator[TurnEvent, None, None]:
    """Write the turn of the large model if the question is escalated, and end the turn."""
    if run.target:
        try:
            with closing(_drive(run.target)) as events:
                for event in events:
                    yield from run.receive_from_target(event)
        except BackendError as error:
            yield from run.recover(error)
    yield from run.end()


async def _adrive_target(run: EscalatedRun) -> AsyncGenerator[TurnEvent, None]:
    if run.target:
        try:
            async with OwnedStream(_adrive(run.target)) as events:
                async for event in events:
                    for shown in run.receive_from_target(event):
                        yield shown
        except BackendError as error:
            for shown in run.recover(error):
                yield shown
    for shown in run.end():
        yield shown


def _error_of(events: Generator[TurnEvent, None, None]) -> BackendError | None:
    """Write a turn that is not shown. Return the error that ended it; None if there was none."""
    try:
        for _ in events:
            pass
    except TurnTimeoutError:
        raise
    except BackendError as error:
        return error
    return None


async def _aerror_of(events: AsyncGenerator[TurnEvent, None]) -> BackendError | None:
    """Do the same as `_error_of`, on an event loop."""
    try:
        async with OwnedStream(events) as owned:
            async for _ in owned:
                pass
    except TurnTimeoutError:
        raise
    except BackendError as error:
        return error
    return None


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
