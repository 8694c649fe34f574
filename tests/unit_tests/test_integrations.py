"""Tests of every recipe with fakes of the servers that it uses."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from integrations.server_pair import ServedModel, answer_with_authors, ask, pair
from tests.unit_tests.backends import tiny
from tests.unit_tests.providers.engines import VLLM, LlamaCpp, Ollama, SGLang, TransformersServe
from tests.unit_tests.providers.model import ANSWER, TEXTS
from tests.unit_tests.providers.services import DeepSeek, OpenRouter
from tests.unit_tests.test_applications import APPLICATIONS
from tests.unit_tests.wire import KEY

if TYPE_CHECKING:
    from tests.unit_tests.providers.fake import Provider

FOLDER = Path(__file__).parents[2] / "integrations"
RECIPES: dict[str, tuple[type[Provider], type[Provider], str]] = {
    "vllm": (VLLM, VLLM, "raw"),
    "sglang": (SGLang, SGLang, "raw"),
    "llama_cpp": (LlamaCpp, LlamaCpp, "raw"),
    "ollama": (Ollama, Ollama, "chat_trailing"),
    "transformers_serve": (TransformersServe, TransformersServe, "raw"),
    "deepseek": (VLLM, DeepSeek, "chat_mark"),
    "openrouter": (VLLM, OpenRouter, "chat_trailing"),
}
"""Server of the small model, server of the large model, and continuation strategy of the large model."""


class Recipe:
    """A recipe with a tokenizer from a folder, and the settings that send its requests to fakes in this process."""

    def __init__(self, name: str, tokenizer: str) -> None:
        module = import_module(f"integrations.{name}.recipe")
        self.models: tuple[ServedModel, ServedModel] = (module.SMALL, module.LARGE)
        self.small, self.large = (replace(m, tokenizer=tokenizer if m.tokenizer else None) for m in self.models)
        kinds = dict(zip([self.small.url, self.large.url], RECIPES[name][:2], strict=True))
        self._servers = {_address(httpx2.URL(url)): _provider_at(kind, url) for url, kind in kinds.items()}
        self.keys: set[str | None] = set()
        self.settings: dict[str, Any] = {
            "http_client": httpx2.Client(transport=httpx2.MockTransport(self._answer)),
            "http_async_client": httpx2.AsyncClient(transport=httpx2.MockTransport(self._aanswer)),
        }

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if _address(request.url) == _address(httpx2.URL(self.large.url)):
            self.keys.add(request.headers.get("authorization"))
        return self._servers[_address(request.url)](request)

    async def _aanswer(self, request: httpx2.Request) -> httpx2.Response:
        return self._answer(request)


def _provider_at(kind: type[Provider], url: str) -> Provider:
    """Return a fake provider at another address."""
    moved: type[Provider] = type(kind.__name__, (kind,), {"url": url})
    return moved(TEXTS["thinking"])


def _address(url: httpx2.URL) -> tuple[str, int | None]:
    return url.host, url.port


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.byte_tokenizer(tiny.THINKING_TEMPLATE).save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("DEEPSEEK", "OPENROUTER"):
        monkeypatch.setenv(f"{service}_API_KEY", KEY)


@pytest.mark.parametrize("name", RECIPES)
async def test_a_recipe_makes_a_pair_that_answers(name: str, tokenizer: str) -> None:
    recipe = Recipe(name, tokenizer)
    both = pair(recipe.small, recipe.large, **recipe.settings)
    for message in (both.invoke("2 + 3?"), await both.ainvoke("2 + 3?")):
        assert message.text == ANSWER
        report = message.response_metadata["speculative_thinking"]
        assert {segment["author"] for segment in report["segments"]} == {"speculative", "target"}
        assert report["degraded"] == []
        assert re.search(r"\d takeovers, \d+% by the large model\nspeculative +thinking", answer_with_authors(message))
    assert both.target.describe()["continuation"] == RECIPES[name][2]
    assert recipe.keys == {f"Bearer {KEY if recipe.large.key_variable else 'none'}"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_page_makes_the_same_pair(name: str, tokenizer: str) -> None:
    page = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    recipe = Recipe(name, tokenizer)
    assert re.findall(r'tokenizer="(.*)"', code) == [model.tokenizer for model in recipe.models if model.tokenizer]
    pasted: dict[str, Any] = {}
    exec(re.sub(r'tokenizer=".*"', f"tokenizer={tokenizer!r}", code), pasted)  # noqa: S102 - runs the code as readers do
    shown, made = pasted["model"], pair(recipe.small, recipe.large)
    assert shown.speculative.describe() == made.speculative.describe()
    assert shown.target.describe() == made.target.describe()
    assert re.findall(r'environ\["(.*)"\]', code) == [m.key_variable for m in recipe.models if m.key_variable]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_page_is_complete(name: str) -> None:
    page = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    assert f"`{RECIPES[name][2]}`" in page
    assert f"python -m integrations.{name}.recipe" in page
    assert "## What `spec-thinking doctor` prints" in page
    assert len(page.partition("## What")[0].splitlines()) <= 60
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"]({name}/README.md)" in index


def test_all_folders_are_tested() -> None:
    assert {path.parent.name for path in FOLDER.glob("*/recipe.py")} == {*RECIPES, *APPLICATIONS, "laptop_and_api"}


def test_models_and_question_come_from_the_command_line(capsys: pytest.CaptureFixture[str], tokenizer: str) -> None:
    recipe = Recipe("vllm", tokenizer)
    elsewhere = replace(recipe.small, name="other", url="http://127.0.0.1:1/v1", tokenizer="other")
    given = ["--small", recipe.small.name, "--small-url", recipe.small.url, "--small-tokenizer", tokenizer]
    ask(elsewhere, recipe.large, [*given, "--question", "2 + 3?"], **recipe.settings)
    shown = capsys.readouterr().out
    assert shown.startswith(f"{ANSWER}\n\n")
    assert re.search(r"\d takeovers, \d+% by the large model\nspeculative ", shown)


def test_a_missing_key_is_an_error_that_names_the_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tokenizer: str
) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY")
    recipe = Recipe("deepseek", tokenizer)
    with pytest.raises(SystemExit):
        ask(recipe.small, recipe.large, [], **recipe.settings)
    assert "set DEEPSEEK_API_KEY to the API key for https://api.deepseek.com/beta" in capsys.readouterr().err
