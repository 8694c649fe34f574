"""Clients of the loopback server: the pair, the bare SDK, and LangChain's client of OpenAI-compatible servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.speed.loopback import LARGE, SMALL
from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    import openai

    from benchmarks.speed.loopback import StreamSettings

QUESTION = "What is it about?"
_SDK: dict[str, Any] = {"api_key": "none", "timeout": 120.0, "max_retries": 0}
"""Settings of the SDK's clients, the same as in the pair's backends."""


def pair(url: str, stream_settings: StreamSettings, **settings: Any) -> ChatSpeculativeThinking:
    """Return a pair of the server's two models.

    Args:
        url: URL of the server, with its settings.
        stream_settings: How the server writes.
        **settings: Settings of both backends.
    """
    settings = {"continuation": "chat_trailing", "thinking": stream_settings.thinks, **settings}
    small, large = (OpenAIBackend(name, base_url=url, **settings) for name in (SMALL, LARGE))
    return ChatSpeculativeThinking(speculative=small, target=large, max_tokens=2 * stream_settings.tokens)


def sdk_client(url: str) -> openai.OpenAI:
    """Return the SDK's client."""
    import openai  # noqa: PLC0415 - heavy

    return openai.OpenAI(base_url=url, **_SDK)


def async_sdk_client(url: str) -> openai.AsyncOpenAI:
    """Return the SDK's asynchronous client."""
    import openai  # noqa: PLC0415 - heavy

    return openai.AsyncOpenAI(base_url=url, **_SDK)


def sdk_pieces(client: openai.OpenAI, **fields: Any) -> Generator[str, None, None]:
    """Stream the story with the bare SDK."""
    with client.chat.completions.create(**_request(), **fields) as stream:
        for chunk in stream:
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""


def sdk_prompt_pieces(client: openai.OpenAI, **fields: Any) -> Iterator[str]:
    """Stream the story like `sdk_pieces`, from the completions endpoint."""
    request = {**_request(), "prompt": QUESTION, **fields}
    del request["messages"]
    with client.completions.create(**request) as stream:
        for chunk in stream:
            if chunk.choices:
                yield chunk.choices[0].text or ""


async def async_sdk_pieces(client: openai.AsyncOpenAI, **fields: Any) -> AsyncIterator[str]:
    """Stream the story like `sdk_pieces`, on an event loop."""
    async with await client.chat.completions.create(**_request(), **fields) as stream:
        async for chunk in stream:
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""


async def async_sdk_text(client: openai.AsyncOpenAI) -> str:
    """Return the whole story, read with the bare SDK."""
    return "".join([piece async for piece in async_sdk_pieces(client)])


def _request() -> dict[str, Any]:
    question = {"role": "user", "content": QUESTION}
    return {"model": SMALL, "messages": [question], "stream": True, "stream_options": {"include_usage": True}}


def characters(message: Any) -> int:  # noqa: ANN401 - a message or a chunk
    """Return the length of a message's reasoning and answer together, in characters."""
    content = message.content
    if isinstance(content, str):
        return len(content)
    return sum(len(block.get("reasoning") or block.get("text") or "") for block in content)
