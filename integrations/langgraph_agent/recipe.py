"""An agent with three tools. Its model is a pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langgraph.checkpoint.memory import InMemorySaver

from integrations.watch_agent import watch
from langchain_spec_thinking import ChatSpeculativeThinking

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from langchain_spec_thinking import Backend

QUESTION = "A bag of tea costs 3.50 dollars. Order the bags that 20 euros buy, and say what they cost in euros."


def exchange(amount: float, source: str, to: str) -> float:
    """Exchange an amount of money between USD and EUR."""
    return round(amount * {("USD", "EUR"): 0.8, ("EUR", "USD"): 1.25}[source, to], 2)


def divide(dividend: float, divisor: float) -> int:
    """Say how many times one number goes into another."""
    return int(dividend // divisor)


def order(item: str, quantity: int) -> str:
    """Order something."""
    return f"{quantity} x {item}: ordered"


def build(speculative: Backend | str, target: Backend | str, **settings: Any) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Make the agent. It remembers its conversations and summarizes them when they get long."""
    model = ChatSpeculativeThinking(speculative=speculative, target=target, **settings)
    return create_agent(
        model,
        tools=[exchange, divide, order],
        system_prompt="Use the tools for every sum, one at a time.",
        middleware=[SummarizationMiddleware(model=model, trigger=("tokens", 6000), keep=("messages", 10))],
        checkpointer=InMemorySaver(),
    )


if __name__ == "__main__":
    watch(build, QUESTION)
