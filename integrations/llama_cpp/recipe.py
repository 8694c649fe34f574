"""A pair on two llama.cpp servers."""

from __future__ import annotations

from typing import Any

from integrations.ask_pair import ask
from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend

SMALL = "small"
LARGE = "large"


def build(
    small: str = SMALL,
    large: str = LARGE,
    small_url: str = "http://127.0.0.1:8081/v1",
    large_url: str = "http://127.0.0.1:8080/v1",
    small_tokenizer: str = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
    large_tokenizer: str = "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
    **client: Any,
) -> ChatSpeculativeThinking:
    """Make the pair. Each tokenizer is a Hub id or a folder."""
    return ChatSpeculativeThinking(
        speculative=OpenAIBackend(small, base_url=small_url, tokenizer=small_tokenizer, **client),
        target=OpenAIBackend(large, base_url=large_url, tokenizer=large_tokenizer, **client),
    )


if __name__ == "__main__":
    ask(build)
