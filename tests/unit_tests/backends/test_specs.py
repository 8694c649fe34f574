"""Tests of backends from a one-line specification."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking, HuggingFaceBackend, OpenAIBackend
from langchain_spec_thinking.backends.specs import backend_of
from langchain_spec_thinking.errors import BackendError
from tests.unit_tests.backends import tiny

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_spec_thinking import Backend

SERVER = "openai:org/name@http://127.0.0.1:8000/v1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model")
    tiny.llama().save_pretrained(path)
    tiny.byte_tokenizer(tiny.THINKING_TEMPLATE).save_pretrained(path)
    return str(path)


def key_of(backend: Backend) -> str:
    assert isinstance(backend, OpenAIBackend)
    return backend.client.api_key


def test_a_folder_creates_a_local_backend(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in (folder, f"huggingface:{folder}"):
        backend = backend_of(spec)
        assert isinstance(backend, HuggingFaceBackend)
        assert backend.name == folder.rsplit("/", 1)[1]
    monkeypatch.chdir(f"{folder}/..")
    assert backend_of(folder.rsplit("/", 1)[1]).name == folder.rsplit("/", 1)[1]


def test_an_openai_spec_creates_a_server_backend(folder: str) -> None:
    backend = backend_of(SERVER)
    assert isinstance(backend, OpenAIBackend)
    assert backend.describe()["name"] == "org/name"
    assert backend.describe()["base_url"] == "http://127.0.0.1:8000/v1"
    assert not backend.thinks
    assert backend_of(f"{SERVER}#{folder}").thinks  # detected from the chat template


def test_the_key_of_openai_goes_only_to_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    assert key_of(backend_of("openai:m@https://api.openai.com/v1/")) == "sk-mine"
    assert key_of(backend_of(SERVER)) == "none"
    assert key_of(backend_of(SERVER, api_key="sk-theirs")) == "sk-theirs"


def test_a_provider_and_model_create_a_chat_model_backend() -> None:
    backend = backend_of("anthropic:claude-sonnet-4-5")
    assert isinstance(backend, ChatModelBackend)
    assert backend.name == "claude-sonnet-4-5"
    assert backend.describe()["class"] == "ChatAnthropic"


@pytest.fixture(autouse=True)
def _a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gpt-5", r"^gpt-5: expected huggingface:ID_OR_FOLDER, openai:NAME@URL"),
        ("huggingface:", r"^huggingface:: expected huggingface:ID_OR_FOLDER"),
        ("", "expected huggingface:ID_OR_FOLDER"),
        ("openai:name", "expected openai:NAME@URL.*OpenAI itself is at https://api.openai.com/v1"),
        ("openai:@http://127.0.0.1/v1", "expected openai:NAME@URL"),
        ("openai:name@127.0.0.1", "expected openai:NAME@URL"),
        ("nobody:model", r"^nobody:model: expected .* LangChain says: .*nobody"),
    ],
)
def test_an_invalid_spec_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        backend_of(spec)
    with pytest.raises(ValidationError, match=r"(?s)target.*expected"):
        ChatSpeculativeThinking(speculative=SERVER, target=spec)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot be loaded"):
        ChatSpeculativeThinking(speculative=SERVER, target=f"huggingface:{tmp_path}")


@pytest.mark.parametrize(
    ("spec", "missing", "message"),
    [
        ("groq:llama", "langchain_groq", "install.*langchain.groq"),
        ("groq:llama", "langchain.chat_models", "pip install langchain`"),
    ],
)
def test_a_missing_package_is_named(spec: str, missing: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=message):
        backend_of(spec)


def test_a_pair_can_be_created_from_two_specs(folder: str) -> None:
    pair = ChatSpeculativeThinking(speculative=f"huggingface:{folder}", target=SERVER)
    assert isinstance(pair.speculative, HuggingFaceBackend)
    assert isinstance(pair.target, OpenAIBackend)
    settings: Any = {"speculative": SERVER, "target": "anthropic:claude-sonnet-4-5"}
    assert isinstance(ChatSpeculativeThinking(**settings).target, ChatModelBackend)
