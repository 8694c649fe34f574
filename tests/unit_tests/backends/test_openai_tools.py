"""Tools and schemas on servers: in the request's own fields, or described in the prompt if a server has none."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from langchain_spec_thinking import ChatSpeculativeThinking, CueTrigger, DelegationPolicy, Lexicon
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends import tiny
from tests.unit_tests.wire import Server, delta, refused, sse, text

BOTH = pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])
CALM = DelegationPolicy(trigger=CueTrigger(Lexicon((), (), ())))
THOUGHT = "I have to add.\n\nWait, I can call.\n"


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def fragment(index: int | None, arguments: str = "", **fields: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": fields.pop("name")} if "name" in fields else {})}
    numbered = {} if index is None else {"index": index}
    return delta(tool_calls=[{**numbered, "type": "function", "function": function, **fields}])


TWO = [
    fragment(0, id="c1", name="add"),
    fragment(0, '{"a": 2'),
    fragment(0, ', "b": 3}'),
    fragment(1, '{"a": 1, "b": 1}', id="c2", name="add"),
    delta("tool_calls"),
]
MADE = [("add", {"a": 2, "b": 3}, "c1"), ("add", {"a": 1, "b": 1}, "c2")]


def pair(server: Server, thought: str = THOUGHT, **settings: Any) -> ChatSpeculativeThinking:
    """Return a scripted model that thinks and a server that answers."""
    thinker = ScriptedBackend(f"{thought}</think>" if thought else "", thinks=bool(thought))
    answering = server.backend(**{"tokenizer": None, "continuation": "chat_flag", **settings})
    return ChatSpeculativeThinking(speculative=thinker, target=answering, answer_by="target", policy=CALM)


async def ask(model: Any, messages: Any = "2 + 3?", *, asynchronously: bool = False) -> AIMessage:
    message = await model.ainvoke(messages) if asynchronously else model.invoke(messages)
    assert isinstance(message, AIMessage)
    return message


def test_the_thought_follows_a_message_that_only_has_calls() -> None:
    """A history may end with it, if the user wants to know what the model would say."""
    server = Server(sse(delta("stop", content="A")))
    called = AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": "c1"}])
    pair(server).bind_tools([add]).invoke([HumanMessage("2 + 3?"), called])
    assert server.requests[0][1]["messages"][-1]["content"].startswith("Below is your finished private reasoning")


def calls(message: AIMessage) -> list[Any]:
    return [(call["name"], call["args"], call["id"]) for call in message.tool_calls]


@BOTH
async def test_the_pair_thinks_and_the_server_calls(asynchronously: bool) -> None:
    server = Server(sse(delta(content="I call."), *TWO))
    message = await ask(pair(server).bind_tools([add]), asynchronously=asynchronously)
    assert (message.text, calls(message)) == ("I call.", MADE)
    assert message.response_metadata["finish_reason"] == "tool_calls"
    [(path, body)] = server.requests
    assert path == "/v1/chat/completions"
    assert body["tools"][0]["function"]["name"] == "add"
    assert body["tool_choice"] == "auto"
    [sent] = body["messages"]
    assert sent["role"] == "user"
    assert sent["content"].startswith("2 + 3?\n\nBelow is your finished private reasoning")
    assert THOUGHT in sent["content"]


def test_each_call_is_streamed_in_one_piece() -> None:
    stream: Any = pair(Server(sse(*TWO))).bind_tools([add]).stream("2 + 3?")
    chunks = [chunk for chunk in stream if chunk.tool_call_chunks]
    assert [json.loads(chunk.tool_call_chunks[0]["args"] or "") for chunk in chunks] == [made[1] for made in MADE]
    assert len({chunk.tool_call_chunks[0]["index"] for chunk in chunks}) == 2


@BOTH
async def test_a_call_that_breaks_off_is_requested_again_and_made_once(asynchronously: bool) -> None:
    server = Server(sse(*TWO[:2], httpx2.ReadError("gone")), sse(*TWO))
    message = await ask(pair(server).bind_tools([add]), asynchronously=asynchronously)
    assert calls(message) == MADE
    assert len(server.requests) == 2


@BOTH
async def test_text_before_a_call_that_breaks_off_is_kept(asynchronously: bool) -> None:
    server = Server(sse(delta(content="I call."), TWO[0], httpx2.ReadError("gone")), sse(*TWO))
    message = await ask(pair(server).bind_tools([add]), asynchronously=asynchronously)
    assert (message.text, calls(message)) == ("I call.", MADE)
    assert server.requests[1][1]["messages"][-1]["content"].endswith("I call.")
    assert server.requests[1][1]["tools"]


@pytest.mark.parametrize("arguments", ['{"a": 2', "add", "[1]", '"x"', "{'a': 2}"])
def test_invalid_arguments_make_an_invalid_call(arguments: str) -> None:
    server = Server(sse(fragment(0, arguments, id="c1", name="add"), delta("tool_calls")))
    message: Any = pair(server).bind_tools([add]).invoke("2 + 3?")
    assert not message.tool_calls
    assert [call["name"] for call in message.invalid_tool_calls] == ["add"]


def test_calls_without_an_index_are_complete() -> None:
    server = Server(sse(fragment(None, '{"a": 2, "b": 3}', name="add"), delta("stop")))
    message: Any = pair(server).bind_tools([add]).invoke("2 + 3?")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("add", {"a": 2, "b": 3})]
    assert message.tool_calls[0]["id"]


def test_calls_are_read_from_the_text_if_the_server_has_no_parser() -> None:
    server = Server(sse(delta(content='<tool_call>{"name": "add", "argu'), delta("stop", content='ments": {"a": 2}}')))
    message: Any = pair(server).bind_tools([add]).invoke("2 + 3?")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("add", {"a": 2})]
    assert message.text == ""


def test_tools_are_described_in_the_prompt_if_the_server_refuses_them() -> None:
    written = '<tool_call>{"name": "add", "arguments": {"a": 2}}</tool_call>'
    server = Server(
        refused(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        lambda: sse(delta("stop", content=written)),
    )
    both = pair(server)
    model, ways = both.bind_tools([add]), [both.target.capabilities.tool_calls]
    for _ in range(2):
        message: Any = model.invoke("2 + 3?")
        assert [(call["name"], call["args"]) for call in message.tool_calls] == [("add", {"a": 2})]
    assert ["tools" in body for _, body in server.requests] == [True, False, False]
    assert "<tools>" in server.requests[1][1]["messages"][0]["content"]
    assert [*ways, both.target.capabilities.tool_calls] == ["native", "text"]


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ({"tool_choice": "any"}, {"tool_choice": "required"}),
        ({"tool_choice": "add"}, {"tool_choice": {"type": "function", "function": {"name": "add"}}}),
        ({"tool_choice": "none"}, {"tool_choice": "none"}),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ({"strict": True}, {"strict": True}),
    ],
)
def test_bound_tools_are_sent(bound: dict[str, Any], expected: dict[str, Any]) -> None:
    server = Server(sse(delta("stop", content="Five.")))
    pair(server).bind_tools([add], **bound).invoke("2 + 3?")
    body = server.requests[0][1]
    sent = {**body, "strict": body["tools"][0]["function"].get("strict")}
    assert {name: sent[name] for name in expected} == expected


HISTORY = [
    HumanMessage("2 + 3?"),
    AIMessage("", tool_calls=[{"name": "add", "args": {"a": 2, "b": 3}, "id": "c1"}]),
    ToolMessage("5", tool_call_id="c1"),
]


def test_tool_results_reach_both_models() -> None:
    server = Server(sse(delta(content="Hm, "), delta("length")), sse(delta("stop", content="Five.")))
    backend = server.backend(tokenizer=None, continuation="chat_flag", thinking=True)
    small = ScriptedBackend(lambda turn: " done.\n</think>" if turn.thinking else "So.\n\nWait, no.", thinks=True)
    model = ChatSpeculativeThinking(speculative=small, target=backend, answer_by="target")
    message = model.bind_tools([add]).invoke(HISTORY)
    assert message.text == "Five."
    thinking, answering = (body["messages"] for _, body in server.requests)
    assert [m["role"] for m in thinking] == ["system", "user", "assistant", "user", "assistant"]
    assert "<tool_response>\n5\n</tool_response>" in thinking[3]["content"]
    assert [m["role"] for m in answering] == ["user", "assistant", "tool"]
    assert answering[1]["tool_calls"][0]["id"] == answering[2]["tool_call_id"] == "c1"
    assert answering[2]["content"].startswith("5\n\nBelow is your finished private reasoning")


def test_a_rendered_prompt_contains_the_tools() -> None:
    server = Server(sse(text('<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n'), text("</tool_call>", "stop")))
    message: Any = pair(server, continuation="raw", **raw()).bind_tools([add]).invoke("2 + 3?")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("add", {"a": 2})]
    [(path, body)] = server.requests
    assert path == "/v1/completions"
    assert "<tools>" in body["prompt"]
    assert "</think>" in body["prompt"]


def test_a_required_call_is_begun_in_the_prompt() -> None:
    server = Server(sse(text('{"a": 2}}\n</tool_call>'), text(" and", "stop")))
    model = pair(server, thought="", continuation="raw", **raw()).bind_tools([add], tool_choice="add")
    message: Any = model.invoke("2 + 3?")
    assert server.requests[0][1]["prompt"].endswith('<tool_call>\n{"name": "add", "arguments": ')
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("add", {"a": 2})]
    assert message.text == ""


def test_the_arguments_of_a_forced_call_are_constrained_to_their_schema() -> None:
    """Servers that support schemas do this. The model then writes nothing but the arguments."""
    server = Server(sse(text('{"a": 2, "b": 3}', "stop")))
    message: Any = (
        pair(server, thought="", continuation="raw", **raw()).bind_tools([add], tool_choice="any").invoke("x")
    )
    assert server.requests[0][1]["response_format"]["json_schema"]["schema"]["required"] == ["a", "b"]
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("add", {"a": 2, "b": 3})]


def test_a_required_call_is_constrained_to_the_schemas_of_all_tools() -> None:
    def negate(a: int) -> int:
        """Negate a number."""
        return -a

    server = Server(sse(text('{"name": "negate", "arguments": {"a": 2}}', "stop")))
    model = pair(server, thought="", continuation="raw", **raw()).bind_tools([add, negate], tool_choice="any")
    message: Any = model.invoke("x")
    body = server.requests[0][1]
    assert body["prompt"].endswith("<tool_call>\n")
    held = body["response_format"]["json_schema"]["schema"]
    assert [tool["properties"]["name"] for tool in held["anyOf"]] == [{"const": "add"}, {"const": "negate"}]
    assert [held["$defs"][name]["required"] for name in ("add", "negate")] == [["a", "b"], ["a"]]
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("negate", {"a": 2})]


def test_the_schema_is_omitted_if_the_server_refuses_it() -> None:
    server = Server(
        httpx2.Response(422, json={"detail": "Unexpected fields in the request: {'response_format'}"}),
        lambda: sse(text('{"a": 2, "b": 3}}\n</tool_call>', "stop")),
    )
    model = pair(server, thought="", continuation="raw", **raw()).bind_tools([add], tool_choice="any")
    messages: list[Any] = [model.invoke("x") for _ in range(2)]
    assert [message.tool_calls[0]["args"] for message in messages] == [{"a": 2, "b": 3}] * 2
    assert ["response_format" in body for _, body in server.requests] == [True, False, False]


def raw() -> dict[str, Any]:
    return {"tokenizer": tiny.byte_tokenizer()}


class Sum(BaseModel):
    """The sum."""

    total: int


@BOTH
@pytest.mark.parametrize("continuation", ["raw", "chat_flag"])
async def test_a_schema_is_sent_to_the_server(continuation: str, asynchronously: bool) -> None:
    server = Server(sse(delta(content='{"total"'), delta("stop", content=": 5}")))
    settings = raw() if continuation == "raw" else {}
    model: Any = pair(server, continuation=continuation, **settings).with_structured_output(Sum)
    assert (await model.ainvoke("x") if asynchronously else model.invoke("x")) == Sum(total=5)
    [(path, body)] = server.requests
    assert path == "/v1/chat/completions"
    assert body["response_format"]["json_schema"]["schema"]["properties"]["total"]
    assert "total" in body["messages"][0]["content"]  # some servers do not show the schema to the model


def test_the_schema_is_only_in_the_prompt_if_the_server_refuses_it() -> None:
    server = Server(
        refused(400, "response_format is not supported"), lambda: sse(delta("stop", content='{"total": 5}'))
    )
    model = pair(server).with_structured_output(Sum)
    assert [model.invoke("x") for _ in range(2)] == [Sum(total=5)] * 2
    assert ["response_format" in body for _, body in server.requests] == [True, False, False]


def test_an_invalid_schema_is_an_error() -> None:
    says = "Invalid schema for response_format 'Sum': 'required' is required to be supplied"
    server = Server(refused(400, says), lambda: sse(delta("stop", content='{"total": 5}')))
    model = pair(server).model_copy(update={"on_target_failure": "raise"}).with_structured_output(Sum)
    with pytest.raises(BackendError, match="Invalid schema"):
        model.invoke("x")
    assert model.invoke("x") == Sum(total=5)
    assert all("response_format" in body for _, body in server.requests)


def test_json_mode_asks_for_an_object() -> None:
    server = Server(sse(delta("stop", content='{"total": 5}')))
    assert pair(server).with_structured_output(Sum, method="json_mode").invoke("x") == Sum(total=5)
    assert server.requests[0][1]["response_format"] == {"type": "json_object"}
