"""Whatever a body contains, the server answers, or refuses it in the form of OpenAI's API."""

from __future__ import annotations

import copy
import json
from typing import Any

import openai
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ValidationError

from langchain_spec_thinking.serving.chat_request import ChatRequest
from tests.unit_tests import tool_task
from tests.unit_tests.openai_server import ASKED, KEY, NAME, http, plain

VALID: dict[str, Any] = {
    "model": NAME,
    "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Order "}, {"type": "text", "text": "tea."}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "buy", "arguments": '{"what": "tea"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "bought"},
        {"role": "user", "content": "And now?"},
    ],
    "max_tokens": 50,
    "temperature": 0.5,
    "top_p": 0.9,
    "seed": 3,
    "stop": ["STOP"],
    "tools": [convert_to_openai_tool(tool_) for tool_ in tool_task.TOOLS],
    "tool_choice": {"type": "function", "function": {"name": tool_task.TOOLS[0].name}},
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    "stream": False,
    "stream_options": {"include_usage": True},
    "n": 1,
    "logprobs": False,
}
RESPONSE: dict[str, Any] = {
    "model": NAME,
    "instructions": "Be short.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Order tea."}]},
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Tea."}], "content": None},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I do."}]},
        {"type": "function_call", "call_id": "a", "name": "buy", "arguments": '{"what": "tea"}'},
        {"type": "function_call_output", "call_id": "a", "output": "bought"},
        {"role": "user", "content": "And now?"},
    ],
    "max_output_tokens": 50,
    "temperature": 0.5,
    "top_p": 0.9,
    "tools": [{"type": "function", **convert_to_openai_tool(tool_)["function"]} for tool_ in tool_task.TOOLS],
    "tool_choice": {"type": "function", "name": tool_task.TOOLS[0].name},
    "parallel_tool_calls": False,
    "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}},
    "metadata": {"a": "b"},
    "include": [],
    "top_logprobs": 0,
    "store": True,
    "previous_response_id": None,
    "conversation": None,
    "background": False,
    "prompt": None,
    "stream": False,
}
BODIES = {"/v1/chat/completions": VALID, "/v1/responses": RESPONSE}
ODD: list[Any] = [
    *(None, True, False, 0, -1, 2**64, 1e300, float("nan"), float("inf")),
    *("", "x", "auto", "none", "any", "\ud800", "\x00", "[" * 5000),
    *([], [[]], [None] * 200, {}, {"type": "text"}, {"type": ["text"]}, {"function": "x"}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values inside a body."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [inner for key, part in parts for inner in [(*path, key), *places(part, (*path, key))]]


def nested(value: Any, depth: int) -> Any:
    for level in range(depth):
        value = {"a": value} if level % 2 else [value]
    return value


@st.composite
def bodies(draw: st.DrawFn, valid: dict[str, Any]) -> dict[str, Any]:
    """A valid body of which some fields are left out, changed, or wrapped."""
    body = copy.deepcopy(valid)
    for name in draw(st.sets(st.sampled_from(sorted(body.keys() - {"model", "messages", "input"})))):
        del body[name]
    for _ in range(draw(st.integers(0, 3))):
        if not body:
            break
        *outer, key = draw(st.sampled_from(places(body)))
        holder: Any = body
        for step in outer:
            holder = holder[step]
        match draw(st.sampled_from(["drop", "retype", "nest", "repeat"])):
            case "drop":
                del holder[key]
            case "retype":
                holder[key] = copy.deepcopy(draw(st.sampled_from(ODD)))  # the next change may be inside it
            case "nest":
                holder[key] = nested(holder[key], draw(st.integers(1, 190)))
            case "repeat":
                holder[key] = [copy.deepcopy(holder[key])] * 3
    return body


SERVER = http(plain("Tea it is. <tool_call>{"))
SDK = openai.AsyncOpenAI(api_key=KEY, base_url="http://pair.test/v1")


async def check_that_it_is_answered_or_refused(path: str, body: dict[str, Any], *, stream: bool) -> None:
    content = json.dumps({**body, "stream": stream} if stream else body)
    response = await SERVER.post(f"http://pair.test{path}", headers={"Authorization": f"Bearer {KEY}"}, content=content)
    if response.status_code == 200:
        assert '"error":{' not in response.text
        ends = ("data: [DONE]", "event: response.completed", "event: response.incomplete")
        assert any(end in response.text for end in ends) or response.json()["object"] in {"chat.completion", "response"}
        return
    assert 400 <= response.status_code < 500
    error: Any = SDK._make_status_error_from_response(response)  # noqa: SLF001 - how the SDK reads errors
    assert isinstance(error, openai.APIStatusError)
    assert isinstance(error.body, dict)
    assert error.body.keys() == {"message", "type", "param", "code"}
    assert error.type == "invalid_request_error"
    assert error.body["message"]
    assert error.param is None or error.param.split(".")[0] in BODIES[path]


@settings(max_examples=500)
@given(body=bodies(VALID), stream=st.booleans())
async def test_a_body_is_answered_or_refused(body: dict[str, Any], stream: bool) -> None:
    await check_that_it_is_answered_or_refused("/v1/chat/completions", body, stream=stream)


@settings(max_examples=500)
@given(body=bodies(RESPONSE), stream=st.booleans())
async def test_a_body_of_the_responses_api_is_answered_or_refused(body: dict[str, Any], stream: bool) -> None:
    await check_that_it_is_answered_or_refused("/v1/responses", body, stream=stream)


@given(content=st.binary(max_size=300), path=st.sampled_from(sorted(BODIES)))
async def test_a_body_that_is_not_json_is_refused(content: bytes, path: str) -> None:
    response = await SERVER.post(f"http://pair.test{path}", headers={"Authorization": f"Bearer {KEY}"}, content=content)
    assert response.status_code == 400
    assert response.json()["error"].keys() == {"message", "type", "param", "code"}


MODEL = plain()
SETTING_VALUES = st.one_of(
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.booleans(),
    st.text(st.sampled_from("x0."), max_size=3),
    st.lists(st.text("ab", max_size=2), max_size=80),
    st.sampled_from([0, 1, 2, 1e-300, "x" * 1000, "x" * 1001, ["x"] * 64, ["x"] * 65, [""], []]),
)
SETTINGS = ("temperature", "top_p", "seed", "stop", "max_tokens", "max_completion_tokens", "parallel_tool_calls", "n")


@settings(max_examples=300)
@given(chosen=st.dictionaries(st.sampled_from(SETTINGS), SETTING_VALUES, max_size=3))
def test_the_model_accepts_each_setting_that_the_body_may_contain(chosen: dict[str, Any]) -> None:
    """A setting that only the model refuses would wait for a free place first."""
    try:
        request = ChatRequest.model_validate({**ASKED, **chosen})
    except ValidationError:
        return
    MODEL.new_run(request.to_langchain(), **request.settings(), max_tokens=request.tokens or 1)
