"""The OpenAI-compatible server in this process, and models behind it that fail or never end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import openai

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import Backend, Event, Piece, Request
from langchain_spec_thinking.serving.app import create_app
from langchain_spec_thinking.serving.limits import Limits
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.asgi import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from langchain_spec_thinking.turn import Turn

KEY = "sk-right"
NAME = "speculative-thinking"
ASKED: Any = {"model": NAME, "messages": [{"role": "user", "content": "Order tea."}]}


def http(model: ChatSpeculativeThinking, **limits: Any) -> httpx2.AsyncClient:
    app = create_app(model, ["sk-other", KEY], limits=Limits(**limits))
    return httpx2.AsyncClient(transport=Transport(app))


def client(model: ChatSpeculativeThinking, key: str = KEY, **limits: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        api_key=key, base_url="http://pair.test/v1", http_client=http(model, **limits), max_retries=0
    )


def plain(small: Any = "Tea it is.", **settings: Any) -> ChatSpeculativeThinking:
    backend = small if isinstance(small, Backend) else ScriptedBackend(small, name="small")
    return ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend("Indeed."), **settings)


class Broken(Backend):
    """A model that fails after some words."""

    name = "broken"

    def __init__(self, error: Exception, words: int = 0) -> None:
        self.error = error
        self.words = words

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        for _ in range(self.words):
            yield Piece("word ")
        raise self.error


class Endless(Backend):
    """A model that writes a word and then waits forever. It counts its open streams.

    Attributes:
        started: The questions, added when the answer begins.
    """

    name = "endless"

    def __init__(self) -> None:
        self.open = self.most = 0
        self.started: asyncio.Queue[str] = asyncio.Queue()

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        raise NotImplementedError

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        self.open += 1
        self.most = max(self.most, self.open)
        self.started.put_nowait(turn.history[-1].content)
        try:
            yield Piece("on ", 0)
            await asyncio.Event().wait()
        finally:
            self.open -= 1
