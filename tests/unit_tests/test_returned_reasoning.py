"""In a loop of tool calls, each service gets the reasoning back that it asks for, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import Field

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.backends.openai.reply_fields import ReplyFieldsReader
from langchain_spec_thinking.messages import history_of
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import ToolCall
from tests.unit_tests.wire import Server, delta, sse, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
THOUGHT = "I need f."
DETAILS = [
    {"type": "reasoning.text", "index": 0, "text": "I call ", "format": "anthropic-claude-v1"},
    {"type": "reasoning.text", "index": 0, "text": "f.", "signature": "c2ln"},
    {"type": "reasoning.encrypted", "index": 1, "data": "ZGF0YQ=="},
]
JOINED = [
    {"type": "reasoning.text", "index": 0, "text": "I call f.", "format": "anthropic-claude-v1", "signature": "c2ln"},
    {"type": "reasoning.encrypted", "index": 1, "data": "ZGF0YQ=="},
]
SIGNATURE = {"google": {"thought_signature": "c2ln"}}


def calls(number: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"index": 0, "id": f"call_{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}, **more}
    ]


def small() -> ScriptedBackend:
    return ScriptedBackend(lambda turn: "" if turn.thinking else f"{THOUGHT}</think>", "small", thinks=True)


class Service(Server):
    """A hosted service that calls a tool and then answers."""

    def __init__(self, url: str, *replies: list[dict[str, Any]]) -> None:
        super().__init__(*[lambda reply=reply: sse(*reply, usage(3, 2)) for reply in replies])
        self.url = url  # type: ignore[misc]

    def messages(self) -> list[list[dict[str, Any]]]:
        return [body["messages"] for _, body in self.requests if "tools" in body]


def looped(service: Service, loops: int = 1) -> list[list[dict[str, Any]]]:
    """Let a pair whose large model is behind the service answer questions, each with one tool call."""
    target = service.backend(tokenizer=None, continuation="chat_instruct")
    pair = ChatSpeculativeThinking(speculative=small(), target=target, answer_by="target").bind_tools([TOOL])
    history: list[BaseMessage] = []
    for number in range(loops):
        history.append(HumanMessage("hi"))
        called = pair.invoke(history)
        history += [called, ToolMessage("4", tool_call_id=called.tool_calls[0]["id"])]
        history.append(pair.invoke(history))
        assert history[-1].text == f"Answer {number}."
    return service.messages()


def replies(loops: int = 1, first: list[dict[str, Any]] | None = None, **call: Any) -> list[list[dict[str, Any]]]:
    found = []
    for number in range(loops):
        found.append([*(first or []), delta(tool_calls=calls(number, **call)), delta("tool_calls")])
        found.append([delta(content=f"Answer {number}."), delta("stop")])
    return found


def assistants(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["role"] == "assistant"]


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("https://api.deepseek.com/beta", "reasoning_content"),
        ("https://api.moonshot.ai/v1", "reasoning_content"),
        ("https://api.z.ai/api/paas/v4", "reasoning_content"),
        ("https://api.openai.com/v1", None),
        ("https://api.mistral.ai/v1", None),
        ("https://api.groq.com/openai/v1", None),
        ("https://api.anthropic.com/v1", None),
        ("https://generativelanguage.googleapis.com/v1beta/openai", None),
        ("https://openrouter.ai/api/v1", None),
    ],
)
def test_the_shared_thought_goes_back_if_the_service_documents_it(url: str, field: str | None) -> None:
    [first, second] = looped(Service(url, *replies()))
    assert not assistants(first)
    [message] = assistants(second)
    assert message.pop(field or "", None) == (THOUGHT if field else None)
    assert message.keys() == {"role", "content", "tool_calls"}


def test_minimax_gets_the_thought_between_think_tags() -> None:
    [_, second] = looped(Service("https://api.minimax.io/v1", *replies()))
    assert assistants(second)[0]["content"] == f"<think>\n{THOUGHT}\n</think>\n\n"


@pytest.mark.parametrize(
    ("url", "earlier"),
    [("https://api.deepseek.com/beta", [True, True]), ("https://api.moonshot.ai/v1", [False, False])],
)
def test_reasoning_of_earlier_loops_goes_back_only_to_a_service_that_wants_it(url: str, earlier: list[bool]) -> None:
    *_, last = looped(Service(url, *replies(2)), loops=2)
    kept = ["reasoning_content" in message for message in assistants(last)]
    assert kept == [*earlier, True]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.deepseek.com/beta", [None, "", None]),
        ("https://api.moonshot.ai/v1", [None, "", None]),
        ("https://api.z.ai/api/paas/v4", [None, None, None]),
        ("https://api.openai.com/v1", [None, None, None]),
    ],
)
def test_a_message_with_calls_has_the_field_that_a_service_requires(url: str, expected: list[str | None]) -> None:
    """The message comes from another model, or its thought was lost."""
    service = Service(url, [delta(content="A."), delta("stop")])
    target = service.backend(tokenizer=None, continuation="chat_instruct")
    pair = ChatSpeculativeThinking(speculative=small(), target=target, answer_by="target").bind_tools([TOOL])
    called = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "call_0"}])
    answer = ToolMessage("4", tool_call_id="call_0")
    pair.invoke([HumanMessage("hi"), AIMessage("Yes?"), HumanMessage("f"), called, answer, AIMessage("Four.")])
    sent = assistants(service.messages()[-1])
    assert [message.get("reasoning_content") for message in sent] == expected


def test_deepseek_gets_no_reasoning_of_turns_without_calls() -> None:
    service = Service("https://api.deepseek.com/beta", [delta(content="A."), delta("stop")], *replies())
    target = service.backend(tokenizer=None, continuation="chat_instruct")
    pair = ChatSpeculativeThinking(speculative=small(), target=target, answer_by="target").bind_tools([TOOL])
    first = pair.invoke("hi")
    pair.invoke([HumanMessage("hi"), first, HumanMessage("and?")])
    [message] = assistants(service.messages()[-1])
    assert "reasoning_content" not in message


def test_the_own_reasoning_of_a_model_goes_back_instead_of_the_shared_thought() -> None:
    first = [delta(reasoning_content="The draft "), delta(reasoning_content="says f.")]
    [_, second] = looped(Service("https://api.deepseek.com/beta", *replies(first=first)))
    assert assistants(second)[0]["reasoning_content"] == "The draft says f."


@pytest.mark.parametrize(
    "url", ["https://openrouter.ai/api/v1", "https://api.minimax.io/v1", "https://gateway.test/v1"]
)
def test_reasoning_details_go_back_as_they_came(url: str) -> None:
    first = [delta(reasoning_details=[part]) for part in DETAILS]
    [_, second] = looped(Service(url, *replies(first=first)))
    [message] = assistants(second)
    assert message["reasoning_details"] == JOINED
    assert message["content"] is None


def test_a_signature_goes_back_with_its_call() -> None:
    url = "https://generativelanguage.googleapis.com/v1beta/openai"
    [_, second] = looped(Service(url, *replies(extra_content=SIGNATURE)))
    [call] = assistants(second)[0]["tool_calls"]
    assert call["extra_content"] == SIGNATURE


@pytest.mark.parametrize(
    "ids", [("", ""), ("a", "a"), (None, None), ("a", "")], ids=["empty", "twice", "none", "one empty"]
)
def test_each_call_gets_its_own_signature_whatever_the_ids_are(ids: tuple[str | None, str | None]) -> None:
    signatures = [{"google": {"thought_signature": text}} for text in ("b25l", "dHdv")]
    fragments = [
        delta(tool_calls=[{**calls(0)[0], "index": at, "id": call_id, "extra_content": signature}])
        for at, (call_id, signature) in enumerate(zip(ids, signatures, strict=True))
    ]
    service = Service("https://generativelanguage.googleapis.com/v1beta/openai", [*fragments, delta("tool_calls")])
    target = service.backend(tokenizer=None, continuation="chat_instruct")
    pair = ChatSpeculativeThinking(speculative=small(), target=target, answer_by="target").bind_tools([TOOL])
    called = pair.invoke("hi")
    kept = called.additional_kwargs["reply_fields"]["calls"]
    assert [kept[call["id"]] for call in called.tool_calls] == [{"extra_content": one} for one in signatures]


def test_a_signature_of_another_model_does_not_go_back() -> None:
    first = Service("https://generativelanguage.googleapis.com/v1beta/openai", *replies(extra_content=SIGNATURE))
    second = Service("https://api.openai.com/v1", [delta(content="A."), delta("stop")])
    backends = [one.backend(tokenizer=None, continuation="chat_instruct") for one in (first, second)]
    one, other = (
        ChatSpeculativeThinking(speculative=small(), target=backend, answer_by="target").bind_tools([TOOL])
        for backend in backends
    )
    called = one.invoke("hi")
    other.invoke([HumanMessage("hi"), called, ToolMessage("4", tool_call_id="call_0")])
    [message] = assistants(second.messages()[0])
    assert message["tool_calls"] == [{k: v for k, v in calls(0)[0].items() if k != "index"}]


async def test_the_fields_come_in_every_way_to_call_the_model() -> None:
    def bound() -> Any:
        url = "https://generativelanguage.googleapis.com/v1beta/openai"
        target = Service(url, *replies(extra_content=SIGNATURE)).backend(tokenizer=None, continuation="chat_instruct")
        return ChatSpeculativeThinking(speculative=small(), target=target, answer_by="target").bind_tools([TOOL])

    streamed = AIMessageChunk(content="")
    for chunk in bound().stream("hi"):
        streamed += chunk
    for message in (bound().invoke("hi"), await bound().ainvoke("hi"), streamed):
        assert message.additional_kwargs["reply_fields"]["calls"] == {"call_0": {"extra_content": SIGNATURE}}


class Signing(BaseChatModel):
    """A chat model that signs its thoughts, as ChatAnthropic does, and that records what it is sent."""

    asked: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=tools)

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self.asked.append(messages)
        if any(message.type == "tool" for message in messages):
            yield ChatGenerationChunk(message=AIMessageChunk(content="Four."))
            return
        for block in ({"thinking": "I call "}, {"thinking": "f."}, {"signature": "c2ln"}):
            content: list[Any] = [{"type": "thinking", "index": 0, **block}]
            yield ChatGenerationChunk(message=AIMessageChunk(content=content, additional_kwargs={}))
        call = {"name": "f", "args": "{}", "id": "call_0", "index": 1, "type": "tool_call_chunk"}
        fields: Any = {"tool_call_chunks": [call], "additional_kwargs": {"signatures": {"call_0": "c2ln"}}}
        yield ChatGenerationChunk(message=AIMessageChunk(content=[], **fields))


def test_another_chat_model_gets_its_own_blocks_back() -> None:
    model = Signing()
    pair = ChatSpeculativeThinking(speculative=small(), target=model, answer_by="target").bind_tools([TOOL])
    called = pair.invoke("hi")
    pair.invoke([HumanMessage("hi"), called, ToolMessage("4", tool_call_id="call_0")])
    [sent] = [message for message in model.asked[-1] if isinstance(message, AIMessage)]
    assert sent.content == [{"type": "thinking", "index": 0, "thinking": "I call f.", "signature": "c2ln"}]
    assert sent.additional_kwargs == {"signatures": {"call_0": "c2ln"}}
    assert [call["id"] for call in sent.tool_calls] == ["call_0"]


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(
            AIMessage([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "A"}]), id="a pair"
        ),
        pytest.param(
            AIMessage([{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}, "A"]), id="ChatAnthropic"
        ),
        pytest.param(AIMessage("A", additional_kwargs={"reasoning_content": "Hm."}), id="ChatDeepSeek"),
    ],
)
def test_the_thought_of_a_message_is_kept(message: AIMessage) -> None:
    assert history_of([HumanMessage("hi"), message])[1].reasoning == "Hm."


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param("text", id="text"),
        pytest.param({"model": "big at https://api.openai.com/v1", "calls": [1]}, id="calls that are no dict"),
        pytest.param({"model": "big at https://api.openai.com/v1", "calls": {"call_0": 1}}, id="a call that is none"),
    ],
)
def test_fields_that_somebody_changed_do_no_harm(fields: Any) -> None:
    service = Service("https://api.openai.com/v1", [delta(content="A."), delta("stop")])
    target = service.backend(tokenizer=None, continuation="chat_instruct")
    pair = ChatSpeculativeThinking(speculative=small(), target=target, answer_by="target").bind_tools([TOOL])
    called = AIMessage(
        "", tool_calls=[{"name": "f", "args": {}, "id": "call_0"}], additional_kwargs={"reply_fields": fields}
    )
    assert pair.invoke([HumanMessage("hi"), called, ToolMessage("4", tool_call_id="call_0")]).text == "A."


def test_nothing_is_kept_without_calls_or_beyond_a_limit() -> None:
    reader = ReplyFieldsReader(keeps_reasoning=True)
    reader.read({}, "Hm.")
    assert reader.fields({}) == {}
    call = ToolCall("1", "f", "{}")
    assert reader.fields({0: call}) == {"reasoning_content": "Hm."}
    reader.read({}, "x" * 1_000_001)
    assert reader.fields({0: call}) == {}
