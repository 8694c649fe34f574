"""A pair on one Ollama server."""

from __future__ import annotations

from typing import Any

from integrations.ask_pair import ask
from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend


def build(
    small: str = "deepseek-r1:1.5b",
    large: str = "deepseek-r1:32b",
    url: str = "http://127.0.0.1:11434/v1",
    **client: Any,
) -> ChatSpeculativeThinking:
    """Make the pair. It uses no tokenizers, because Ollama's completions endpoint wraps prompts in chat messages."""
    return ChatSpeculativeThinking(
        speculative=OpenAIBackend(small, base_url=url, **client),
        target=OpenAIBackend(large, base_url=url, **client),
    )


if __name__ == "__main__":
    ask(build)
