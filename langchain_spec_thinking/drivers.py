"""The two loops that pass the policy's commands to the backends, and the backends' text to the policy.

The loops differ only in how they wait: `drive` blocks, `adrive` uses an event loop. `Run` contains everything that they
share.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.base import End
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.owned_stream import OwnedStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from langchain_spec_thinking.run import Run
    from langchain_spec_thinking.turn_events import TurnEvent


def drive(run: Run) -> Generator[TurnEvent, None, None]:
    """Write the turn. Yield text when it becomes final, and an event at the start and the end of each takeover.

    To cancel the running request, close the generator.
    """
    with closing(run):
        yield from run.start()
        while (pending := run.pending_request) is not None:
            try:
                with closing(run.backend.continue_turn(run.turn, run.request())) as events:
                    for event in events:
                        yield from run.receive(event)
                        if run.pending_request is not pending:
                            break
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
                async with OwnedStream(run.backend.acontinue_turn(run.turn, run.request())) as events:
                    async for event in events:
                        for turn_event in run.receive(event):
                            yield turn_event
                        if run.pending_request is not pending:
                            break
                    else:
                        for turn_event in run.receive(End("stop")):
                            yield turn_event
            except BackendError as error:
                for turn_event in run.recover(error):
                    yield turn_event
