"""The streamed reply of a server: its chunks become events, within its limits."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from langchain_spec_thinking.backends.base import Usage
from langchain_spec_thinking.backends.openai.reported_errors import error_in_body, error_in_event, status_error
from langchain_spec_thinking.backends.openai.response_bytes import first_bytes, saw_sse_done, watch_response
from langchain_spec_thinking.errors import ContinuationError, FailedReplyError, StreamCutError, StreamOrderError
from langchain_spec_thinking.hidden_stream import HiddenStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import openai

    from langchain_spec_thinking.backends.base import Event
    from langchain_spec_thinking.backends.openai.reply_timer import ReplyTimer
    from langchain_spec_thinking.backends.openai.stream_events import ChunkReader
    from langchain_spec_thinking.backends.redaction import Redactor


class ReplyStream:
    """One streamed reply. As a context, it closes the stream at the end.

    A reply with its finish reason is complete, whatever happens to the stream afterwards. Only its usage may be
    missing.

    Args:
        stream: The stream of the SDK's blocking or asynchronous client. Nothing was read from it yet.
        reader: Reads its chunks.
        timer: How long the reply may take.
        name: The model's name.
        place: The server's address, without secrets.
        redactor: Removes secrets from what the server says.
    """

    def __init__(
        self,
        stream: openai.Stream[Any] | openai.AsyncStream[Any],
        reader: ChunkReader,
        timer: ReplyTimer,
        *,
        name: str,
        place: str,
        redactor: Redactor,
    ) -> None:
        either: Any = stream  # blocking or not, as the methods that read it
        self._stream = either
        self._chunks: HiddenStream[Any] = HiddenStream(either)  # the SDK's generators are never closed
        self._response = stream.response
        self._reader = reader
        self._timer = timer
        self._name = name
        self._place = place
        self._redactor = redactor
        watch_response(self._response)

    def first_text(self) -> list[Event]:
        """Read up to the first text. A server may report its usage before it.

        If the stream breaks before its first text, it is closed, and the error makes `retrying` open a new stream.
        """
        events: list[Event] = []
        try:
            with self._errors():
                for chunk in self._stream:
                    events += self._read(chunk)
                    if _bring_text(events) or self._reader.exceeded:
                        return events
            self._require_end()
        except BaseException:
            self._stream.close()
            raise
        return events

    async def afirst_text(self) -> list[Event]:
        """Do the same as `first_text`, on an event loop."""
        events: list[Event] = []
        try:
            with self._errors():
                async for chunk in self._chunks:
                    events += self._read(chunk)
                    if _bring_text(events) or self._reader.exceeded:
                        return events
            self._require_end()
        except BaseException:
            await self._stream.close()
            raise
        return events

    def events(self) -> Iterator[Event]:
        """Read the stream until it ends or exceeds its limit."""
        if self._reader.exceeded:
            return
        self._resume_timer()
        with self._errors(begun=True):
            try:
                for chunk in self._stream:
                    yield from self._read(chunk)
                    if self._reader.exceeded:
                        break
            except Exception:  # any error, which is raised again
                yield from self._reader.end_of_thought()
                raise

    async def aevents(self) -> AsyncIterator[Event]:
        """Do the same as `events`, on an event loop."""
        if self._reader.exceeded:
            return
        self._resume_timer()
        with self._errors(begun=True):
            try:
                async for chunk in self._chunks:
                    for event in self._read(chunk):
                        yield event
                    if self._reader.exceeded:
                        break
            except Exception:  # any error, which is raised again
                for event in self._reader.end_of_thought():
                    yield event
                raise

    def end(self) -> Iterator[Event]:
        """Return the events at the end of a stream.

        Raises:
            FailedReplyError: The server says that it could not finish the reply.
            StreamCutError: The stream was cut off before its end.
        """
        yield from self._reader.rest()
        if not self._reader.full:
            self._require_end()
        yield from self._reader.calls()
        yield self._reader.end()

    def _resume_timer(self) -> None:
        """Begin to measure silence again, because the caller may have worked on the first text for a while."""
        if not self._reader.finished:
            self._timer.text_came()

    def _read(self, chunk: object) -> Iterator[Event]:
        ended = self._reader.finished
        yield from self._reader.read(chunk)
        if self._reader.unordered:
            raise StreamOrderError(self._name, self._place)
        if error := error_in_event(chunk, self._response):
            raise error
        if self._reader.brought_text:
            self._timer.text_came()
        if self._reader.finished and not ended:
            self._timer.text_ended()

    @contextmanager
    def _errors(self, *, begun: bool = False) -> Iterator[None]:
        """Ignore errors of the stream after the end of the text. A new request would write another ending.

        Args:
            begun: Whether the stream has brought text. Before that, an error in it says why the request failed.
        """
        try:
            yield
        except StreamOrderError:
            raise  # its text is missing, whatever else is complete
        except Exception as error:  # any error, because the text is complete
            if self._reader.full or self._text_ended:
                return
            if named := status_error(error, self._response, begun=begun):
                raise named from error
            raise

    @property
    def _text_ended(self) -> bool:
        done = saw_sse_done(self._response) and not self._reader.failure  # vLLM says that it failed, and then `[DONE]`
        return self._reader.finished or done

    def _require_end(self) -> None:
        """Raise an error if the stream was cut off before its end, or was no stream."""
        error = error_in_body(first_bytes(self._response), self._response) if self._reader.empty else None
        if error:
            raise status_error(error, self._response, begun=False) or error
        content_type = self._response.headers.get("content-type", "")
        if self._reader.empty and "event-stream" not in content_type:
            kind = self._redactor.text((content_type or "no content type").partition(";")[0])
            msg = (
                f"{self._name} at {self._place}: the server answered with {kind} instead of a stream of "
                "events. Check `base_url` (it usually ends in /v1)."
            )
            raise ContinuationError(msg)
        if self._reader.failure:
            raise FailedReplyError(f"{self._name} at {self._place}", self._reader.failure)
        if not self._text_ended:
            raise StreamCutError(self._name, self._place)

    def __enter__(self) -> Self:
        """Begin the context."""
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Close the stream of a blocking client."""
        try:
            if self._is_ending(error):
                self._stream.drain()
        finally:
            self._stream.close()

    async def __aenter__(self) -> Self:
        """Begin the context."""
        return self

    async def __aexit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Close the stream of an asynchronous client."""
        try:
            if self._is_ending(error):
                await self._stream.drain()
        finally:
            await self._stream.close()

    def _is_ending(self, error: type[BaseException] | None) -> bool:
        """Return whether the server is about to end the stream, so that its connection can be used again.

        Args:
            error: Type of the error that closes the stream. `GeneratorExit`: the caller needs no more text.
        """
        left = error is None or issubclass(error, GeneratorExit)
        complete = self._reader.full or self._reader.finished
        return left and complete and not self._reader.exceeded and not self._response.is_closed


def _bring_text(events: list[Event]) -> bool:
    """Return whether any event is more than a count of tokens. vLLM counts the prompt before the first text."""
    return not all(isinstance(event, Usage) for event in events)
