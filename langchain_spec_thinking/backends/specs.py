"""Backends from a one-line specification."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.chat_model import ChatModelBackend
from langchain_spec_thinking.backends.local.backend import HuggingFaceBackend
from langchain_spec_thinking.backends.openai.address import ADDRESS_VARIABLES, OPENAI_URL, address_in_environment
from langchain_spec_thinking.backends.openai.backend import OpenAIBackend
from langchain_spec_thinking.backends.redaction import without_credentials

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel

    from langchain_spec_thinking.backends.base import Backend

_ADDRESS = re.compile(r"(?P<name>.+?)@(?P<url>\w+://[^#]+)(?:#(?P<tokenizer>.*))?")
_NAME = re.compile(r"(?P<name>[^@#]+)(?:#(?P<tokenizer>.*))?")
"""The name of a model whose server is the one in the environment."""
_REMOTE = "openai:NAME@URL, for example openai:qwen@http://127.0.0.1:8000/v1"
_FORMS = (
    f"huggingface:ID_OR_FOLDER, {_REMOTE}, followed by #TOKENIZER if the tokenizer is available on "
    "this machine, or provider:model as for LangChain's init_chat_model"
)


def backend_of(spec: str, *, api_key: str | None = None) -> Backend:
    """Create the backend that a specification describes.

    Args:
        spec: `huggingface:ID_OR_FOLDER`, followed by `/FILE.gguf` for a GGUF file in it; or `openai:NAME@URL`,
            followed by `#TOKENIZER` if the tokenizer is available on this machine; or any other `provider:model` of
            `langchain.chat_models.init_chat_model`. The prefix `huggingface:` is optional for a Hub id with its owner,
            for a folder, and for a GGUF file. `@URL` is optional if `OPENAI_API_BASE` or `OPENAI_BASE_URL` holds the
            address.
        api_key: API key of an `openai:` server. The default is `OPENAI_API_KEY` for OpenAI and for the address in the
            environment, and no key for other servers.

    Raises:
        ValueError: `spec` matches none of these forms, or a remote model has no URL.
        ImportError: A required package is not installed.
        BackendError: The model cannot be loaded.
    """
    prefix, _, rest = spec.partition(":")
    if prefix == "huggingface" and rest:
        return _local(rest)
    if prefix == "openai":
        return _remote(spec, rest, api_key)
    if rest and re.fullmatch(r"[a-z][a-z0-9_-]+", prefix):
        return ChatModelBackend(_chat_model(spec))
    if "/" in spec or spec.endswith(".gguf") or os.path.isdir(spec):  # noqa: PTH112 - the text may not be a path
        return _local(spec)
    msg = f"{without_credentials(spec)}: expected {_FORMS}"
    raise ValueError(msg)


def _local(model: str) -> HuggingFaceBackend:
    if not model.endswith(".gguf"):
        return HuggingFaceBackend(model)
    folder, file = os.path.split(model)
    return HuggingFaceBackend(folder or ".", gguf_file=file)


def _remote(spec: str, rest: str, api_key: str | None) -> OpenAIBackend:
    found = _ADDRESS.fullmatch(rest) or (_NAME.fullmatch(rest) if address_in_environment() else None)
    if found is None:
        msg = (
            f"{without_credentials(spec)}: expected {_REMOTE}; OpenAI itself is at {OPENAI_URL}. Without an address, "
            f"set {' or '.join(ADDRESS_VARIABLES)}"
        )
        raise ValueError(msg)
    settings = found.groupdict()
    tokenizer = settings["tokenizer"] or None
    return OpenAIBackend(settings["name"], base_url=settings.get("url"), api_key=api_key, tokenizer=tokenizer)


def _chat_model(spec: str) -> BaseChatModel:
    provider, _, name = spec.partition(":")
    try:
        from langchain.chat_models import init_chat_model  # noqa: PLC0415 - an optional package
    except ImportError as e:
        msg = f"{spec}: a provider:model name needs the package `langchain`. Install it with `pip install langchain`."
        raise ImportError(msg) from e
    try:
        return init_chat_model(name, model_provider=provider)
    except ValueError as e:
        msg = f"{spec}: expected {_FORMS}; LangChain says: {e}"
        raise ValueError(msg) from e
