"""The OpenAI-compatible endpoint for a small and a large model, called through the SDK in this process."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from integrations.openai_server.recipe import build
from langchain_spec_thinking import pocket
from langchain_spec_thinking.errors import BackendError, InvalidRequestError, PromptTooLongError
from langchain_spec_thinking.serving.app import create_app
from langchain_spec_thinking.serving.limits import Limits
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests import tool_task
from tests.unit_tests.asgi import Transport
from tests.unit_tests.openai_server import ASKED, KEY, NAME, Broken, Endless, client, http, plain
from tests.unit_tests.tool_task import THOUGHT, pair

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.capabilities import Capabilities
    from langchain_spec_thinking.turn import Turn

TOOLS: Any = [convert_to_openai_tool(tool_) for tool_ in tool_task.TOOLS]


async def test_the_model_is_listed() -> None:
    models = await client(pair()).models.list()
    assert [model.id for model in models.data] == [NAME]


async def test_a_reply_has_its_thought_its_answer_and_its_usage() -> None:
    reply = await client(pair()).chat.completions.create(**ASKED, tool_choice="none", tools=TOOLS)
    message: Any = reply.choices[0].message
    expected = pair().invoke("Order tea.", tool_choice="none", tools=TOOLS)
    assert message.reasoning_content == "".join(THOUGHT)
    assert message.content == expected.text
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert expected.usage_metadata is not None
    assert reply.usage.total_tokens == expected.usage_metadata["total_tokens"]
    assert reply.usage.completion_tokens_details is not None
    assert reply.usage.completion_tokens_details.reasoning_tokens
    assert reply.model_extra is not None
    assert reply.model_extra["speculative_thinking"]["takeovers"] == 1


@pytest.mark.parametrize("output_version", ["v0", "v1"])
async def test_the_parts_of_a_stream_make_the_reply(output_version: str) -> None:
    model = pair(output_version=output_version)
    whole: Any = await client(model).chat.completions.create(**ASKED, tools=TOOLS)
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    parts = [part async for part in await client(model).chat.completions.create(**ASKED, tools=TOOLS, **options)]
    *chunks, last = parts
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == "".join(THOUGHT)
    assert "".join(delta.content or "" for delta in deltas) == (whole.choices[0].message.content or "")
    (call,) = [call for delta in deltas for call in delta.tool_calls or []]
    (expected,) = whole.choices[0].message.tool_calls
    assert (call.index, call.function.name, call.function.arguments) == (
        0,
        expected.function.name,
        expected.function.arguments,
    )
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["tool_calls"]
    assert last.usage == whole.usage
    assert len({part.id for part in parts}) == 1
    without = [part async for part in await client(model).chat.completions.create(**ASKED, tools=TOOLS, stream=True)]
    assert all(part.choices and part.usage is None for part in without)


async def test_the_message_that_the_sdk_makes_of_a_stream_can_be_sent_back() -> None:
    asking = client(plain()).chat.completions
    async with asking.stream(**ASKED) as stream:
        parts = [event.chunk.choices[0].delta.role async for event in stream if event.type == "chunk"]
        message = (await stream.get_final_completion()).choices[0].message
    assert parts == ["assistant", *[None] * (len(parts) - 1)]
    conversation: Any = [*ASKED["messages"], message, {"role": "user", "content": "Milk too."}]
    reply = await asking.create(model=NAME, messages=conversation)
    assert reply.choices[0].message.content == "Tea it is."


async def test_an_agent_works_through_the_server() -> None:
    """`ChatOpenAI` stands for any client. The tools' results come back in OpenAI's form."""
    remote = ChatOpenAI(
        model=NAME, api_key=SecretStr(KEY), base_url="http://pair.test/v1", http_async_client=http(pair())
    ).bind_tools(tool_task.TOOLS)
    messages: list[Any] = [HumanMessage("Order tea.")]
    by_name = {tool_.name: tool_ for tool_ in tool_task.TOOLS}
    while (reply := await remote.ainvoke(messages)).tool_calls:
        messages += [reply, *[await by_name[call["name"]].ainvoke(call) for call in reply.tool_calls]]
    assert reply.text == tool_task.ANSWER
    assert len(messages) == 7


async def test_settings_reach_the_models() -> None:
    small = ScriptedBackend('{"a": 1} STOP x', name="small")
    form = {"type": "json_object"}
    await client(plain(small)).chat.completions.create(
        **ASKED, temperature=0, top_p=0.5, seed=3, stop=["STOP"], max_tokens=7
    )
    request, _ = small.requests[0]
    assert (request.temperature, request.top_p, request.seed, request.stop) == (0, 0.5, 3, ("STOP",))
    assert request.max_tokens == 7
    reply = await client(plain(small)).chat.completions.create(**ASKED, response_format=form)  # type: ignore[call-overload]
    assert reply.choices[0].message.content.startswith('{"a": 1}')


@pytest.mark.parametrize(
    ("seed", "used"),
    [(0, 0), (2**62 - 1, 2**62 - 1), (-1, 2**62 - 1), (2**62, 0), (-(2**63), 0), (2**63 - 1, 2**62 - 1)],
)
async def test_every_seed_of_openai_is_accepted(seed: int, used: int) -> None:
    """OpenAI allows 64 bits with a sign. The chat model allows fewer seeds, and the same seed is always the same."""
    small = ScriptedBackend("Tea.", name="small")
    await client(plain(small)).chat.completions.create(**ASKED, seed=seed)
    assert small.requests[0][0].seed == used


async def test_an_invalid_call_is_returned_as_a_call() -> None:
    reply = await client(plain("<tool_call>{oh</tool_call>")).chat.completions.create(**ASKED, tools=TOOLS)
    (call,) = reply.choices[0].message.tool_calls or []
    assert "{oh" in json.dumps(call.model_dump())


class Limited(ScriptedBackend):
    """A model that says where its server is."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, limitation=f"x at {PLACE}/v1: only gets an instruction. See {PLACE}.")


