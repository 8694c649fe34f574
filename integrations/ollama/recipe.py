"""A pair on one Ollama server. Ollama takes no raw prompts, so the models have no tokenizers."""

from __future__ import annotations

from integrations.server_pair import ServedModel, ask

SMALL = ServedModel("deepseek-r1:1.5b", url="http://127.0.0.1:11434/v1")
LARGE = ServedModel("deepseek-r1:32b", url="http://127.0.0.1:11434/v1")

if __name__ == "__main__":
    ask(SMALL, LARGE)
