"""A deep agent that plans in files and gives work to subagents. One pair serves all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepagents import create_deep_agent

from integrations.watch_agent import watch
from langchain_spec_thinking import ChatSpeculativeThinking

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from langchain_spec_thinking import Backend

QUESTION = "Compare the leap years since 1890 with those until 1890, and write what you find to /report.md."


def leap_years(first: int, last: int) -> int:
    """Count the leap years from one year to another, both included."""
    return sum(year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) for year in range(first, last + 1))


def build(speculative: Backend | str, target: Backend | str, **settings: Any) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Make the agent. Its files are in its state, not on disk."""
    model = ChatSpeculativeThinking(speculative=speculative, target=target, **settings)
    return create_deep_agent(
        model=model,
        tools=[leap_years],
        system_prompt="Plan in /plan.md first. Leave counting to an agent of yours.",
    )


if __name__ == "__main__":
    watch(build, QUESTION)
