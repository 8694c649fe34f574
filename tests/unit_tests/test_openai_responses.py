"""The Responses API of the server, called through the SDK in this process. OpenAI's own classes check every event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_openai import ChatOpenAI
from openai.types import responses
from pydantic import SecretStr

from langchain_spec_thinking.errors import BackendError, InvalidRequestError, PromptTooLongError
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests import tool_task
from tests.unit_tests.openai_server import KEY, NAME, Broken, Endless, client, http, plain
from tests.unit_tests.tool_task import RECEIPT, THOUGHT, Receipt, call, pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from langchain_spec_thinking import ChatSpeculativeThinking
    from langchain_spec_thinking.turn import Turn

ASKED: Any = {"model": NAME, "input": "Order tea."}
TOOLS: Any = [{"type": "function", **convert_to_openai_tool(tool_)["function"]} for tool_ in tool_task.TOOLS]
PLACE = "http://10.0.0.7:8000"
EVENTS: dict[str, Any] = {
    get_args(event.model_fields["type"].annotation)[0]: event
    for event in vars(responses).values()
    if isinstance(event, type) and issubclass(event, openai.BaseModel) and event.__name__.endswith("Event")
}
"""OpenAI's classes of events, by the type of the event."""


async def posted(model: ChatSpeculativeThinking, **fields: Any) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {KEY}"}
    return await http(model).post("http://pair.test/v1/responses", json={**ASKED, **fields}, headers=headers)


async def streamed(model: ChatSpeculativeThinking, **fields: Any) -> list[dict[str, Any]]:
    """Return the events of a stream, after OpenAI's classes have checked them."""
    text = (await posted(model, **fields, stream=True)).text
    events = []
    for lines in text.removesuffix("\n\n").split("\n\n"):
        name, data = lines.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
        EVENTS[events[-1]["type"]].model_validate_json(data.removeprefix("data: "), strict=True)
    return events


async def test_a_reply_has_its_thought_its_answer_and_its_usage() -> None:
    reply = await client(pair()).responses.create(**ASKED, tool_choice="none", tools=TOOLS)
    functions = [convert_to_openai_tool(tool_) for tool_ in tool_task.TOOLS]
    expected = pair().invoke("Order tea.", tool_choice="none", tools=functions)
    thought, message = reply.output
    assert isinstance(thought, responses.ResponseReasoningItem)
    assert [part.text for part in thought.summary] == ["".join(THOUGHT)]
    assert isinstance(message, responses.ResponseOutputMessage)
    assert reply.output_text == expected.text
    assert reply.usage is not None
    assert expected.usage_metadata is not None
    assert reply.usage.total_tokens == expected.usage_metadata["total_tokens"]
    assert reply.usage.output_tokens_details.reasoning_tokens > 0
    assert reply.model_extra is not None
    assert reply.model_extra["speculative_thinking"]["takeovers"] == 1
    assert (reply.status, reply.error, reply.incomplete_details) == ("completed", None, None)


REPLIES: dict[str, tuple[ChatSpeculativeThinking, list[str]]] = {
    "a call after a thought": (pair(), ["reasoning", "function_call"]),
    "only text": (plain(), ["message"]),
    "text and two calls": (
        plain(f"First. {call('price', item='tea')}{call('price', item='coffee')}"),
        ["message", "function_call", "function_call"],
    ),
    "a call that cannot be parsed": (plain("<tool_call>{oh</tool_call>"), ["function_call"]),
    "blocks of the version v1": (pair(output_version="v1"), ["reasoning", "function_call"]),
}


@pytest.mark.parametrize("what", REPLIES)
async def test_the_events_of_a_stream_make_the_reply(what: str) -> None:
    model, kinds = REPLIES[what]
    response = await posted(model, tools=TOOLS)
    responses.Response.model_validate_json(response.text, strict=True)
    whole = response.json()
    events = await streamed(model, tools=TOOLS)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    last = events[-1]["response"]
    assert events[-1]["type"] == "response.completed"
    assert [item["type"] for item in last["output"]] == [item["type"] for item in whole["output"]] == kinds
    assert without_ids(last) == without_ids(whole)
    done = {event["output_index"]: event["item"] for event in events if event["type"] == "response.output_item.done"}
    assert [done[index] for index in range(len(kinds))] == last["output"]


