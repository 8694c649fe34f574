"""A task with three tools, and a scripted pair of models that solves it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.backends.replies.call_formats import HERMES
from langchain_spec_thinking.testing import ScriptedBackend, words
from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    from langchain_spec_thinking.turn import Turn

ANSWER = "The tea is ordered, for 7.0 euros."
TAKEN_OVER = "Three steps, I am sure of it,"
THOUGHT = "They want tea.\n\n", TAKEN_OVER, " so I go on.\n"
QUESTION: Any = {
    "messages": "Order tea, and tell me what it costs in euros."
}  # LangGraph's type for inputs is narrower than the inputs it accepts
TASK_STEPS = ["price", "exchange", "order", "3.5", "7.0", "ordered tea for 7.0", ANSWER]
"""The result of `steps` for the whole task."""


@tool
def price(item: str) -> float:
    """Say what an item costs, in dollars."""
    return {"tea": 3.5, "coffee": 4.5}[item]


@tool
def exchange(dollars: float) -> float:
    """Say how many euros that many dollars are."""
    return 2 * dollars


@tool
def order(item: str, euros: float) -> str:
    """Order an item."""
    return f"ordered {item} for {euros}"


TOOLS = [price, exchange, order]


class Receipt(BaseModel):
    """What was bought."""

    item: str
    euros: float


RECEIPT = Receipt(item="tea", euros=7)


def call(tool: str, **arguments: Any) -> str:
    """Return a tool call as the scripted models write it."""
    return HERMES.write([ToolCall("", tool, json.dumps(arguments))])


def thinking(turn: Turn, answer: str) -> str:
    """Return a thought of three steps, the second of which the target writes, and then the answer."""
    if turn.channel == "answer":
        return answer
    if TAKEN_OVER in turn.thinking:
        return f"{THOUGHT[2]}</think>\n\n{answer}"
    return f"{THOUGHT[0]}Wait, how many steps?\n\n{THOUGHT[2]}</think>\n\n{answer}"


def small(turn: Turn) -> str:
    """Return the next step of the task."""
    results = [message.content for message in turn.history if message.role == "tool"]
    match results:
        case []:
            return thinking(turn, call("price", item="tea"))
        case [dollars]:
            return thinking(turn, call("exchange", dollars=float(dollars)))
        case [_, euros]:
            return thinking(turn, f"Now I order. {call('order', item='tea', euros=float(euros))}")
    if turn.schema is not None:
        return thinking(turn, RECEIPT.model_dump_json())
    if turn.tools and "Receipt" in turn.tools.names:
        return thinking(turn, call("Receipt", **RECEIPT.model_dump()))
    return thinking(turn, ANSWER)


def pair(**settings: Any) -> ChatSpeculativeThinking:
    """Return the scripted pair. Settings override its fields."""
    fields: dict[str, Any] = {
        "speculative": ScriptedBackend(small, name="small", thinks=True),
        "target": ScriptedBackend(f"{TAKEN_OVER} and so on.", name="large", thinks=True),
        "policy": DelegationPolicy(takeover_tokens=len(words(TAKEN_OVER))),
    }
    return ChatSpeculativeThinking(**{**fields, **settings})


def steps(messages: Sequence[BaseMessage]) -> list[str]:
    """Return the steps of an agent: the tools it called, their results, and its last message."""
    called = [call["name"] for message in messages if isinstance(message, AIMessage) for call in message.tool_calls]
    return called + [message.text for message in messages if isinstance(message, ToolMessage)] + [messages[-1].text]


def report(message: AIMessage) -> dict[str, Any]:
    data: dict[str, Any] = message.response_metadata["speculative_thinking"]
    return data


def only_the_receipt(turn: Turn) -> str:
    return RECEIPT.model_dump_json() if turn.tools is None else call("Receipt", **RECEIPT.model_dump())
