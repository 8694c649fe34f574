"""Asynchronous turns end at their deadline, whatever the backend is doing."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.rate_limiters import BaseRateLimiter

from langchain_spec_thinking import Backend, ChatModelBackend, ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import Piece, Request
from langchain_spec_thinking.deadline import Deadline
from langchain_spec_thinking.errors import TurnTimeoutError
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends import tiny
from tests.unit_tests.fake_time import FakeTime, FakeTimeLoop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator

    from langchain_core.messages import BaseMessage

    from langchain_spec_thinking.backends.base import Event

RELEASE = threading.Event()
"""Ends what blocks a thread."""


@pytest.fixture(autouse=True)
def _release_threads() -> Iterator[None]:
    RELEASE.clear()
    yield
    RELEASE.set()


class BlockingBackend(Backend):
    """A backend whose thread blocks after the first piece."""

    name = "blocking"

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        yield Piece("Hi.", 1)
        RELEASE.wait()
        yield Piece("never", 1)


class SilentBackend(BlockingBackend):
    """A backend whose server sends nothing after the first piece."""

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        yield Piece("Hi.", 1)
        await asyncio.Event().wait()


class SlowToCloseBackend(BlockingBackend):
    """A backend that writes, but whose stream cannot be closed."""

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        try:
            for _ in range(request.max_tokens + 1):
                yield Piece("Hi.", 1)
        finally:
            await asyncio.Event().wait()


class DirectBackend(ScriptedBackend):
    """A scripted backend that needs no thread, so that its time does not depend on the machine."""

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        for event in self.continue_turn(turn, request):
            yield event


class Model(BaseChatModel):
    """A chat model that never answers."""

    max_tokens: int = 100

    @property
    def _llm_type(self) -> str:
        return "never"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        RELEASE.wait()
        return ChatResult(generations=[])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        await asyncio.Event().wait()
        return ChatResult(generations=[])


class StreamingModel(Model):
    """A chat model whose stream stops."""

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="Hi."))
        await asyncio.Event().wait()


class BlockingModel(Model):
    """A chat model whose blocking stream runs in a thread."""

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="Hi."))
        RELEASE.wait()


LATE = {
    "the thread of a backend blocks": BlockingBackend,
    "a server is silent": SilentBackend,
    "a stream cannot be closed": SlowToCloseBackend,
    "a chat model never answers": Model,
    "the stream of a chat model stops": StreamingModel,
    "the thread of a chat model blocks": BlockingModel,
}


@dataclass
class Outcome:
    """How a turn ended."""

    seconds: float
    error: BaseException | None
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)


def ask(small: Any, **settings: Any) -> Outcome:
    """Run a turn on a loop with its own time."""
    time = FakeTime()

    async def main() -> Outcome:
        pair = time.of(ChatSpeculativeThinking(speculative=small, target=ScriptedBackend(), **settings))
        (error,) = await asyncio.gather(pair.ainvoke("x"), return_exceptions=True)
        outcome = Outcome(time.seconds, error if isinstance(error, BaseException) else None)
        await asyncio.sleep(0)
        outcome.tasks += asyncio.all_tasks() - {asyncio.current_task()}
        RELEASE.set()
        return outcome

    with asyncio.Runner(loop_factory=lambda: FakeTimeLoop(time)) as runner:
        return runner.run(main())


@pytest.mark.parametrize("kind", LATE.values(), ids=LATE.keys())
def test_a_turn_ends_at_its_deadline(kind: type[Any], caplog: pytest.LogCaptureFixture) -> None:
    outcome = ask(kind(), timeout=30.0, max_tokens=10)
    assert isinstance(outcome.error, TurnTimeoutError)
    assert 30.0 <= outcome.seconds < 31.0
    assert outcome.error.answer in {"", "Hi.", "Hi." * 10}
    assert outcome.tasks == []
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_the_text_so_far_is_in_the_error() -> None:
    error = ask(SilentBackend(), timeout=30.0).error
    assert isinstance(error, TurnTimeoutError)
    assert error.answer == "Hi."


def test_a_large_model_that_is_silent_ends_the_turn_too() -> None:
    time = FakeTime()
    small = DirectBackend("One.\n\nWait, no.\n\nTwo.")

    async def main() -> None:
        pair = time.of(ChatSpeculativeThinking(speculative=small, target=SilentBackend(), timeout=30.0))
        with pytest.raises(TurnTimeoutError) as caught:
            await pair.ainvoke("x")
        assert caught.value.answer.startswith("One.\n\n")

    with asyncio.Runner(loop_factory=lambda: FakeTimeLoop(time)) as runner:
        runner.run(main())
    assert 30.0 <= time.seconds < 31.0


@dataclass
class Ticking(FakeTime):
    """A clock on which each look takes a second."""

    def now(self) -> float:
        self.seconds += 1.0
        return self.seconds


class EmptyModel(Model):
    """A chat model that sends empty chunks without end."""

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        while True:
            yield ChatGenerationChunk(message=AIMessageChunk(content=""))


class Closed(BaseRateLimiter):
    """A rate limiter that never allows a request."""

    def acquire(self, *, blocking: bool = True) -> bool:
        assert not blocking
        return False

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return False


BLOCKING = {
    "a local model": tiny.backend,
    "a chat model that sends empty chunks": lambda: ChatModelBackend(EmptyModel()),
    "a rate limiter": lambda: ChatModelBackend(EmptyModel(rate_limiter=Closed())),
}


@pytest.mark.parametrize("backend", BLOCKING.values(), ids=BLOCKING.keys())
def test_a_blocking_backend_looks_at_the_deadline(backend: Any) -> None:
    time = Ticking()
    request = Request(10_000, deadline=Deadline.after(30.0, time.clock))
    with pytest.raises(TurnTimeoutError):
        list(backend().continue_turn(Turn((Message("user", "x"),)), request))
    assert time.seconds < 40.0


async def test_without_a_deadline_nothing_is_cancelled() -> None:
    pair = ChatSpeculativeThinking(speculative=ScriptedBackend("Five."), target=ScriptedBackend())
    assert (await pair.ainvoke("x")).text == "Five."
    assert Deadline().left() == float("inf")
    Deadline().require()