@pytest.mark.parametrize("stream", [False, True])
async def test_clients_see_no_address_of_the_servers_behind_this_one(stream: bool) -> None:
    body = {**ASKED, "stream": stream, "stream_options": {"include_usage": True}}
    headers = {"Authorization": f"Bearer {KEY}"}
    limited = Limited(lambda turn: "Tea." if turn.closing else "Hm.", thinks=True)  # the answer continues a thought
    reply = await http(plain(limited)).post("http://pair.test/v1/chat/completions", json=body, headers=headers)
    assert "x at its server: only gets an instruction. See its server." in reply.text
    assert PLACE not in reply.text


async def test_a_conversation_that_is_too_long_tells_nothing_about_the_servers() -> None:
    model = plain(Broken(PromptTooLongError(f"x at {PLACE}: /home/me/models/x has 9 tokens")))
    with pytest.raises(openai.BadRequestError, match="longer than the models' context") as caught:
        await client(model).chat.completions.create(**ASKED)
    assert "/home" not in str(caught.value)
    assert PLACE not in str(caught.value)


PLACE = "http://10.0.0.7:8000"
REFUSED: dict[str, tuple[Any, dict[str, Any], int, str | None]] = {
    "another model": (plain(), {"model": "gpt-5"}, 404, "model_not_found"),
    "no messages": (plain(), {"messages": []}, 400, None),
    "a strange role": (plain(), {"messages": [{"role": "king", "content": "x"}]}, 400, None),
    "no role": (plain(), {"messages": [{"content": "x"}]}, 400, None),
    "an image": (plain(), {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, None),
    "several replies": (plain(), {"n": 2}, 400, None),
    "too hot": (plain(), {"temperature": 3}, 400, None),
    "too many stop strings": (plain(), {"stop": ["x"] * 65}, 400, None),
    "a long stop string": (plain(), {"stop": "x" * 1001}, 400, None),
    "an empty stop string": (plain(), {"stop": [""]}, 400, None),
    "a huge seed": (plain(), {"seed": 2**64}, 400, None),
    "an unknown tool": (plain(), {"tools": TOOLS, "tool_choice": "fly"}, 400, None),
    "too many tokens": (plain(), {"max_tokens": 101}, 400, "max_tokens_exceeded"),
    "too many, by their new name": (plain(), {"max_completion_tokens": 101}, 400, "max_tokens_exceeded"),
    "a long body": (plain(), {"messages": [{"role": "user", "content": "x" * 20_000}]}, 413, "request_too_large"),
    "a long prompt": (plain(Broken(PromptTooLongError("9 tokens"))), {}, 400, "context_length_exceeded"),
    "what a model refuses": (plain(Broken(InvalidRequestError(PLACE))), {}, 400, "refused_by_model"),
    "models that are down": (plain(Broken(BackendError(f"nobody at {PLACE}"))), {}, 503, "model_unavailable"),
    "a defect": (plain(Broken(RuntimeError(PLACE))), {}, 500, None),
    "a defect with the type of an invalid setting": (plain(Broken(ValueError(f"got {PLACE}"))), {}, 500, None),
    "time is up": (plain(timeout=1e-9), {}, 504, "timeout"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", REFUSED)
async def test_errors_have_the_form_of_openai(what: str, stream: bool) -> None:
    model, changed, status, code = REFUSED[what]
    asking = client(model, tokens=100, body=10_000)
    with pytest.raises(openai.APIStatusError) as caught:
        await asking.chat.completions.create(**{**ASKED, **changed, "stream": stream})
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body.keys() == {"message", "type", "param", "code"}
    assert PLACE not in caught.value.message


async def test_an_error_during_a_stream_is_sent() -> None:
    stream = await client(plain(Broken(BackendError(PLACE), words=3))).chat.completions.create(**ASKED, stream=True)
    said = []
    with pytest.raises(openai.APIError, match="A model cannot be reached") as caught:
        said += [part async for part in stream]
    assert PLACE not in str(caught.value)


def said(**message: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "x"}, message]}


def called(**call: Any) -> dict[str, Any]:
    function = {"name": "buy", "arguments": "{}"}
    return said(role="assistant", tool_calls=[{"id": "a", "type": "function", "function": function, **call}])


INVALID: dict[str, tuple[Any, str | None]] = {
    "not JSON": (b"{", None),
    "not UTF-8": (b'{"model": "\xff"}', None),
    "a list": ([], None),
    "too deep": (b'{"tools":' + b"[" * 100_000, None),
    "a number with 5,000 digits": (b'{"seed":' + b"9" * 5000 + b"}", None),
    "a seed with more than 64 bits": ({"seed": 2**64}, "seed"),
    "half of a character": (b'{"model": "\\ud800"}', None),
    "no model": ({"model": None}, "model"),
    "messages as text": ({"messages": "hi"}, "messages"),
    "a message as text": ({"messages": ["hi"]}, "messages.0"),
    "a text block without text": (said(role="user", content=[{"type": "text"}]), "messages.1.content.0"),
    "a list as the type of a block": (said(role="user", content=[{"type": ["text"]}]), "messages.1.content.0.type"),
    "a text block with a number": (
        said(role="user", content=[{"type": "text", "text": 1}]),
        "messages.1.content.0.text",
    ),
    "an image": (said(role="user", content=[{"type": "image_url", "image_url": {"url": "x"}}]), "messages"),
    "a user without content": (said(role="user"), "messages.1"),
    "a result without its call": (said(role="tool", content="5"), "messages.1"),
    "calls as text": (said(role="assistant", tool_calls="buy"), "messages.1.tool_calls"),
    "a call without a function": (called(function=None), "messages.1.tool_calls.0.function"),
    "a call without arguments": (called(function={"name": "buy"}), "messages.1.tool_calls.0.function.arguments"),
    "a call without an id": (called(id=None), "messages.1.tool_calls.0.id"),
    "tools as an object": ({"tools": {}}, "tools"),
    "a tool without a function": ({"tools": [{"type": "function"}]}, "tools.0.function"),
    "a tool without a name": ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
    "a tool of another type": ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools.0.type"),
    "parameters as text": (
        {"tools": [{"type": "function", "function": {"name": "x", "parameters": "x"}}]},
        "tools.0.function.parameters",
    ),
    "a choice without a name": ({"tools": TOOLS, "tool_choice": {"type": "function", "function": "x"}}, "tool_choice"),
    "an unknown tool": ({"tools": TOOLS, "tool_choice": "fly"}, "tool_choice"),
    "an unknown format": ({"response_format": {"type": "xml"}}, "response_format"),
    "a format as text": ({"response_format": "json"}, "response_format"),
    "a number as stop string": ({"stop": [1]}, "stop.0"),
    "an empty stop string": ({"stop": ["x", ""]}, "stop.1"),
    "a long stop string": ({"stop": "x" * 1001}, "stop.0"),
    "too many stop strings": ({"stop": ["x"] * 65}, "stop"),
    "a temperature that is not a number": (b'{"model": "m", "messages": [], "temperature": NaN}', "messages"),
    "no tokens": ({"max_tokens": 0}, "max_tokens"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", INVALID)
async def test_an_invalid_body_is_refused_and_its_field_is_named(what: str, stream: bool) -> None:
    changed, param = INVALID[what]
    body = json.dumps({**ASKED, "stream": stream, **changed}) if isinstance(changed, dict) else changed
    content = json.dumps(body) if isinstance(body, list) else body
    response = await http(plain()).post(
        "http://pair.test/v1/chat/completions", headers={"Authorization": f"Bearer {KEY}"}, content=content
    )
    assert response.status_code == 400
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "unknown_url"),
        ("POST", "/v1/completions", 404, "unknown_url"),
        ("POST", "/v1/chat/completions/", 404, "unknown_url"),
        ("GET", "/docs", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "method_not_supported"),
        ("OPTIONS", "/v1/models", 405, "method_not_supported"),
    ],
)
async def test_unknown_endpoints_have_errors_in_the_form_of_openai(
    method: str, path: str, status: int, code: str
) -> None:
    response = await http(plain()).request(method, f"http://pair.test{path}")
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert "POST /v1/chat/completions" in response.json()["error"]["message"]


