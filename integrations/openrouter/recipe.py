"""A pair of a small model on your own server and a large model at OpenRouter."""

from __future__ import annotations

import os
from typing import Any

from integrations.ask_pair import ask
from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend

SMALL = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"


def build(
    small: str = SMALL,
    large: str = "qwen/qwen3-32b",
    small_url: str = "http://127.0.0.1:8001/v1",
    large_url: str = "https://openrouter.ai/api/v1",
    small_tokenizer: str = SMALL,
    **client: Any,
) -> ChatSpeculativeThinking:
    """Make the pair. The API key comes from the environment variable OPENROUTER_API_KEY."""
    key = os.environ.get("OPENROUTER_API_KEY", "")
    return ChatSpeculativeThinking(
        speculative=OpenAIBackend(small, base_url=small_url, tokenizer=small_tokenizer, **client),
        target=OpenAIBackend(large, base_url=large_url, **{"api_key": key, **client}),
    )


if __name__ == "__main__":
    ask(build)
