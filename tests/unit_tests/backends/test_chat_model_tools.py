"""Tools with a chat model in a pair: bound by its class, or described in words if its class does not support tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolCallChunk, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.runnables import Runnable

CALL: Any = {"name": "add", "args": {"a": 2}, "id": "c1"}
FRAGMENTS = [
    ToolCallChunk(name="add", args='{"a"', id="c1", index=0, type="tool_call_chunk"),
    ToolCallChunk(name=None, args=": 2}", id=None, index=0, type="tool_call_chunk"),
]
WRITTEN = '<tool_call>{"name": "add", "arguments": {"a": 2}}</tool_call>'


def add(a: int) -> int:
    """Add one."""
    return a + 1


class Toolless(BaseChatModel):
    """A chat model without tool support that writes a call as text."""

    asked: list[tuple[list[BaseMessage], dict[str, Any]]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.asked.append((messages, kwargs))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(WRITTEN))])


class Calling(Toolless):
    """A chat model that returns native tool calls."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=tools, **kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.asked.append((messages, kwargs))
        return ChatResult(generations=[ChatGeneration(message=AIMessage("I call.", tool_calls=[CALL]))])


class CallingInPieces(Calling):
    """A chat model that streams its native tool calls."""

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self.asked.append((messages, kwargs))
        yield ChatGenerationChunk(message=AIMessageChunk(content="I call."))
        for fragment in FRAGMENTS:
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[fragment]))


def pair(model: BaseChatModel) -> ChatSpeculativeThinking:
    thinker = ScriptedBackend("I can call.\n</think>", thinks=True)
    return ChatSpeculativeThinking(speculative=thinker, target=model, answer_by="target")


@pytest.mark.parametrize("asynchronously", [False, True])
@pytest.mark.parametrize("kind", [Calling, CallingInPieces])
async def test_native_tool_calls_are_used(kind: type[Calling], asynchronously: bool) -> None:
    model = kind()
    bound = pair(model).bind_tools([add], tool_choice="any", parallel_tool_calls=False)
    message: Any = await bound.ainvoke("2 + 1?") if asynchronously else bound.invoke("2 + 1?")
    assert (message.text, message.tool_calls) == ("I call.", [{**CALL, "type": "tool_call"}])
    [(messages, kwargs)] = model.asked
    assert kwargs["tools"][0]["function"]["name"] == "add"
    assert (kwargs["tool_choice"], kwargs["parallel_tool_calls"]) == ("any", False)
    assert "I can call." in messages[-1].text


def test_a_class_without_tools_gets_them_in_the_prompt() -> None:
    model = Toolless()
    message: Any = pair(model).bind_tools([add]).invoke("2 + 1?")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("add", {"a": 2})]
    [(messages, kwargs)] = model.asked
    assert "tools" not in kwargs
    assert "<tools>" in messages[0].text


@pytest.mark.parametrize(("kind", "how"), [(Toolless, "text"), (Calling, "native")])
def test_the_backend_says_how_the_model_gets_its_tools(kind: type[Toolless], how: str) -> None:
    assert ChatModelBackend(kind()).capabilities.tool_calls == how


def test_a_history_with_calls_is_sent() -> None:
    model = Calling()
    broken = {"name": "add", "args": "{", "id": "c0", "error": None, "type": "invalid_tool_call"}
    history = [
        HumanMessage("2 + 1?"),
        AIMessage("", invalid_tool_calls=[broken]),
        ToolMessage("That was no JSON.", tool_call_id="c0"),
        AIMessage("", tool_calls=[CALL]),
        ToolMessage("3", tool_call_id="c1"),
    ]
    pair(model).bind_tools([add]).invoke(history)
    messages: Any = model.asked[0][0]
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai", "tool"]
    assert [call["args"] for call in messages[1].invalid_tool_calls] == ["{"]
    assert messages[3].tool_calls[0]["args"] == {"a": 2}
    assert messages[4].tool_call_id == "c1"
