"""The models that options name: own backends by their module, and the pocket pair."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking, pocket
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.cli.models import backend
from langchain_spec_thinking.cli.pairs import pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = """
from langchain_core.language_models import FakeListChatModel
from langchain_spec_thinking.testing import ScriptedBackend


class Mine(ScriptedBackend):
    def __init__(self):
        super().__init__("Hello.", name="mine")


def function():
    return ScriptedBackend("Hello.", name="from a function")


def chat_model():
    return FakeListChatModel(responses=["Hello."])


def needs_a_key(key):
    return Mine()


instance = ScriptedBackend("Hello.", name="an instance")
instance_of_a_chat_model = FakeListChatModel(responses=["Hello."])
number = 3
"""


@pytest.fixture(autouse=True)
def _own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "own_models.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "broken_models.py").write_text("import no_such_package\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant")
    yield
    sys.modules.pop("own_models", None)


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        pytest.param("Mine", "mine", id="a class is called"),
        pytest.param("function", "from a function", id="a function is called"),
        pytest.param("instance", "an instance", id="an instance is used as it is"),
        pytest.param("chat_model", "FakeListChatModel", id="a function may return a chat model"),
        pytest.param("instance_of_a_chat_model", "FakeListChatModel", id="a chat model is wrapped"),
    ],
)
def test_an_own_backend_is_named_by_its_module(attribute: str, name: str) -> None:
    assert backend(f"own_models:{attribute}", "target").name == name


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("own_models:number", "^own_models:number: expected a Backend or a LangChain chat model, .* got int"),
        ("own_models:needs_a_key", "expected a class or a function that needs no arguments .*'key'"),
        ("own_models:Nobody", "^Read as module:attribute, own_models:Nobody: .* no attribute 'Nobody'. Otherwise, "),
        ("broken_models:Mine", "^Read as module:attribute, .* No module named 'no_such_package'. Otherwise, "),
        (
            "no_models:Mine",
            "^Read as module:attribute, .* No module named 'no_models'. Otherwise, .* says: .*no_models",
        ),
        ("pocket:huge", "^pocket:huge: expected pocket:small or pocket:large$"),
    ],
)
def test_a_name_of_nothing_is_refused(spec: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        backend(spec, "speculative")


def test_a_model_of_a_provider_is_not_taken_for_an_own_backend() -> None:
    # The package `anthropic` is installed, and it has no such attribute.
    found = backend("anthropic:claude", "speculative")
    assert isinstance(found, ChatModelBackend)
    assert found.name == "claude"


def test_python_does_not_import_a_module_for_a_name() -> None:
    with pytest.raises(ValidationError, match="expected"):
        ChatSpeculativeThinking(speculative="own_models:Mine", target="own_models:Mine")
    assert "own_models" not in sys.modules


def test_the_doctor_examines_an_own_backend() -> None:
    result = CliRunner().invoke(app, ["doctor", "--speculative", "own_models:Mine"])
    assert result.exit_code == 0, result.output
    assert "speculative: mine" in result.output


def test_the_models_of_the_pocket_pair_have_names() -> None:
    assert backend("pocket:small", "speculative") is pocket.speculative()
    assert backend("pocket:large", "target") is pocket.target()


@pytest.mark.parametrize(
    ("names", "temperature", "expected"),
    [
        pytest.param((None, None), None, 0, id="the pocket pair is greedy"),
        pytest.param(("pocket:small", "pocket:large"), None, 0, id="the pocket pair by name is greedy too"),
        pytest.param((None, None), 0.5, 0.5, id="a given temperature counts"),
        pytest.param(("own_models:Mine", "pocket:large"), None, 0.6, id="any other pair samples"),
    ],
)
def test_the_default_temperature_depends_on_the_pair(
    names: tuple[str | None, str | None], temperature: float | None, expected: float
) -> None:
    model = pair(*names, max_tokens=9, temperature=temperature, seed=None, answer_by="speculative")
    assert model.temperature == expected
