"""White space and reasoning after a thought: they are limited, and the end of a thought is not forgotten."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_spec_thinking import ChatModelBackend
from langchain_spec_thinking.backends.base import End, Piece, Request
from langchain_spec_thinking.errors import BackendError
from tests.unit_tests.wire import Server, continued, delta, sse, turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatResult

    from langchain_spec_thinking.backends.base import Event

CHAT: dict[str, Any] = {"tokenizer": None, "continuation": "chat_flag", "thinking": True, "max_retries": 0}
TOKENS = 10
READ_MAX = 400
"""Most chunks that a backend reads of a reply of ten tokens. The replies of these tests have thousands."""


class Streams(BaseChatModel):
    """A chat model that streams given chunks. An exception among them ends the stream."""

    chunks: Any
    read: int = 0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in self.chunks():
            if isinstance(chunk, Exception):
                raise chunk
            self.read += 1
            yield ChatGenerationChunk(message=AIMessageChunk(**chunk))

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(*args, **kwargs):
            yield chunk


def thought(text: str) -> dict[str, Any]:
    return {"content": "", "additional_kwargs": {"reasoning_content": text}}


def answer(text: str) -> dict[str, Any]:
    return {"content": text}


def late_reasoning() -> Iterable[dict[str, Any]]:
    return chain([thought("Hm."), answer("Hello")], repeat(thought("and so on"), 5000))


def white_space() -> Iterable[dict[str, Any]]:
    return chain([thought("Hm.")], repeat(answer("\n"), 5000))


def broken() -> Iterable[dict[str, Any] | Exception]:
    return [thought("I think so."), answer("\n\n"), ConnectionError("gone")]


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Piece))


@pytest.mark.parametrize("asynchronously", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("chunks", [late_reasoning, white_space])
async def test_a_chat_model_that_goes_on_after_its_thought_is_stopped(
    chunks: Callable[[], Any], asynchronously: bool
) -> None:
    model = Streams(chunks=chunks)
    backend, request = ChatModelBackend(model, thinking=True), Request(TOKENS)
    if asynchronously:
        events = [event async for event in backend.acontinue_turn(turn(), request)]
    else:
        events = list(backend.continue_turn(turn(), request))
    assert isinstance(events[-1], End)
    assert events[-1].reason == "length"
    assert model.read <= READ_MAX


def test_a_server_that_sends_white_space_after_its_thought_is_stopped() -> None:
    chunks = (delta(reasoning_content="Hm."), *(delta(content="\n") for _ in range(5000)))
    server = Server(sse(*chunks))
    _, events = continued(server.backend(**CHAT), max_tokens=TOKENS)
    assert events[-1].reason == "length"  # type: ignore[union-attr]


@pytest.mark.parametrize("asynchronously", [False, True], ids=["sync", "async"])
async def test_the_end_of_a_thought_survives_a_break_of_a_chat_model(asynchronously: bool) -> None:
    backend, request = ChatModelBackend(Streams(chunks=broken), thinking=True), Request(TOKENS)
    events: list[Event] = []
    with suppress(BackendError):
        if asynchronously:
            async for event in backend.acontinue_turn(turn(), request):
                events.append(event)  # noqa: PERF401 - the events before the error count
        else:
            for event in backend.continue_turn(turn(), request):
                events.append(event)  # noqa: PERF402
    assert not any(isinstance(event, End) for event in events)
    assert text_of(events) == "<think>I think so.\n</think>\n\n\n\n"