def without_ids(value: Any) -> Any:
    """Return a reply without what differs from reply to reply: ids and times."""
    if isinstance(value, dict):
        changing = {"id", "call_id", "created_at", "completed_at", "seconds"}
        return {name: without_ids(inner) for name, inner in value.items() if name not in changing}
    return [without_ids(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("what", REPLIES)
async def test_the_pieces_of_each_item_make_its_text(what: str) -> None:
    """Each item is added, written and done, and all its events name it."""
    model, kinds = REPLIES[what]
    events = await streamed(model, tools=TOOLS)
    for index, kind in enumerate(kinds):
        of_item = [event for event in events if event.get("output_index") == index]
        added, *inner, done = of_item
        assert (added["type"], done["type"]) == ("response.output_item.added", "response.output_item.done")
        assert added["item"]["id"] == done["item"]["id"]
        assert {event["item_id"] for event in inner} == {added["item"]["id"]}
        text = "".join(event["delta"] for event in inner if event["type"].endswith(".delta"))
        ended = next(event for event in inner if "text" in event or "arguments" in event)
        assert text == ended.get("text", ended.get("arguments"))
        parts = {"reasoning": "summary", "message": "content"}
        final = done["item"][parts[kind]][0]["text"] if kind in parts else done["item"]["arguments"]
        assert final == text


async def test_the_sdk_reads_a_stream() -> None:
    async with client(pair()).responses.stream(**ASKED, tools=TOOLS) as stream:
        kinds = {event.type async for event in stream}
        reply = await stream.get_final_response()
    assert {"response.reasoning_summary_text.delta", "response.function_call_arguments.done"} <= kinds
    assert [item.type for item in reply.output] == ["reasoning", "function_call"]


async def test_an_agent_sends_the_items_of_replies_back() -> None:
    asking = client(pair()).responses
    items: list[Any] = [{"role": "user", "content": "Order tea."}]
    by_name: dict[str, Any] = {tool_.name: tool_ for tool_ in tool_task.TOOLS}
    while True:
        reply = await asking.create(model=NAME, input=items, tools=TOOLS)
        items += reply.output
        called = [item for item in reply.output if isinstance(item, responses.ResponseFunctionToolCall)]
        if not called:
            break
        for one in called:
            result = await by_name[one.name].ainvoke(json.loads(one.arguments))
            items.append({"type": "function_call_output", "call_id": one.call_id, "output": str(result)})
    assert reply.output_text == tool_task.ANSWER


@pytest.mark.parametrize("stream", [False, True])
async def test_an_agent_of_langchain_works_through_the_responses_api(stream: bool) -> None:
    settings: dict[str, Any] = {"use_responses_api": True, "http_async_client": http(pair()), "streaming": stream}
    model = ChatOpenAI(model=NAME, api_key=SecretStr(KEY), base_url="http://pair.test/v1", **settings)
    remote = model.bind_tools(tool_task.TOOLS)
    messages: list[Any] = [HumanMessage("Order tea.")]
    by_name = {tool_.name: tool_ for tool_ in tool_task.TOOLS}
    while (reply := await remote.ainvoke(messages)).tool_calls:
        messages += [reply, *[await by_name[call_["name"]].ainvoke(call_) for call_ in reply.tool_calls]]
    assert reply.text == tool_task.ANSWER
    assert len(messages) == 7


async def test_a_structured_answer_is_parsed() -> None:
    reply = await client(plain(RECEIPT.model_dump_json())).responses.parse(**ASKED, text_format=Receipt)
    assert reply.output_parsed == RECEIPT


async def test_settings_reach_the_models() -> None:
    small = ScriptedBackend("Tea it is.", name="small")
    await client(plain(small)).responses.create(**ASKED, temperature=0, top_p=0.5, max_output_tokens=7)
    request, _ = small.requests[0]
    assert (request.temperature, request.top_p, request.max_tokens) == (0, 0.5, 7)


async def test_a_reply_repeats_its_settings_and_says_that_nothing_is_stored() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    form = {"type": "json_schema", "name": "x", "schema": schema, "strict": True}
    fields = {
        "instructions": "Be short.",
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "max_output_tokens": 50,
        "parallel_tool_calls": False,
        "text": {"format": form},
        "tool_choice": "none",
    }
    told = (await posted(plain("{}"), tools=TOOLS, store=True, **fields)).json()
    assert {name: told[name] for name in fields} == fields
    assert told["store"] is False
    assert [tool["name"] for tool in told["tools"]] == ["price", "exchange", "order"]


async def test_a_tool_can_be_chosen_by_its_name() -> None:
    choice: Any = {"type": "function", "name": "price"}
    reply = (await posted(pair(), tools=TOOLS, tool_choice=choice)).json()
    assert reply["tool_choice"] == choice
    assert [item["name"] for item in reply["output"] if item["type"] == "function_call"] == ["price"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_that_reaches_its_limit_is_incomplete(stream: bool) -> None:
    model = plain("word " * 20)
    if stream:
        events = await streamed(model, max_output_tokens=3)
        assert events[-1]["type"] == "response.incomplete"
        reply = events[-1]["response"]
    else:
        reply = (await posted(model, max_output_tokens=3)).json()
    assert (reply["status"], reply["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert reply["output"][-1]["status"] == "incomplete"


async def test_every_kind_of_item_reaches_the_models() -> None:
    """The thought, the text and the calls of a reply become one message, in whatever order they come."""
    seen: list[Turn] = []

    def reply(turn: Turn) -> str:
        seen.append(turn)
        return "I see."

    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Buy it."}]}
    said = {"type": "output_text", "text": "I buy.", "annotations": []}
    refused = {"type": "refusal", "refusal": " Not more."}
    items: Any = [
        {"role": "developer", "content": "Use tools."},
        {"role": "user", "content": [{"type": "input_text", "text": "Buy "}, {"type": "input_text", "text": "tea."}]},
        thought,
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [said, refused]},
        {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "buy", "arguments": '{"what": "tea"}'},
        {"type": "function_call", "call_id": "b", "name": "buy", "arguments": "{oh"},
        {"type": "function_call_output", "call_id": "a", "output": "bought"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "what?"}]},
        {"type": "message", "role": "user", "content": "Thanks."},
    ]
    small = ScriptedBackend(reply, name="small")
    await client(plain(small)).responses.create(model=NAME, instructions="Be short.", input=items)
    history = [(message.role, message.content, message.tool_call_id) for message in seen[0].history]
    assert history == [
        ("system", "Be short.", ""),
        ("system", "Use tools.", ""),
        ("user", "Buy tea.", ""),
        ("assistant", "I buy. Not more.", ""),
        ("tool", "bought", "a"),
        ("tool", "what?", "b"),
        ("user", "Thanks.", ""),
    ]
    assistant = seen[0].history[3]
    assert [(one.id, one.arguments) for one in assistant.tool_calls] == [("a", '{"what": "tea"}'), ("b", "{oh")]
    assert assistant.reasoning == "Buy it."


def item(**fields: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": "x"}, fields]}


REFUSED: dict[str, tuple[Any, dict[str, Any], int, str | None, str | None]] = {
    "another model": (plain(), {"model": "gpt-5"}, 404, "model_not_found", "model"),
    "no input": (plain(), {"input": []}, 400, None, "input"),
    "input as a number": (plain(), {"input": 5}, 400, None, "input"),
    "an item as text": (plain(), {"input": ["hi"]}, 400, None, "input.0"),
    "an item of another type": (plain(), item(type="web_search_call", id="x"), 400, None, "input.1"),
    "a reference to a stored item": (plain(), item(type="item_reference", id="x"), 400, None, "input.1"),
    "a strange role": (plain(), {"input": [{"role": "king", "content": "x"}]}, 400, None, "input.0.role"),
    "an image": (
        plain(),
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        400,
        None,
        "input.0.content.0.type",
    ),
    "a call without an id": (plain(), item(type="function_call", name="a", arguments=""), 400, None, "input.1.call_id"),
    "a result without its call": (
        plain(),
        item(type="function_call_output", output="5"),
        400,
        None,
        "input.1.call_id",
    ),
    "a tool of OpenAI": (plain(), {"tools": [{"type": "web_search"}]}, 400, None, "tools.0"),
    "an unknown tool": (plain(), {"tools": TOOLS, "tool_choice": "fly"}, 400, None, "tool_choice"),
    "a choice among tools": (plain(), {"tool_choice": {"type": "allowed_tools"}}, 400, None, "tool_choice"),
    "a form that is not known": (plain(), {"text": {"format": {"type": "xml"}}}, 400, None, "text.format.type"),
    "a form without a schema": (
        plain(),
        {"text": {"format": {"type": "json_schema", "name": "x"}}},
        400,
        None,
        "text.format",
    ),
    "an earlier reply": (
        plain(),
        {"previous_response_id": "resp_1"},
        400,
        "previous_response_not_found",
        "previous_response_id",
    ),
    "a stored conversation": (plain(), {"conversation": "conv_1"}, 400, "unsupported_parameter", "conversation"),
    "a reply in the background": (plain(), {"background": True}, 400, "unsupported_parameter", "background"),
    "a stored prompt": (plain(), {"prompt": {"id": "pmpt_1"}}, 400, "unsupported_parameter", "prompt"),
    "log-probabilities": (plain(), {"include": ["message.output_text.logprobs"]}, 400, None, "include"),
    "likely tokens": (plain(), {"top_logprobs": 3}, 400, None, "top_logprobs"),
    "too hot": (plain(), {"temperature": 3}, 400, None, "temperature"),
    "too many tokens": (plain(), {"max_output_tokens": 101}, 400, "max_tokens_exceeded", "max_output_tokens"),
    "too many items": (
        plain(),
        {"input": [{"role": "user", "content": "x"}] * 4},
        400,
        "array_above_max_length",
        "input",
    ),
    "a long body": (plain(), {"input": "x" * 20_000}, 413, "request_too_large", None),
    "a long prompt": (plain(Broken(PromptTooLongError("9 tokens"))), {}, 400, "context_length_exceeded", "input"),
    "what a model refuses": (plain(Broken(InvalidRequestError(PLACE))), {}, 400, "refused_by_model", None),
    "models that are down": (plain(Broken(BackendError(f"nobody at {PLACE}"))), {}, 503, "model_unavailable", None),
    "a defect": (plain(Broken(RuntimeError(PLACE))), {}, 500, None, None),
    "a defect with the type of an invalid setting": (plain(Broken(ValueError(f"got {PLACE}"))), {}, 500, None, None),
    "time is up": (plain(timeout=1e-9), {}, 504, "timeout", None),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", REFUSED)
async def test_errors_have_the_form_of_openai(what: str, stream: bool) -> None:
    model, changed, status, code, param = REFUSED[what]
    asking = client(model, tokens=100, body=10_000, messages=3)
    with pytest.raises(openai.APIStatusError) as caught:
        await asking.responses.create(**{**ASKED, **changed, "stream": stream})
    assert (caught.value.status_code, caught.value.code, caught.value.param) == (status, code, param)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body.keys() == {"message", "type", "param", "code"}
    assert PLACE not in caught.value.message


@pytest.mark.parametrize(
    "fields",
    [
        {"store": True},
        {"store": False, "include": ["reasoning.encrypted_content"]},
        {"background": False, "previous_response_id": None, "conversation": None},
        {"truncation": "auto", "service_tier": "auto", "user": "me", "prompt_cache_key": "x"},
        {"reasoning": {"effort": "low", "summary": "auto"}, "text": {"verbosity": "low"}},
        {"text": {"format": {"type": "text"}}, "tools": [], "tool_choice": "auto", "top_logprobs": 0},
    ],
)
async def test_settings_that_change_nothing_are_accepted(fields: dict[str, Any]) -> None:
    assert (await posted(plain(), **fields)).json()["output"][0]["content"][0]["text"] == "Tea it is."


async def test_an_error_during_a_stream_is_sent() -> None:
    events = await streamed(plain(Broken(BackendError(PLACE), words=3)))
    assert events[-1]["type"] == "error"
    assert (events[-1]["code"], events[-1]["param"]) == ("model_unavailable", None)
    assert PLACE not in json.dumps(events)
    stream = await client(plain(Broken(BackendError(PLACE), words=3))).responses.create(**ASKED, stream=True)
    with pytest.raises(openai.APIError, match="A model cannot be reached") as caught:
        await drained(stream)
    assert caught.value.code == "model_unavailable"


async def drained(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


async def test_a_client_that_disconnects_stops_the_models() -> None:
    small = Endless()
    parts: Any = await client(plain(small)).responses.create(**ASKED, stream=True)
    await anext(aiter(parts))
    assert small.open == 1
    await parts.close()
    assert small.open == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_half_of_a_character_does_not_break_the_reply(stream: bool) -> None:
    response = await posted(plain("Tea \ud83d it is."), stream=stream)
    assert response.status_code == 200
    assert "?" in response.text


@pytest.mark.parametrize("path", ["/v1/responses/resp_1", "/v1/responses/", "/v1/conversations", "/v1/embeddings"])
async def test_what_would_need_stored_replies_is_not_found(path: str) -> None:
    response = await http(plain()).get(f"http://pair.test{path}", headers={"Authorization": f"Bearer {KEY}"})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_url")
    assert "POST /v1/responses" in response.json()["error"]["message"]


async def test_a_wrong_key_is_refused() -> None:
    with pytest.raises(openai.AuthenticationError):
        await client(plain(), key="sk-wrong").responses.create(**ASKED)
