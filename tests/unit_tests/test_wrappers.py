"""Tests of a pair with LangChain's wrappers and caches."""

from __future__ import annotations

import itertools
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.exceptions import ModelError
from langchain_core.load import dumps, loads
from langchain_core.runnables import ConfigurableField

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import Backend, Event, Piece, Request
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.policy import DelegationPolicy
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.tool_task import (
    QUESTION,
    RECEIPT,
    TASK_STEPS,
    TOOLS,
    Receipt,
    only_the_receipt,
    pair,
    report,
    steps,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from langchain_core.outputs import Generation
    from langchain_core.runnables import RunnableConfig

    from langchain_spec_thinking.turn import Turn


class Down(Backend):
    """A model that cannot be reached for the first `failures` requests."""

    def __init__(self, failures: float = float("inf")) -> None:
        self.name = "down"
        self.failures = failures

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        if self.failures > 0:
            self.failures -= 1
            msg = "nobody is there"
            error = BackendError(msg)
            error.is_retryable = True
            raise error
        yield Piece("Here I am.")


def test_a_fallback_answers_if_the_target_is_down() -> None:
    model = pair(target=Down(), on_target_failure="raise")
    with pytest.raises(BackendError, match="nobody is there"):
        model.invoke("hi")
    other = ChatSpeculativeThinking(speculative=ScriptedBackend("By the other."), target=ScriptedBackend())
    assert model.with_fallbacks([other]).invoke("hi").text == "By the other."
    assert pair(target=Down()).invoke("hi", max_tokens=90).response_metadata["speculative_thinking"]["degraded"]


def test_a_fallback_has_the_same_tools_and_schemas() -> None:
    model = pair(target=Down(), on_target_failure="raise").with_fallbacks([pair()])
    assert [call["name"] for call in model.bind_tools(TOOLS).invoke("tea").tool_calls] == ["price"]
    other = pair(speculative=ScriptedBackend(only_the_receipt))
    down = pair(target=Down(), answer_by="target", on_target_failure="raise")
    assert down.with_fallbacks([other]).with_structured_output(Receipt).invoke("tea") == RECEIPT


def test_middleware_falls_back_and_retries() -> None:
    down = pair(target=Down(), on_target_failure="raise")
    agent = create_agent(down, tools=TOOLS, middleware=[ModelFallbackMiddleware(pair())])
    assert steps(agent.invoke(QUESTION)["messages"]) == TASK_STEPS
    shaky = pair(speculative=Down(failures=2))
    again = ModelRetryMiddleware(max_retries=2, retry_on=(ModelError,), initial_delay=0, jitter=False)
    assert create_agent(shaky, middleware=[again]).invoke(QUESTION)["messages"][-1].text == "Here I am."


@pytest.mark.parametrize("attempts", [2, 3])
def test_retries_are_for_errors_of_models(attempts: int) -> None:
    model = pair(speculative=Down(failures=2)).with_retry(
        retry_if_exception_type=(ModelError,), stop_after_attempt=attempts, wait_exponential_jitter=False
    )
    if attempts == 3:
        assert model.invoke("hi").text == "Here I am."
    else:
        with pytest.raises(BackendError, match="nobody is there"):
            model.invoke("hi")


def test_settings_can_be_chosen_call_by_call() -> None:
    small = ScriptedBackend("Yes.", name="small")
    model = pair(speculative=small).configurable_fields(
        temperature=ConfigurableField(id="heat"), policy=ConfigurableField(id="policy")
    )
    config: RunnableConfig = {"configurable": {"heat": 0.1, "policy": DelegationPolicy.non_reasoning()}}
    assert report(model.invoke("hi"))["segments"][0]["author"] == "speculative"
    assert report(model.invoke("hi", config))["segments"][0]["author"] == "target"  # here the target begins
    assert {request.temperature for request, _ in small.requests} == {0.1, 0.6}
    with pytest.raises(ValueError, match="temperature"):
        model.invoke("hi", {"configurable": {"heat": -1}})


def test_a_pair_can_be_chosen_call_by_call() -> None:
    model = pair(speculative=ScriptedBackend("By the pair.")).configurable_alternatives(
        ConfigurableField(id="model"),
        default_key="pair",
        other=pair(speculative=ScriptedBackend("By the other.")),
    )
    assert model.invoke("hi").text == "By the pair."
    assert model.with_config(configurable={"model": "other"}).invoke("hi").text == "By the other."


# -- caches


class SQLiteCache(BaseCache):
    """A cache that stores messages as text, like caches in databases."""

    def __init__(self) -> None:
        self._rows = sqlite3.connect(":memory:", check_same_thread=False)
        self._rows.execute("CREATE TABLE rows (prompt, llm, generations, PRIMARY KEY (prompt, llm))")

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        found = self._rows.execute("SELECT generations FROM rows WHERE prompt = ? AND llm = ?", (prompt, llm_string))
        row = found.fetchone()
        return None if row is None else [loads(text, allowed_objects="core") for text in json.loads(row[0])]

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        text = json.dumps([dumps(generation) for generation in return_val])
        self._rows.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", (prompt, llm_string, text))

    def clear(self, **kwargs: Any) -> None:
        self._rows.execute("DELETE FROM rows")

    def close(self) -> None:
        self._rows.close()


VARIANTS: dict[str, Any] = {
    "as it is": lambda model: model,
    "tools": lambda model: model.bind_tools(TOOLS),
    "fewer tools": lambda model: model.bind_tools(TOOLS[:1]),
    "choice": lambda model: model.bind_tools(TOOLS, tool_choice="none"),
    "one at a time": lambda model: model.bind_tools(TOOLS, parallel_tool_calls=False),
    "JSON": lambda model: model.bind(response_format={"type": "json_object"}),
    "schema": lambda model: model.with_structured_output(Receipt, include_raw=True),
    "call's setting": lambda model: model.bind(temperature=0),
    "stop": lambda model: model.bind(stop=["x"]),
    "answer_by": lambda model: model.model_copy(update={"answer_by": "target"}),
    "think_before_tools": lambda model: model.model_copy(update={"think_before_tools": False}),
    "policy": lambda model: model.model_copy(update={"policy": DelegationPolicy(takeover_tokens=3)}),
    "target": lambda model: model.model_copy(update={"target": ScriptedBackend("They are, ", name="larger")}),
}


@pytest.mark.parametrize("cache_type", [InMemoryCache, SQLiteCache])
def test_a_cache_distinguishes_every_setting_that_changes_the_answer(cache_type: type[BaseCache]) -> None:
    cache, numbers = cache_type(), itertools.count(1)
    written: list[int] = []

    def small(_: Turn) -> str:
        written.append(next(numbers))
        return '{"item": "tea", "euros": 1}'

    model = pair(speculative=ScriptedBackend(small, name="small"), target=ScriptedBackend(small, name="large"))
    model = model.model_copy(update={"cache": cache})
    for variant in VARIANTS.values():
        before = len(written)
        variant(model).invoke("hi")
        assert len(written) > before
    before = len(written)
    for variant in VARIANTS.values():
        variant(model).invoke("hi")
    assert len(written) == before
    if isinstance(cache, SQLiteCache):
        cache.close()


@pytest.mark.parametrize("cache_type", [InMemoryCache, SQLiteCache])
def test_a_cache_returns_the_whole_message(cache_type: type[BaseCache]) -> None:
    cache = cache_type()
    model = pair(cache=cache)
    first, second = (model.bind_tools(TOOLS).invoke("tea") for _ in range(2))
    assert second.content == first.content
    assert second.tool_calls == first.tool_calls
    assert report(second) == report(first)
    assert len(model.speculative.requests) == report(first)["usage"]["speculative"]["requests"]  # type: ignore[attr-defined]
    if isinstance(cache, SQLiteCache):
        cache.close()
