"""Tests of the recipes for applications with scripted pairs."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import typer
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from typer.testing import CliRunner

from integrations.deepagents import recipe as deepagents
from integrations.langgraph_agent import recipe as langgraph_agent
from integrations.rag_chain import recipe as rag_chain
from integrations.rag_chain.retriever import BM25Retriever
from integrations.watch_agent import agent_output, watch
from langchain_spec_thinking.policy import DelegationPolicy
from langchain_spec_thinking.testing import ScriptedBackend, words
from tests.unit_tests.tool_task import TAKEN_OVER, call, thinking

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_spec_thinking.turn import Turn

FOLDER = Path(__file__).parents[2] / "integrations"
APPLICATIONS = ["langgraph_agent", "deepagents", "rag_chain", "openai_server", "ray_serve"]
POLICY = DelegationPolicy(takeover_tokens=len(words(TAKEN_OVER)))


def pair(small: Callable[[Turn], str]) -> dict[str, Any]:
    """Return the arguments of a recipe's `build`."""
    return {
        "speculative": ScriptedBackend(lambda turn: thinking(turn, small(turn)), name="small", thinks=True),
        "target": ScriptedBackend(f"{TAKEN_OVER} and so on.", name="large", thinks=True),
        "policy": POLICY,
    }


def buyer(turn: Turn) -> str:
    results = [message.content for message in turn.history if message.role == "tool"]
    match results:
        case []:
            return call("exchange", amount=20, source="EUR", to="USD")
        case [dollars]:
            return call("divide", dividend=float(dollars), divisor=3.5)
        case [_, bags]:
            return call("order", item="tea", quantity=int(bags))
        case [_, bags, _]:
            return f"I ordered {bags} bags."
    return "You are welcome."


def test_an_agent_orders_tea_and_remembers_it() -> None:
    agent = langgraph_agent.build(**pair(buyer))
    text = "".join(agent_output(agent, langgraph_agent.QUESTION))
    assert 'exchange({"amount": 20, "source": "EUR", "to": "USD"})' in text
    assert "exchange -> 25.0" in text
    assert "divide -> 7" in text
    assert "order -> 7 x tea: ordered" in text
    assert "I ordered 7 bags." in text
    assert text.count(f"[target] {TAKEN_OVER}") == 4
    assert text.count("(1 takeovers, ") == 4
    messages = agent.invoke({"messages": [HumanMessage("Thanks.")]}, {"configurable": {"thread_id": "1"}})["messages"]
    assert messages[-1].text.endswith("I ordered 7 bags.")
    assert len(messages) == 10


def counter(turn: Turn) -> str:
    question = next(message.content for message in turn.history if message.role == "user")
    results = [message.content for message in turn.history if message.role == "tool"]
    if question.startswith("Count"):
        return f"There are {results[0]}." if results else call("leap_years", first=1890, last=2026)
    match results:
        case []:
            return call("write_file", file_path="/plan.md", content="1. Count. 2. Report.")
        case [_]:
            return call("task", description="Count from 1890 to 2026.", subagent_type="general-purpose")
        case [_, counted]:
            return call("write_file", file_path="/report.md", content=counted)
    return "It is in /report.md."


def test_a_deep_agent_writes_a_report() -> None:
    agent = deepagents.build(**pair(counter))
    state = agent.invoke({"messages": [("user", deepagents.QUESTION)]})
    assert state["messages"][-1].text == "It is in /report.md."
    assert set(state["files"]) == {"/plan.md", "/report.md"}
    assert "There are 33." in str(state["files"]["/report.md"])


def test_a_chain_answers_from_the_passages_found() -> None:
    seen: list[str] = []

    def reader(turn: Turn) -> str:
        seen.append(turn.history[0].content)
        return "The small model goes on alone [1]."

    chain = rag_chain.build(**pair(reader))
    result = chain.invoke(rag_chain.QUESTION)
    assert isinstance(result["answer"], AIMessage)
    assert result["answer"].text == "The small model goes on alone [1]."
    assert len(result["found"]) == 4
    for i, passage in enumerate(result["found"], 1):
        assert f"[{i}] ({passage.metadata['page']}) {passage.page_content}" in seen[0]
    *_, last = chain.stream(rag_chain.QUESTION)
    assert "answer" in last


PASSAGES = ["the cat sat on the mat", "the dog", "a cat and another cat, cat, cat", "the end", "the moon and the sea"]


@pytest.mark.parametrize(
    ("question", "found"),
    [("Where is the cat?", [2, 0]), ("moon", [4]), ("nothing of it", []), ("", []), ("THE DOG", [1, 4])],
)
def test_rare_words_weigh_more_than_common_ones(question: str, found: list[int]) -> None:
    retriever = BM25Retriever([Document(text) for text in PASSAGES], k=2)
    assert [PASSAGES.index(document.page_content) for document in retriever.invoke(question)] == found


def test_without_documents_nothing_is_found() -> None:
    assert BM25Retriever([]).invoke("anything") == []


def test_an_agent_is_made_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    made: list[tuple[str, str]] = []

    def build(speculative: str, target: str) -> Any:
        """Return a pair."""
        made.append((speculative, target))
        return langgraph_agent.build(**pair(lambda _: "Hello."))

    watch(build, "Hi?", ["--speculative", "a/b", "--target", "openai:c@http://d/v1"])
    assert made == [("a/b", "openai:c@http://d/v1")]
    assert "Hello.\n(1 takeovers, " in capsys.readouterr().out


@pytest.fixture
def ray_recipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The recipe for Ray, which is installed in another environment."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(serve=None))
    monkeypatch.setenv("SPEC_THINKING_API_KEY", "sk-ray")
    yield import_module("integrations.ray_serve.recipe")
    sys.modules.pop("integrations.ray_serve.recipe")


def run_ray_recipe(recipe: Any, *options: str) -> Any:
    application = typer.Typer()
    application.command()(recipe.main)
    return CliRunner().invoke(application, options, terminal_width=200)


def test_the_help_of_the_recipe_for_ray_promises_only_what_a_replica_does(ray_recipe: Any) -> None:
    """A replica makes the models from their names, and the command line of the package is not involved."""
    help_ = run_ray_recipe(ray_recipe, "--help").output
    assert "openai:NAME@URL" in help_
    for words_ in ("pocket:small", "module:attribute", "SPECULATIVE_API_KEY", "TARGET_API_KEY"):
        assert words_ not in help_


@pytest.mark.parametrize("option", ["--speculative", "--target"])
def test_the_recipe_for_ray_needs_both_models_or_none(option: str, ray_recipe: Any) -> None:
    result = run_ray_recipe(ray_recipe, option, "openai:x@http://127.0.0.1:1/v1")
    assert result.exit_code == 2
    assert "name both models" in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_recipes_page_shows_its_code(name: str) -> None:
    page = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    source = (FOLDER / name / "recipe.py").read_text(encoding="utf-8")
    if name == "ray_serve":  # Ray is installed in another environment, so this test cannot import the recipe
        assert textwrap.indent(code, "    ") in source
    else:
        assert inspect.getsource(import_module(f"integrations.{name}.recipe").build).strip() in code
    assert f"python -m integrations.{name}.recipe" in page
    assert len(page.splitlines()) <= 60
    assert f"]({name}/README.md)" in (FOLDER / "README.md").read_text(encoding="utf-8")