def keeping(seen: list[Turn]) -> ScriptedBackend:
    """Return a model that keeps the turns that it is asked to continue."""

    def reply(turn: Turn) -> str:
        seen.append(turn)
        return "I see."

    return ScriptedBackend(reply, name="small")


ODD_ARGUMENTS = {
    "nested too deeply": "[" * 100_000,
    "too deep for Python": '{"a":' * 900 + "1" + "}" * 900,
    "not JSON": "{oh",
    "a list": "[1]",
    "a number with 5,000 digits": '{"a": %s}' % ("9" * 5000),
    "not a number": '{"a": NaN}',
    "empty": "",
}


@pytest.mark.parametrize("what", ODD_ARGUMENTS)
async def test_the_model_sees_odd_arguments_as_it_wrote_them(what: str) -> None:
    seen: list[Turn] = []
    body = called(function={"name": "buy", "arguments": ODD_ARGUMENTS[what]})
    await client(plain(keeping(seen))).chat.completions.create(**{**ASKED, **body})
    (call,) = seen[0].history[-1].tool_calls
    assert (call.id, call.name, call.arguments) == ("a", "buy", ODD_ARGUMENTS[what])


async def test_every_kind_of_message_reaches_the_models() -> None:
    seen: list[Turn] = []
    messages: Any = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Buy "}, {"type": "text", "text": "tea."}], "name": "Al"},
        {"role": "assistant", "content": None, "tool_calls": called()["messages"][1]["tool_calls"]},
        {"role": "tool", "content": "", "tool_call_id": "a"},
    ]
    asking = client(plain(keeping(seen))).chat.completions
    await asking.create(model=NAME, messages=messages, extra_body={"unknown": [1]})
    history = [(message.role, message.content, message.tool_call_id) for message in seen[0].history]
    assert history == [("system", "Be short.", ""), ("user", "Buy tea.", ""), ("assistant", "", ""), ("tool", "", "a")]


