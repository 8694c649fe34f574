"""Whether a stream of events came to its end mark, or just stopped coming.

The SDK takes both for an end. A server that says why it ended needs no mark; one that does not and was cut off would
otherwise lose text without anybody noticing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import httpx2

_MARK = re.compile(rb"[\r\n]data: ?\[DONE\]")  # at the beginning of a line: a model may well write of such a mark
_MARK_MAX = len(b"\ndata: [DONE]")


def watch_end_mark(response: httpx2.Response) -> None:
    """Have a response that nobody has read yet note its end mark as it goes by."""
    import httpx2  # noqa: PLC0415 - comes with openai

    class Watched(httpx2.SyncByteStream, httpx2.AsyncByteStream):
        """The same bytes."""

        def __init__(self, inner: httpx2.SyncByteStream | httpx2.AsyncByteStream) -> None:
            self._inner = inner
            self._tail = b"\n"

        def __iter__(self) -> Iterator[bytes]:
            for part in self._inner:  # type: ignore[union-attr]
                self._note(part)
                yield part

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for part in self._inner:  # type: ignore[union-attr]
                self._note(part)
                yield part

        def close(self) -> None:
            self._inner.close()  # type: ignore[union-attr]

        async def aclose(self) -> None:
            await self._inner.aclose()  # type: ignore[union-attr]

        def _note(self, part: bytes) -> None:
            seen = self._tail + part
            if _MARK.search(seen):
                response.extensions["sse_done"] = True
            self._tail = seen[-_MARK_MAX:]

    response.stream = Watched(response.stream)


def saw_end_mark(response: httpx2.Response) -> bool:
    """Whether the mark has gone by."""
    return bool(response.extensions.get("sse_done"))
