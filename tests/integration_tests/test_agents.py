"""An agent whose model is a pair. The large model of the pair is on a real server."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langgraph.errors import GraphRecursionError

from langchain_spec_thinking import ChatSpeculativeThinking, HuggingFaceBackend
from tests.integration_tests.conftest import LARGE

if TYPE_CHECKING:
    from tests.integration_tests.servers import Servers

TASKS = [
    "Get the weather in Paris, get the time in Paris, then send both to Anna as a message.",
    "Send Anna a message with the weather and the time in Paris.",
    "What is the weather in Paris, and what time is it there? Send the answer to Anna.",
]
PROMPT = "Call one tool after the other until all is done, then say that it is done. Never call a tool twice."


def run_task(model: ChatSpeculativeThinking, task: str) -> list[tuple[str, ...]]:
    """Return the tool calls with their arguments, in the first eight steps of the agent.

    A model of half a billion parameters may go on calling tools when all is done. That is no fault of the pair.
    """
    called: list[tuple[str, ...]] = []

    def get_weather(city: str) -> str:
        """Get the weather in a city."""
        called.append(("weather", city))
        return "sunny, 21 degrees"

    def get_time(city: str) -> str:
        """Get the local time in a city."""
        called.append(("time", city))
        return "14:05"

    def send_message(to: str, text: str) -> str:
        """Send a message to a person."""
        called.append(("message", to, text))
        return "sent"

    agent: Any = create_agent(model, [get_weather, get_time, send_message], system_prompt=PROMPT)
    with suppress(GraphRecursionError):
        agent.invoke({"messages": [("user", task)]}, {"recursion_limit": 8})
    return called


def test_an_agent_makes_the_calls_of_a_task_with_three_tools(servers: Servers, small: HuggingFaceBackend) -> None:
    """The agent makes all calls of at least one of three tasks."""
    model = ChatSpeculativeThinking(
        speculative=small,
        target=servers.get("llama-server", LARGE).backend(),
        answer_by="target",
        temperature=0,
        max_tokens=200,
    )
    done: list[list[tuple[str, ...]]] = []
    for task in TASKS:
        done.append(run_task(model, task))
        if {("weather", "Paris"), ("time", "Paris"), ("message", "Anna")} <= {call[:2] for call in done[-1]}:
            return
    pytest.fail(f"no task got all its calls: {done}")
