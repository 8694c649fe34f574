"""A pair of a small model on your own server and a large model at DeepSeek."""

from __future__ import annotations

from integrations.server_pair import ServedModel, ask

SMALL = ServedModel(
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
    url="http://127.0.0.1:8001/v1",
    tokenizer="deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
)
LARGE = ServedModel("deepseek-flash", url="https://api.deepseek.com/beta", key_variable="DEEPSEEK_API_KEY")

if __name__ == "__main__":
    ask(SMALL, LARGE)
