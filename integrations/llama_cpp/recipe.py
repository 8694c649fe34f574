"""A pair on two llama.cpp servers."""

from __future__ import annotations

from integrations.server_pair import ServedModel, ask

SMALL = ServedModel("small", url="http://127.0.0.1:8081/v1", tokenizer="deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B")
LARGE = ServedModel("large", url="http://127.0.0.1:8080/v1", tokenizer="deepseek-ai/DeepSeek-R1-Distill-Qwen-32B")

if __name__ == "__main__":
    ask(SMALL, LARGE)
