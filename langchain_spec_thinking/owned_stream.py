"""An asynchronous stream that only its reader closes."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
    from typing import Self

T = TypeVar("T")


class OwnedStream(Generic[T]):
    """Reads an asynchronous generator and closes it at the end of an `async with` block.

    An event loop registers every asynchronous generator, and closes all of them at once when it ends. If one generator
    reads another, the event loop and the reader then close the same generator, and asyncio prints "aclose():
    asynchronous generator is already running". So this class hides the generator from the event loop.

    Args:
        items: The generator. It must not have been started. An iterator without `aclose` is only read.
    """

    def __init__(self, items: AsyncIterator[T]) -> None:
        self._items = items
        self._started = False

    async def __aenter__(self) -> Self:
        """Return this stream."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the generator."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the generator, and wait until it is closed."""
        if close := getattr(self._items, "aclose", None):
            await close()

    def __aiter__(self) -> Self:
        """Return this stream."""
        return self

    def __anext__(self) -> Awaitable[T]:
        """Request the next item."""
        return self._items.__anext__() if self._started else self._start()

    def _start(self) -> Awaitable[T]:
        """Request the first item. In this call, Python tells the event loop about the generator."""
        self._started = True
        with hiding_generators():
            return self._items.__anext__()


@contextmanager
def hiding_generators() -> Iterator[None]:
    """Hide asynchronous generators that begin in this context from the event loop."""
    registered, collected = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=_ignore)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(registered, collected)


def _ignore(_: AsyncGenerator[object, object]) -> None:
    """Do nothing when a generator is collected that was not closed."""
