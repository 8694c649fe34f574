"""A pair on two `transformers serve` servers."""

from __future__ import annotations

from typing import Any

from integrations.ask_pair import ask
from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend

SMALL = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
LARGE = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"


def build(
    small: str = SMALL,
    large: str = LARGE,
    small_url: str = "http://127.0.0.1:8001/v1",
    large_url: str = "http://127.0.0.1:8000/v1",
    small_tokenizer: str = SMALL,
    large_tokenizer: str = LARGE,
    **client: Any,
) -> ChatSpeculativeThinking:
    """Make the pair. Each tokenizer is a Hub id or a folder."""
    return ChatSpeculativeThinking(
        speculative=OpenAIBackend(small, base_url=small_url, tokenizer=small_tokenizer, **client),
        target=OpenAIBackend(large, base_url=large_url, tokenizer=large_tokenizer, **client),
    )


if __name__ == "__main__":
    ask(build)
