"""Models named in one word."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from langchain_spec_thinking import HuggingFaceBackend, OpenAIBackend

if TYPE_CHECKING:
    from langchain_spec_thinking import Backend

_REMOTE = "openai:"


def backend_of(spec: str) -> Backend:
    """Make the backend that a text names.

    Args:
        spec: A Hub id or a folder; or `openai:NAME@URL`, with `#TOKENIZER` after it where the tokenizer is at hand.

    Raises:
        ValueError: A remote model has no address.
        BackendError: The model cannot be loaded.
    """
    if not spec.startswith(_REMOTE):
        return HuggingFaceBackend(spec)
    address, _, tokenizer = spec.removeprefix(_REMOTE).partition("#")
    name, _, url = address.rpartition("@")
    if not name or "://" not in url:
        msg = f"{spec}: expected openai:NAME@URL, for example openai:qwen@http://127.0.0.1:8000/v1"
        raise ValueError(msg)
    key = os.environ.get("OPENAI_API_KEY") or None  # the address was typed by whoever holds the key
    return OpenAIBackend(name, base_url=url, api_key=key, tokenizer=tokenizer or None)
