"""The kinds of turns of a soak: local and remote ones, which end, fail, take too long or are cancelled."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.faults.scripts import Behaviour
from benchmarks.soak.server import path
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, OpenAIBackend, pocket
from langchain_spec_thinking.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain_spec_thinking.backends.base import Backend

Ending = Literal["answer", "error", "cancelled"]
LOCAL_TOKENS = 60
"""Most tokens of a turn with local models."""
_QUESTION = pocket.problems()[0].question
_SHORT_TIMEOUT = 0.05
"""Timeout of a turn that takes too long, in seconds."""
_CHUNKS = 3
"""How many chunks come before a turn is cancelled."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of turn.

    Attributes:
        name: The name.
        write: Writes a turn, and returns how it ended.
        endings: How the turn may end.
    """

    name: str
    write: Callable[[], Awaitable[Ending]]
    endings: tuple[Ending, ...]


async def _asynchronously(pair: ChatSpeculativeThinking) -> Ending:
    await pair.ainvoke(_QUESTION)
    return "answer"


async def _blocking(pair: ChatSpeculativeThinking) -> Ending:
    await asyncio.to_thread(pair.invoke, _QUESTION)
    return "answer"


async def _closed(pair: ChatSpeculativeThinking) -> Ending:
    """Stop reading after some chunks."""
    count = 0
    async with aclosing(pair.astream(_QUESTION)) as chunks:  # type: ignore[type-var]
        async for _ in chunks:
            count += 1
            if count == _CHUNKS:
                return "cancelled"
    return "answer"


async def _cancelled(pair: ChatSpeculativeThinking) -> Ending:
    """Cancel the task after the first chunk."""
    began = asyncio.Event()

    async def read() -> None:
        async for _ in pair.astream(_QUESTION):
            began.set()

    task = asyncio.create_task(read())
    waiting = asyncio.create_task(began.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
        return "answer"
    return "cancelled"


_WAYS: dict[str, Callable[[ChatSpeculativeThinking], Awaitable[Ending]]] = {
    "ainvoke": _asynchronously,
    "invoke": _blocking,
    "closed stream": _closed,
    "cancelled task": _cancelled,
}


def remote_kinds(url: str) -> list[Kind]:
    """Return the kinds of turns with scripted servers.

    Args:
        url: The address of the servers.
    """
    pairs = {behaviour: _pair(_client(url, behaviour), _client(url, behaviour)) for behaviour in _BEHAVIOURS}
    late = _pair(_client(url, Behaviour.SILENCE), _client(url, Behaviour.SILENCE), timeout=_SHORT_TIMEOUT)

    def new() -> ChatSpeculativeThinking:
        return _pair(_client(url, Behaviour.NOTHING), _client(url, Behaviour.NOTHING))

    kinds = [
        _kind(f"remote, {way}, {behaviour}", way, pair, *_BEHAVIOURS[behaviour])
        for behaviour, pair in pairs.items()
        for way in _WAYS
    ]
    kinds += [_kind(f"remote, {way}, too late", way, late, "error") for way in ("ainvoke", "invoke")]
    kinds += [Kind(f"remote, {way}, new clients", _writing(_WAYS[way], new), ("answer", "cancelled")) for way in _WAYS]
    return kinds


def local_kinds() -> list[Kind]:
    """Return the kinds of turns with the pocket models."""
    pair = _pair(pocket.speculative(), pocket.target(), max_tokens=LOCAL_TOKENS)
    late = _pair(pocket.speculative(), pocket.target(), max_tokens=LOCAL_TOKENS, timeout=_SHORT_TIMEOUT)
    kinds = [_kind(f"local, {way}", way, pair, "answer", "cancelled") for way in _WAYS]
    return kinds + [_kind(f"local, {way}, too late", way, late, "error", "answer") for way in ("ainvoke", "invoke")]


_BEHAVIOURS: dict[Behaviour, tuple[Ending, ...]] = {
    Behaviour.NOTHING: ("answer", "cancelled"),
    Behaviour.BREAK: ("answer", "cancelled"),
    Behaviour.ENDLESS: ("answer", "cancelled"),
    Behaviour.ERROR: ("error",),
    Behaviour.NO_CRUMBS: ("error",),
}
"""What the servers do wrong, and how a turn with them may end."""


def _kind(name: str, way: str, pair: ChatSpeculativeThinking, *endings: Ending) -> Kind:
    return Kind(name, _writing(_WAYS[way], lambda: pair), endings)


def _writing(
    way: Callable[[ChatSpeculativeThinking], Awaitable[Ending]], pair: Callable[[], ChatSpeculativeThinking]
) -> Callable[[], Awaitable[Ending]]:
    """Return a function that writes a turn. An error of the package is a way to end."""

    async def write() -> Ending:
        try:
            return await way(pair())
        except BackendError:
            return "error"

    return write


def _client(url: str, behaviour: Behaviour) -> OpenAIBackend:
    base_url = f"{url}{path(behaviour)}"
    return OpenAIBackend("big", base_url=base_url, continuation="chat_flag", thinking=True, max_retries=0)


def _pair(small: Backend, large: Backend, **settings: Any) -> ChatSpeculativeThinking:
    policy = DelegationPolicy(takeover_tokens=3, recap_sentence="")
    return ChatSpeculativeThinking(
        speculative=small, target=large, policy=policy, **{"max_tokens": 200, "timeout": 60.0, **settings}
    )
