"""The doctor examines fake servers and models."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from rich.console import Console
from typer.testing import CliRunner

from langchain_spec_thinking import pocket
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.cli.diagnosis import examine
from langchain_spec_thinking.cli.doctor import expected_behaviour, recommendations, report, show
from tests.unit_tests.backends import tiny
from tests.unit_tests.providers.engines import VLLM, LlamaCppPython, Ollama, TransformersServe
from tests.unit_tests.providers.model import ANSWER
from tests.unit_tests.providers.services import DeepSeek, DeepSeekNotBeta, Groq, OpenRouter
from tests.unit_tests.wire import KEY, Server, refused

if TYPE_CHECKING:
    from tests.unit_tests.providers.fake import Provider

TOKENIZER: dict[str, Any] = {"tokenizer": tiny.byte_tokenizer()}


@pytest.mark.parametrize(
    ("kind", "settings", "engine", "tried", "continues_by"),
    [
        (VLLM, {}, "vLLM", {"chat_flag": "continued", "chat_trailing": "started again"}, "chat_flag"),
        (VLLM, TOKENIZER, "vLLM", {"raw": "continued"}, "raw"),
        (Ollama, {}, "Ollama", {"chat_trailing": "continued"}, "chat_trailing"),
        (Ollama, TOKENIZER, "Ollama", {"raw": "wrapped the prompt"}, "chat_trailing"),
        (LlamaCppPython, {}, "llama-cpp-python", {"chat_flag": "started again"}, "chat_instruct"),
        (TransformersServe, {}, "an unknown server", {"chat_flag": "refused"}, "chat_instruct"),
    ],
)
def test_the_strategies_that_continue_a_reply_are_found(
    kind: type[Provider], settings: dict[str, Any], engine: str, tried: dict[str, str], continues_by: str
) -> None:
    found = examine(kind(ANSWER).backend(**settings))
    assert found.error is None
    assert (found.engine, found.continues_by) == (engine, continues_by)
    assert {trial.strategy: trial.outcome for trial in found.trials}.items() >= tried.items()
    assert found.streams
    assert found.tells_usage == kind.usage_streams
    assert KEY not in json.dumps(found.as_dict())


def test_advice_is_given() -> None:
    found = examine(LlamaCppPython(ANSWER).backend())
    assert any("Give the model's tokenizer" in line for line in found.advice)
    assert not any("tokenizer" in line for line in examine(LlamaCppPython(ANSWER).backend(**TOKENIZER)).advice)
    assert any("--enable-prompt-tokens-details" in line for line in examine(VLLM(ANSWER).backend()).advice)


@pytest.mark.parametrize(
    ("kind", "settings", "advised"),
    [
        (DeepSeek, {}, False),
        (DeepSeekNotBeta, {}, True),
        (OpenRouter, {}, True),
        (OpenRouter, {"extra_body": {"provider": {"order": ["acme"]}}}, False),
        (Ollama, {}, True),
    ],
)
def test_advice_that_is_followed_is_not_given(kind: type[Provider], settings: dict[str, Any], advised: bool) -> None:
    backend = kind(ANSWER).backend(**settings)
    given = examine(backend).advice
    assert (backend.profile.engine.advice in given) == advised


def test_a_service_that_bills_after_a_disconnect_is_named() -> None:
    sides = {"target": examine(Groq(ANSWER).backend())}
    assert sides["target"].stops_on_hangup is False
    assert any("requests are limited to 256 tokens" in line for line in expected_behaviour(sides))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx2.ConnectError("refused"), "Check that the server is running"),
        (refused(401, f"bad key {KEY}"), "Check `api_key`"),
        (refused(404, "no such model"), "Check the model's name"),
    ],
)
def test_an_unreachable_server_gives_a_one_line_error(answer: Any, says: str) -> None:
    found = examine(Server(answer).backend(max_retries=0))
    assert says in str(found.error)
    assert KEY not in json.dumps(found.as_dict())
    assert list(recommendations({"target": found})) == [f"target: {found.error}"]
    assert report({"target": found})["pair"] == []


def test_a_model_that_is_not_listed_is_reported() -> None:
    class Other(VLLM):
        """A server that lists another model."""

        def models(self) -> dict[str, Any]:
            return {"data": [{"id": "other", "object": "model", "owned_by": "vllm"}]}

    found = examine(Other(ANSWER).backend())
    assert found.model_there is False
    assert "The server does not list big. It lists other." in found.advice


def test_a_local_model_is_examined_too() -> None:
    found = examine(pocket.speculative())
    assert (found.thinks, found.streams, found.error) == (True, True, None)
    assert found.cached_tokens is not None
    assert found.prompt_tokens is not None
    assert 0 < found.cached_tokens < found.prompt_tokens
    assert found.context
    [mode, side, *_] = expected_behaviour({"speculative": found})
    assert mode.startswith("Reasoning mode")
    assert "prefills only the new text" in side


def test_the_findings_are_printed() -> None:
    console = Console(file=StringIO(), width=120)
    sides = {"speculative": examine(VLLM(ANSWER).backend(**TOKENIZER)), "target": examine(VLLM(ANSWER).backend())}
    show(console, sides)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "speculative: big",
        "http://vllm.test",
        "continued",
        "What the pair will do",
        "Non-reasoning mode",
        "Both sides are the same model",
    ):
        assert words in shown


def test_the_command_prints_json_and_fails_if_a_model_is_unreachable() -> None:
    result = CliRunner().invoke(app, ["doctor", "--target", "openai:m", "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert "expected openai:NAME@URL" in found["target"]["error"]
    assert found["changes"]


def test_the_command_needs_at_least_one_model() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 2
    assert "Give --speculative or --target." in result.output
