"""A pair on two `transformers serve` servers."""

from __future__ import annotations

from integrations.server_pair import ServedModel, ask

SMALL = ServedModel(
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
    url="http://127.0.0.1:8001/v1",
    tokenizer="deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
)
LARGE = ServedModel(
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    url="http://127.0.0.1:8000/v1",
    tokenizer="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
)

if __name__ == "__main__":
    ask(SMALL, LARGE)
