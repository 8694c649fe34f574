"""Client cost of a streamed token: the pair against the bare SDK, with a server that sends all tokens at once.

The cost is CPU time of this process. The server runs in a separate process. All readers read the same story,
alternately. Each run gives one ratio.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import SecretStr

from benchmarks.speed import clients
from benchmarks.speed.figures import Figure
from benchmarks.speed.loopback import SMALL, StreamSettings, serving
from langchain_spec_thinking import pocket

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    Reader = Callable[[], object]

RUNS = 7
TOKENS = 1000
FIRSTS = 40
"""Number of measurements of the time to the first token."""
_CUE_EVERY = 2
_TOKENIZER = str(Path(pocket.__file__).parent / "pocket-large")


def measure(advance: Callable[[], object], *, runs: int = RUNS, tokens: int = TOKENS) -> dict[str, Figure]:
    """Measure the cost of a streamed token and the time to the first token.

    Args:
        advance: Called after each step.
        runs: Number of runs of each reader.
        tokens: Length of the story, in tokens.
    """
    with serving() as server, asyncio.Runner() as loop, ExitStack() as opened:
        readers = _readers(server, loop, opened, tokens)
        for read in readers.values():
            read()  # opens connections, imports modules and fills caches
        costs: dict[str, list[float]] = {name: [] for name in readers}
        for run in range(runs):
            names = deque(readers)
            names.rotate(run)
            for name in names:
                costs[name].append(_cost(readers[name]) / tokens * 1e6)
            advance()
        figures = {"stream_overhead_vs_openai_sdk": overhead(costs)}
        figures |= {"time_to_first_token": _first_token(server, FIRSTS if runs == RUNS else runs)}
        advance()
    return figures


def _readers(server: str, loop: asyncio.Runner, opened: ExitStack, tokens: int) -> dict[str, Reader]:
    """Return all readers of the story, by name. The `sdk*` readers are the baselines."""
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 - importing this file does not need it

    stream_settings = StreamSettings(tokens)
    takeover_settings = StreamSettings(tokens, cue_every=_CUE_EVERY)
    url = stream_settings.url(server)
    sdk, async_sdk = opened.enter_context(clients.sdk_client(url)), clients.async_sdk_client(url)
    opened.callback(lambda: loop.run(async_sdk.close()))
    ours = clients.pair(url, stream_settings)
    raw = clients.pair(url, stream_settings, continuation="raw", tokenizer=_TOKENIZER)
    with_takeovers = clients.pair(takeover_settings.url(server), takeover_settings)
    theirs = ChatOpenAI(model=SMALL, base_url=url, api_key=SecretStr("none"), stream_usage=True)
    langchain_only = _LangChainOnly(pieces=[stream_settings.token(index, SMALL) for index in range(tokens)])

    async def count(stream: Any) -> int:  # noqa: ANN401 - of messages or of text
        return sum([len(part) if isinstance(part, str) else clients.characters(part) async for part in stream])

    def streamed(model: BaseChatModel) -> Reader:
        return lambda: sum(clients.characters(chunk) for chunk in model.stream(clients.QUESTION))

    return {
        "sdk": lambda: len("".join(clients.sdk_pieces(sdk))),
        "stream": streamed(ours),
        "sdk_async": lambda: loop.run(count(clients.async_sdk_pieces(async_sdk))),
        "astream": lambda: loop.run(count(ours.astream(clients.QUESTION))),
        "sdk_prompt": lambda: len("".join(clients.sdk_prompt_pieces(sdk))),
        "stream_with_tokenizer": streamed(raw),
        "stream_with_takeovers": streamed(with_takeovers),
        "invoke": lambda: clients.characters(ours.invoke(clients.QUESTION)),
        "langchain_openai": streamed(theirs),
        "langchain_alone": streamed(langchain_only),
    }


def _cost(read: Reader) -> float:
    gc.collect()
    began = time.process_time()
    read()
    return time.process_time() - began


def overhead(costs: Mapping[str, list[float]]) -> Figure:
    """Return the cost of a streamed token, relative to the bare SDK.

    Args:
        costs: Microseconds per token, one number per run, by reader.
    """

    def against(name: str, other: str) -> float:
        return median(_ratios(costs[name], costs[other]))

    return Figure.of(
        _ratios(costs["stream"], costs["sdk"]),
        target="<= 1.3",
        microseconds_per_token={name: round(median(costs[name]), 1) for name in costs},
        astream=against("astream", "sdk_async"),
        with_tokenizer=against("stream_with_tokenizer", "sdk_prompt"),
        with_takeovers=against("stream_with_takeovers", "sdk"),
        invoke=against("invoke", "sdk"),
        vs_langchain_openai=against("stream", "langchain_openai"),
    )


def _ratios(some: list[float], others: list[float]) -> list[float]:
    return [a / b for a, b in zip(some, others, strict=True)]


def _first_token(server: str, runs: int) -> Figure:
    """Compare the time to the first text."""
    stream_settings = StreamSettings(tokens=50)
    url = stream_settings.url(server)
    ours = clients.pair(url, stream_settings)

    def seconds(stream: Generator[object, None, None]) -> float:
        began = time.perf_counter()
        next(piece for piece in stream if piece)
        took = time.perf_counter() - began
        stream.close()
        return took

    with clients.sdk_client(url) as sdk:

        def once(number: int) -> tuple[float, float]:
            texts = (clients.characters(chunk) for chunk in ours.stream(clients.QUESTION))
            if number % 2:
                return seconds(clients.sdk_pieces(sdk)) * 1e3, seconds(texts) * 1e3
            our = seconds(texts) * 1e3
            return seconds(clients.sdk_pieces(sdk)) * 1e3, our

        once(0)
        theirs, our = map(list, zip(*(once(number) for number in range(runs)), strict=True))
    return Figure.of(_ratios(our, theirs), milliseconds={"sdk": median(theirs), "stream": median(our)})


class _LangChainOnly(BaseChatModel):
    """A chat model that only wraps its tokens as the pair does. It measures LangChain's part of the cost."""

    pieces: list[str]

    @property
    def _llm_type(self) -> str:
        return "alone"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        for piece in self.pieces:
            block = {"type": "reasoning", "reasoning": piece, "index": 0}
            yield ChatGenerationChunk(message=AIMessageChunk(content=[block]))
