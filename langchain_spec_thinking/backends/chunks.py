"""Streamed chunks of an OpenAI-compatible server, read into events. Pure: chunks in, events out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.base import End, Event, Piece, Usage
from langchain_spec_thinking.backends.echo import EchoFilter
from langchain_spec_thinking.backends.thought_field import ThoughtField

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_spec_thinking.backends.continuation import Payload
    from langchain_spec_thinking.turn import Turn


class ChunkReader:
    """Reads the chunks of one response.

    Reasoning may come in a field of its own, `reasoning` in vLLM, `reasoning_content` elsewhere. Missing usage, a
    missing finish reason, empty choices and null deltas are put up with.

    Args:
        payload: What was asked.
        turn: The turn that is continued.
        max_tokens: The most that was asked for, in tokens.
        count_tokens: Counts the tokens of a piece; None where each chunk is taken for one.
    """

    def __init__(
        self, payload: Payload, turn: Turn, max_tokens: int, count_tokens: Callable[[str], int] | None
    ) -> None:
        self._endpoint = payload.endpoint
        self._echo = EchoFilter(payload.prefills, payload.seam, payload.overlap)
        self._max_tokens = max_tokens
        self._count = count_tokens
        self._thought = ThoughtField(turn, drops=payload.drops_reasoning)
        self._chunks = 0
        self._tokens = 0
        self._finish_reason: str | None = None
        self._usage: Usage | None = None

    def read(self, chunk: Any) -> Iterator[Event]:  # noqa: ANN401 - a completion or a chat completion chunk
        """Read one chunk."""
        self._chunks += 1
        # The SDK builds chunks without validation: a field that the server left out is an attribute that is not there.
        if usage := getattr(chunk, "usage", None):
            cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None)
            prompt, completion = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
            self._usage = Usage(prompt, cached, completion)
        for choice in (getattr(chunk, "choices", None) or [])[:1]:
            text = self._echo.pass_on(self._text(choice))
            if text:
                yield self._piece(text)
            self._finish_reason = getattr(choice, "finish_reason", None) or self._finish_reason

    @property
    def empty(self) -> bool:
        """Whether not a single chunk was read."""
        return not self._chunks

    @property
    def finished(self) -> bool:
        """Whether the server said why it ended."""
        return self._finish_reason is not None

    @property
    def full(self) -> bool:
        """Whether as many tokens came as were asked for."""
        return self._tokens >= self._max_tokens

    def rest(self) -> Iterator[Event]:
        """Give out what was held, when no more chunks come."""
        if text := self._echo.rest():
            yield self._piece(text)

    def end(self) -> End:
        """Say why the stream ended."""
        full = self._finish_reason is None and self.full
        return End("length" if full or self._finish_reason == "length" else "stop", self._usage)

    def _piece(self, text: str) -> Piece:
        tokens = self._count(text) if self._count else 1
        self._tokens += tokens
        return Piece(text, tokens)

    def _text(self, choice: Any) -> str:  # noqa: ANN401
        if self._endpoint == "completions":
            return getattr(choice, "text", None) or ""
        delta = getattr(choice, "delta", None)
        reasoning = getattr(delta, "reasoning", None) or getattr(delta, "reasoning_content", None) or ""
        return self._thought.join(reasoning, getattr(delta, "content", None) or "")
