"""What users of other clients and engines reported, tried on this package.

Each id names the report, as repository#number, and what was wrong there. The fakes do what the report shows.
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend
from langchain_spec_thinking.backends.base import Piece, Request
from langchain_spec_thinking.messages import history_of
from langchain_spec_thinking.policy.triggers.entropy import entropy
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_batched_forward import TURNS, Gathered, passes
from tests.unit_tests.loops import wait_for_tasks
from tests.unit_tests.wire import Server, continued, delta, event, sse, text, turn, usage

if TYPE_CHECKING:
    from collections.abc import Callable

CHAT: dict[str, Any] = {"tokenizer": None, "continuation": "chat_flag"}
BOTH = pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])


def pair(small: Any, **settings: Any) -> ChatSpeculativeThinking:
    """Return a pair whose small model is a server or a script. The large model writes nothing."""
    backend = small.backend(**CHAT) if isinstance(small, Server) else ScriptedBackend(small)
    return ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend(), **settings)


async def ask(model: Any, messages: Any = "x", *, asynchronously: bool) -> AIMessage:
    message = await model.ainvoke(messages) if asynchronously else model.invoke(messages)
    assert isinstance(message, AIMessage)
    return message


# -- streams

FILTERED = {"id": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
ANNOTATED = {"choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {"check_offset": 1}}]}


def unescaped(chunk: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


STREAMS = [
    pytest.param(
        [FILTERED, delta(role="assistant", content=""), delta(content="A"), ANNOTATED, delta("stop", content="B")],
        "AB",
        id="pydantic-ai#164: the first chunk of Azure has no choices",
    ),
    *(
        pytest.param(
            [control, b"id: 1\n" + event(delta(content="A")), control, delta("stop", content="B")],
            "AB",
            id=f"openai-python#3833: an event without data ends the stream ({control!r})",
        )
        for control in (
            b"retry: 3000\n\n",
            b"id: 7\n\n",
            b": ping\n\n",
            b"event: ping\n\n",
            b"data:\n\n",
            b"data: \n\n",
        )
    ),
    *(
        pytest.param(
            [unescaped(delta(content=f"A{separator}B")), delta("stop")],
            f"A{separator}B",
            id=f"openai-python#1230: a line is cut at {separator!r} in the text",
        )
        for separator in "\u2028\u2029\x85\x0b\x0c\x1c"
    ),
    pytest.param(
        [delta(content="A"), delta("stop", content="B")],
        "AB",
        id="nextai-translator#1810: text beside the finish reason is lost",
    ),
    pytest.param(
        [delta("stop", content=said) for said in "ABC"],
        "ABC",
        id="litellm#2195: each chunk has a finish reason, so that the text ends with the first one",
    ),
]


@BOTH
@pytest.mark.parametrize(("chunks", "expected"), STREAMS)
async def test_a_stream_is_read_with_one_request(chunks: list[Any], expected: str, asynchronously: bool) -> None:
    server = Server(sse(*chunks))
    assert (await ask(pair(server), asynchronously=asynchronously)).text == expected
    assert len(server.requests) == 1


COUNTS = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
KIMI = {"choices": [{**delta("stop")["choices"][0], "usage": COUNTS}]}
USAGES = [
    pytest.param(
        [
            {**delta(content=said), "usage": {**COUNTS, "completion_tokens": count}}
            for count, said in enumerate("ABC", 1)
        ]
        + [delta("stop"), usage(10, 3)],
        id="databricks-ai-bridge#434: each chunk has the usage so far, and it is added up",
    ),
    pytest.param([*[delta(content=said) for said in "ABC"], KIMI], id="pi#2017: Kimi reports the usage in the choice"),
    pytest.param(
        [*[delta(content=said) for said in "ABC"], delta("stop"), {"choices": [], "x_groq": {"usage": COUNTS}}],
        id="pi#2017, its sibling: Groq reports the usage in a field of its own",
    ),
]


@BOTH
@pytest.mark.parametrize("chunks", USAGES)
async def test_usage_is_counted_once_wherever_it_is(chunks: list[Any], asynchronously: bool) -> None:
    message = await ask(pair(Server(sse(*chunks))), asynchronously=asynchronously)
    counted = message.response_metadata["speculative_thinking"]["usage"]["speculative"]
    assert (message.text, counted["prompt_tokens"], counted["completion_tokens"]) == ("ABC", 10, 3)


STOPPED: list[Any] = [
    pytest.param([lambda: sse(*[delta(content=sign) for sign in "one STOP two"], delta("stop"))], id="in letters"),
    pytest.param(
        [lambda: sse(delta(content="one ST"), httpx2.ReadError("gone")), lambda: sse(delta("stop", content="OP two"))],
        id="over a broken connection",
    ),
]


@pytest.mark.parametrize("stop", ["STOP", ["STOP"]], ids=["a string", "a list"])
@pytest.mark.parametrize("answers", STOPPED)
def test_swiftlm_126_a_stop_string_in_pieces_is_streamed(answers: list[Any], stop: Any) -> None:
    chunks = pair(Server(*answers)).stream("x", stop=stop)
    assert "".join(chunk.text for chunk in chunks) == "one "


async def test_lightrag_3634_leaving_within_a_thought_leaks_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    response = sse(*[delta(reasoning_content="on ")] * 50, delta("stop", content="A"))
    stream: Any = pair(Server(response)).astream("x")
    await anext(stream)
    await stream.aclose()
    await wait_for_tasks()
    assert response.is_closed
    assert not [record for record in caplog.records if record.name == "asyncio"]


# -- calls and histories


class Edit(BaseModel):
    """Edit a file."""

    text: str = ""


TABS = '{"text": "a\tb\nc"}'
CALLS = [
    *(
        pytest.param(
            [delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "Edit", "arguments": arguments}}])],
            {},
            id=f"hermes-agent#83937: a call without arguments ({arguments!r}) is not valid",
        )
        for arguments in ("", None, " ", "{}", "null")
    ),
    pytest.param(
        [delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "Edit", "arguments": TABS}}])],
        {"text": "a\tb\nc"},
        id="omlx#1672: line breaks and tabs as they are make a call invalid",
    ),
    pytest.param(
        [delta(content=f'<tool_call>{{"name": "Edit", "arguments": {TABS}}}</tool_call>')],
        {"text": "a\tb\nc"},
        id="omlx#1672: so they do in a call that is text",
    ),
]


@BOTH
@pytest.mark.parametrize(("chunks", "expected"), CALLS)
async def test_a_call_is_valid(chunks: list[Any], expected: dict[str, Any], asynchronously: bool) -> None:
    model = pair(Server(sse(*chunks, delta("tool_calls")))).bind_tools([Edit])
    message = await ask(model, asynchronously=asynchronously)
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("Edit", expected)]


def called(*calls: tuple[str, str]) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": {"city": name}, "id": call_id} for name, call_id in calls])


ASKED = HumanMessage("x")
HISTORIES = [
    pytest.param(
        [
            ASKED,
            called(("f", "0")),
            ToolMessage("F", tool_call_id="0"),
            called(("g", "0")),
            ToolMessage("G", tool_call_id="0"),
        ],
        [("user", "x", ""), ("assistant", "", ""), ("tool", "F", "f"), ("assistant", "", ""), ("tool", "G", "g")],
        id="hermes-agent#70724: an id that comes again names the wrong tool",
    ),
    pytest.param(
        [ASKED, called(("f", "1"), ("g", "2")), ToolMessage("G", tool_call_id="2"), ToolMessage("F", tool_call_id="1")],
        [("user", "x", ""), ("assistant", "", ""), ("tool", "F", "f"), ("tool", "G", "g")],
        id="oh-my-pi#11179: results in another order are taken for those of other calls",
    ),
    pytest.param(
        [ASKED, AIMessage(" "), HumanMessage("y"), AIMessage("z"), AIMessage(""), HumanMessage("u"), HumanMessage("v")],
        [("user", "x\n\ny", ""), ("assistant", "z", ""), ("user", "u", ""), ("user", "v", "")],
        id="LLMKube#935: an empty reply makes every later request invalid",
    ),
    pytest.param([AIMessage("")], [("assistant", "", "")], id="LLMKube#935: there is nothing but an empty reply"),
]


@pytest.mark.parametrize(("messages", "expected"), HISTORIES)
def test_a_history_is_repaired(messages: list[Any], expected: list[tuple[str, str, str]]) -> None:
    assert [(message.role, message.content, message.name) for message in history_of(messages)] == expected


TOOL_LOOP = [ASKED, called(("Bonn", "c1")), ToolMessage("sunny", tool_call_id="c1")]
ITEMS = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}"
    "{% for k, v in c.function.arguments|items %}{{ k }}={{ v }};{% endfor %}{{ c.function.arguments|tojson }}"
    "{% endfor %}<|end|>{% endfor %}{% if tools %}{% endif %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_qwen3_1894_a_template_gets_the_arguments_of_old_calls_as_a_string() -> None:
    server = Server(sse(text("A", "stop")))
    small = server.backend(tokenizer=tiny.byte_tokenizer(ITEMS))
    ChatSpeculativeThinking(speculative=small, target=ScriptedBackend()).invoke(TOOL_LOOP)
    assert '<|assistant|>city=Bonn;{"city": "Bonn"}<|end|>' in server.requests[0][1]["prompt"]


def test_hermes_agent_11906_a_call_without_text_is_sent_with_an_empty_text() -> None:
    server = Server(sse(delta("stop", content="A")))
    pair(server).bind_tools([Edit]).invoke(TOOL_LOOP)
    asked, reply, result = server.requests[0][1]["messages"]
    assert (asked["content"], reply["content"], result["content"]) == ("x", None, "sunny")


def test_eca_233_mistral_refuses_ids_that_are_not_nine_letters_and_digits() -> None:
    """A small model that writes calls as text has no ids, so we make them."""
    message: Any = pair('<tool_call>{"name": "Edit", "arguments": {}}</tool_call>').bind_tools([Edit]).invoke("x")
    [call] = message.tool_calls
    assert (len(call["id"]), call["id"].isalnum()) == (9, True)


# -- structured output

CODE = "```py\nprint()\n```"
METHODS = pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])


def structured(said: list[str], method: str) -> Any:
    """Return a model whose structured answer comes in these pieces."""
    if method == "function_calling":
        fragments = [{"index": 0, "function": {"arguments": part}} for part in said]
        begun = {"index": 0, "id": "c1", "function": {"name": "Edit", "arguments": ""}}
        chunks = [delta(tool_calls=[fragment]) for fragment in (begun, *fragments)]
    else:
        chunks = [delta(content=part) for part in said]
    return pair(Server(sse(*chunks, delta("stop")))).with_structured_output(Edit, method=method)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["{}", "```json\n{}\n```", "```\n{}\n```", "Here:\n```json\n{}\n```\nDone."])
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_langchain_19646_code_blocks_in_json_end_the_code_block_around_it(form: str, method: str) -> None:
    said = form.replace("{}", json.dumps({"text": CODE}))
    assert structured([said], method).invoke("x") == Edit(text=CODE)


@METHODS
def test_langchain_29860_streamed_structured_output_has_no_result(method: str) -> None:
    assert [*structured([*json.dumps({"text": "a b"})], method).stream("x")][-1] == Edit(text="a b")


# -- local models


def written(backend: Any, **request: Any) -> str:
    events = backend.continue_turn(turn(), Request(**{"max_tokens": 40, "temperature": 0.0, **request}))
    return "".join(event.text for event in events if isinstance(event, Piece))


def trained(model: Any) -> None:
    """Leave a model as training leaves it."""
    model.config.use_cache = model.generation_config.use_cache = False
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = True
    model.train()


def test_transformers_36051_a_model_as_training_leaves_it_writes_other_text() -> None:
    model = copy.deepcopy(tiny.llama())
    trained(model)
    assert written(tiny.backend(model)) == written(tiny.backend())


def test_pegainfer_673_a_token_beyond_the_vocabulary_ends_the_reply() -> None:
    model = tiny.llama(3, vocabulary=len(tiny.byte_tokenizer()) + 400)
    *_, end = tiny.backend(model).continue_turn(turn(), Request(60, temperature=0))
    assert (end.reason, end.usage.completion_tokens) == ("length", 60)  # type: ignore[union-attr]


def test_dynamo_11792_a_truncation_in_the_tokenizer_file_cuts_prompts() -> None:
    tokenizer, long = copy.deepcopy(tiny.byte_tokenizer()), "the cat sat on the mat " * 20
    tokenizer.backend_tokenizer.enable_truncation(8)
    tokenizer.backend_tokenizer.enable_padding(length=600)
    assert written(tiny.backend(tokenizer=tokenizer)) == written(tiny.backend())
    counted = [backend.count_tokens(long) for backend in (tiny.backend(tokenizer=tokenizer), tiny.backend())]
    assert counted[0] == counted[1]


def test_vllm_51226_a_seed_is_ignored_beside_requests_without_a_seed() -> None:
    model = copy.deepcopy(tiny.llama())
    alone = written(tiny.backend(model), temperature=1.0, seed=5)
    backend = tiny.backend(model)
    forward = Gathered(backend)
    with passes(model, forward.gather) as read:
        texts = forward.run_all_turns(lambda index: written(backend, temperature=1.0, seed=5 if index == 2 else None))
    assert texts[2] == alone
    assert TURNS in read  # a pass reads one token of each request


def test_transformers_47085_a_tokenizer_fails_if_threads_share_it() -> None:
    tokenizer, long = copy.deepcopy(tiny.byte_tokenizer()), "the cat sat on the mat " * 300
    backend = tiny.backend(tokenizer=tokenizer)
    with ThreadPoolExecutor(8) as pool:
        assert len({*pool.map(lambda _: backend.count_tokens(long), range(32))}) == 1


def test_sonar_183_a_log_probability_of_minus_infinity_loses_the_reply() -> None:
    top = {"A": -0.1, "B": -math.inf, "C": -9999.0}
    logprobs = {"tokens": ["A"], "token_logprobs": [-0.1], "top_logprobs": [top]}
    chunk = {"choices": [{"index": 0, "text": "A", "logprobs": logprobs, "finish_reason": "stop"}]}
    said, events = continued(Server(sse(chunk)).backend(), top_logprobs=3)
    [piece] = [event for event in events if isinstance(event, Piece)]
    assert said == "A"
    assert entropy(piece.top_logprobs or ()) == pytest.approx(0)


# -- settings, caches and callbacks


@pytest.mark.parametrize("hosts", ["localhost,::1", "fe80::/10", "[::1]", "::/0,*.local"])
def test_kimi_cli_1959_addresses_in_no_proxy_prevent_the_start(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, hosts)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    backend = OpenAIBackend("m", base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0)
    assert str(backend._clients.client.base_url).startswith("http://127.0.0.1:9/v1")  # noqa: SLF001 - no request is needed


@pytest.mark.parametrize(
    "changed", [{"temperature": 1.0}, {"max_tokens": 5}, {"stop": ["q"]}, {"seed": 1}, {"answer_by": "target"}]
)
def test_langchain_19328_a_cache_does_not_tell_settings_apart(changed: dict[str, Any]) -> None:
    cache, asked = InMemoryCache(), []

    def script(_: object) -> str:
        asked.append(1)
        return "A"

    for settings in ({}, {}, changed):
        pair(script, cache=cache, **settings).invoke("x")
    assert len(asked) == 2


@pytest.mark.parametrize(
    "way", [lambda model: model.invoke("x"), lambda model: [*model.stream("x")]], ids=["invoke", "stream"]
)
def test_langchain_40412_the_usage_callback_sees_no_usage(way: Callable[[Any], Any]) -> None:
    model = pair("One. Two.")
    with get_usage_metadata_callback() as seen:
        way(model)
    assert seen.usage_metadata == {model.model_name: model.invoke("x").usage_metadata}


def test_deer_flow_2615_a_model_works_in_one_event_loop_only() -> None:
    model = pair(Server(lambda: sse(delta("stop", content="A"))))
    assert [asyncio.run(model.ainvoke("x")).text for _ in range(3)] == ["A"] * 3
