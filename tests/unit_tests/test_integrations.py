"""Tests of every recipe with fakes of the servers that it uses."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from integrations.ask_pair import answer_with_authors, ask
from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends import tiny
from tests.unit_tests.providers.engines import VLLM, LlamaCpp, Ollama, SGLang, TransformersServe
from tests.unit_tests.providers.model import ANSWER, TEXTS
from tests.unit_tests.providers.services import DeepSeek, OpenRouter
from tests.unit_tests.test_applications import APPLICATIONS
from tests.unit_tests.wire import KEY

if TYPE_CHECKING:
    from types import ModuleType

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


def recipe(name: str) -> ModuleType:
    return import_module(f"integrations.{name}.recipe")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.byte_tokenizer(tiny.THINKING_TEMPLATE).save_pretrained(folder)
    return str(folder)


def build_recipe(name: str, tokenizer: str) -> ChatSpeculativeThinking:
    """Return the recipe's pair. The fake at each address answers its requests in this process."""
    build = recipe(name).build
    defaults = {p.name: p.default for p in inspect.signature(build).parameters.values()}
    urls = [url for setting, url in defaults.items() if setting.endswith("url")]
    kinds = dict(zip([urls[0], urls[-1]], RECIPES[name][:2], strict=True))
    servers = {_address(httpx2.URL(url)): _provider_at(kind, url) for url, kind in kinds.items()}

    def answer(request: httpx2.Request) -> httpx2.Response:
        return servers[_address(request.url)](request)

    async def aanswer(request: httpx2.Request) -> httpx2.Response:
        return answer(request)

    settings = {setting: tokenizer for setting in defaults if setting.endswith("tokenizer")}
    pair: ChatSpeculativeThinking = build(
        **settings,
        api_key=KEY,
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
        http_async_client=httpx2.AsyncClient(transport=httpx2.MockTransport(aanswer)),
    )
    return pair


def _provider_at(kind: type[Provider], url: str) -> Provider:
    """Return a fake provider at another address."""
    moved: type[Provider] = type(kind.__name__, (kind,), {"url": url})
    return moved(TEXTS["thinking"])


def _address(url: httpx2.URL) -> tuple[str, int | None]:
    return url.host, url.port


@pytest.mark.parametrize("name", RECIPES)
async def test_a_recipe_makes_a_pair_that_answers(name: str, tokenizer: str) -> None:
    pair = build_recipe(name, tokenizer)
    for message in (pair.invoke("2 + 3?"), await pair.ainvoke("2 + 3?")):
        assert message.text == ANSWER
        report = message.response_metadata["speculative_thinking"]
        assert {segment["author"] for segment in report["segments"]} == {"speculative", "target"}
        assert report["degraded"] == []
        assert re.search(r"\d takeovers, \d+% by the large model\nspeculative +thinking", answer_with_authors(message))
    assert pair.target.describe()["continuation"] == RECIPES[name][2]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_page_shows_its_code_and_its_strategy(name: str) -> None:
    page = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    assert inspect.getsource(recipe(name).build).strip() in code
    pasted: dict[str, Any] = {}
    exec(code, pasted)  # noqa: S102 - runs the code as readers do
    assert inspect.signature(pasted["build"]) == inspect.signature(recipe(name).build)
    assert f"`{RECIPES[name][2]}`" in page
    assert f"python -m integrations.{name}.recipe" in page
    assert "## What `spec-thinking doctor` prints" in page
    assert len(page.partition("## What")[0].splitlines()) <= 60
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"]({name}/README.md)" in index


def test_all_folders_are_tested() -> None:
    assert {path.parent.name for path in FOLDER.glob("*/recipe.py")} == {*RECIPES, *APPLICATIONS}


def test_settings_come_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    settings: list[dict[str, Any]] = []

    def build(small: str = "a", small_url: str = "b", **client: Any) -> ChatSpeculativeThinking:
        settings.append({"small": small, "small_url": small_url, **client})
        return ChatSpeculativeThinking(speculative=ScriptedBackend("Seven."), target=ScriptedBackend())

    ask(build, ["--small", "x", "--question", "What is 3 plus 4?"])
    assert settings == [{"small": "x", "small_url": "b"}]
    assert capsys.readouterr().out.startswith("Seven.\n\n0 takeovers, 0% by the large model\nspeculative answer ")