@pytest.mark.parametrize("stream", [False, True])
async def test_half_of_a_character_does_not_break_the_reply(stream: bool) -> None:
    response = await http(plain("Tea \ud83d it is.")).post(
        "http://pair.test/v1/chat/completions",
        headers={"Authorization": f"Bearer {KEY}"},
        json={**ASKED, "stream": stream},
    )
    assert response.status_code == 200
    assert "?" in response.text
    assert "error" not in response.text


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer sk-wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer é"]
)
async def test_requests_without_a_valid_key_are_refused(header: str | None) -> None:
    asking = http(plain())
    headers = [] if header is None else [(b"authorization", header.encode())]
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions")):
        response = await asking.request(method, f"http://pair.test{path}", headers=headers, json=ASKED)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"
    assert (await asking.get("http://pair.test/health", headers=headers)).status_code == 200
    with pytest.raises(openai.AuthenticationError):
        await client(plain(), key="sk-wrong").models.list()


@pytest.mark.parametrize("keys", [[], [""]])
def test_a_server_without_a_key_is_not_made(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="api_keys"):
        create_app(plain(), keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        pytest.param(KEY, "expected a list of keys", id="a text, whose letters would each be a key"),
        pytest.param(["clé"], "ASCII", id="a letter that clients send in different ways"),
        pytest.param([KEY, f"{KEY}\n"], "a line end", id="the line end of a file"),
        pytest.param([f"{KEY} x"], "a space", id="a space"),
    ],
)
def test_a_key_that_lets_everybody_or_nobody_in_is_refused(keys: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        create_app(plain(), keys)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_disconnects_stops_the_models(stream: bool) -> None:
    small = Endless()
    asking = client(plain(small)).chat.completions
    if stream:
        parts = await asking.create(**ASKED, stream=True)
        await anext(aiter(parts))
        assert small.open == 1
        await parts.close()
    else:
        task = asyncio.create_task(asking.create(**ASKED))
        await small.started.get()
        assert small.open == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert small.open == 0


async def test_requests_beyond_the_limits_are_refused() -> None:
    """Of four requests, two are answered, one waits, and one is refused. They may reach the server in any order."""
    small = Endless()
    asking = client(plain(small), running=2, waiting=1).chat.completions

    def ask(question: str) -> asyncio.Task[Any]:
        messages: Any = [{"role": "user", "content": question}]
        return asyncio.create_task(asking.create(model=NAME, messages=messages))

    tasks = {question: ask(question) for question in "abcd"}
    (refused,), _ = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(openai.RateLimitError, match="2 replies are being written and 1 requests wait"):
        await refused
    first, second = await small.started.get(), await small.started.get()
    (waits,) = (question for question, task in tasks.items() if question not in {first, second} and task is not refused)
    tasks[first].cancel()
    assert await small.started.get() == waits
    for task in tasks.values():
        task.cancel()
    await asyncio.wait(tasks.values())
    assert (small.open, small.most) == (0, 2)


async def test_the_recipe_serves_the_pocket_models() -> None:
    transport = Transport(build(api_key=KEY, limits=Limits(tokens=600)))
    asking = openai.AsyncOpenAI(
        api_key=KEY, base_url="http://pair.test/v1", http_client=httpx2.AsyncClient(transport=transport)
    )
    problem = pocket.problems()[2]
    messages: Any = [{"role": "user", "content": problem.question}]
    reply = await asking.chat.completions.create(model=NAME, messages=messages, temperature=0)
    assert pocket.boxed(reply.choices[0].message.content or "") == problem.answer
    assert (await asking.models.list()).data[0].model_extra == {"max_model_len": 2048}
