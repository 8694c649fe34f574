"""An asynchronous stream of a library that leaves its generators half-read."""

from __future__ import annotations

import types
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from langchain_spec_thinking.owned_stream import hiding_generators

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator
    from typing import Self

T = TypeVar("T")


class HiddenStream(Generic[T]):
    """Reads a stream, and hides all asynchronous generators that begin with its first item from the event loop.

    Half-read generators can print a message in two ways:

    - The event loop closes all generators that it knows at once when it ends, as `OwnedStream` explains.
    - The garbage collector gives the generators to the event loop one after another. If it runs in another thread, the
      event loop already closes the first one, which closes the second one, when the garbage collector gets to the
      second one. Python then prints "async generator already executing".

    Nobody closes hidden generators. So the user of this class must close what the generators read.

    Args:
        items: The stream. It must not have been started.
    """

    def __init__(self, items: AsyncIterator[T]) -> None:
        self._items = items
        self._started = False

    def __aiter__(self) -> Self:
        """Return this stream."""
        return self

    def __anext__(self) -> Awaitable[T]:
        """Request the next item."""
        if self._started:
            return self._items.__anext__()
        self._started = True
        return _hiding(self._items.__anext__())


@types.coroutine
def _hiding(waiting: Awaitable[T]) -> Generator[object, object, T]:
    """Wait, and hide all generators that begin meanwhile. Other tasks run in the pauses, so nothing is hidden then."""
    steps = waiting.__await__()
    step: Callable[[], object] = partial(next, steps)
    while True:
        try:
            with hiding_generators():
                pause = step()
        except StopIteration as end:
            result: T = end.value
            return result
        try:
            step = partial(steps.send, (yield pause))
        except BaseException as error:  # noqa: BLE001 - such as a cancellation, which `waiting` handles
            step = partial(steps.throw, error)
