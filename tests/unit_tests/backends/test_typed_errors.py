"""Whatever a server, a model or a user sends: the only error of a backend is a BackendError, so a turn can continue."""

from __future__ import annotations

import copy
import itertools
import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk

from langchain_spec_thinking import Backend, ChatModelBackend, ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import Call, Piece, Request
from langchain_spec_thinking.backends.openai.logprobs import split_at_tokens
from langchain_spec_thinking.backends.openai.retries import is_transient
from langchain_spec_thinking.backends.replies.answer_plan import plan_answer
from langchain_spec_thinking.backends.replies.call_formats import CALL_FORMATS
from langchain_spec_thinking.backends.replies.call_parser import CallParser, make_call
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import ToolCall, Tools
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_chat_model import Plain
from tests.unit_tests.wire import Server, continued, delta, event, refused, sse, text, turn

if TYPE_CHECKING:
    from collections.abc import Iterable

ADD = {"type": "function", "function": {"name": "add", "parameters": {}}}
MUL = {"type": "function", "function": {"name": "mul", "parameters": {"properties": {"x": {"type": "array"}}}}}
CHAT: dict[str, Any] = {"tokenizer": None, "continuation": "chat_flag", "max_retries": 0}
HALF = "\ud83d"
DEEP, DIGITS = "[" * 100_000, "1" * 5000


def tool_delta(**fields: Any) -> dict[str, Any]:
    return delta(tool_calls=[{"index": 0, "function": {"name": "add", "arguments": "{}"}, **fields}])


EVENTS = {
    "brackets without end": f"data: {DEEP}\n\n".encode(),
    "deep brackets": f'data: {{"choices": {DEEP}{"]" * 100_000}}}\n\n'.encode(),
    "a number of 5,000 digits": f'data: {{"usage": {{"completion_tokens": {DIGITS}}}}}\n\n'.encode(),
    "a call whose id is true": tool_delta(id=True),
    "a call whose id is a number": tool_delta(id=5),
    "a call whose index is a list": tool_delta(index=[]),
    "a call whose index is an object": tool_delta(index={}),
    "a call whose name is a list": tool_delta(function={"name": []}),
    "a call whose arguments are a list": tool_delta(function={"name": "add", "arguments": [1]}),
    "a call whose arguments are a number": tool_delta(function={"name": "add", "arguments": 1}),
    "calls that are text": delta(tool_calls="add"),
    "calls that are true": delta(tool_calls=True),
    "a call that is text": delta(tool_calls=["add"]),
    "a call that is nothing": delta(tool_calls=[None]),
    "bytes that are no text": b'data: {"choices": "\xff"}\n\n',
}


@pytest.mark.parametrize("broken", EVENTS.values(), ids=EVENTS)
@pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])
async def test_a_turn_goes_on_after_an_event_that_cannot_be_read(broken: Any, asynchronously: bool) -> None:
    server = Server(sse(delta(content="A"), broken), sse(delta("stop", content="B")))
    pair = ChatSpeculativeThinking(speculative=server.backend(**CHAT), target=ScriptedBackend())
    tools: dict[str, Any] = {"tools": [ADD], "tool_choice": "auto"}
    message = await pair.ainvoke("x", **tools) if asynchronously else pair.invoke("x", **tools)
    assert message.text == "AB"
    assert not message.tool_calls


@pytest.mark.parametrize("broken", EVENTS.values(), ids=EVENTS)
def test_the_small_model_goes_on_if_the_large_one_sends_only_such_events(broken: Any) -> None:
    small = ScriptedBackend("One.\n\nWait, two.\n\nThree.")
    pair = ChatSpeculativeThinking(speculative=small, target=Server(lambda: sse(broken)).backend(**CHAT))
    message = pair.invoke("x")
    assert message.text.endswith("Three.")
    assert "the large model failed" in message.response_metadata["speculative_thinking"]["degraded"][0]


LISTINGS: list[Any] = [
    [],
    5,
    None,
    "x",
    {"data": 5},
    {"data": [5]},
    {"data": [None]},
    {"data": ["big"]},
    {"data": [{"id": {}}]},
]
LISTINGS += [{"data": [{"id": "big", "max_model_len": length}]} for length in (-5, 0, True, "x", (), 10**30)]


@pytest.mark.parametrize("listing", LISTINGS, ids=str)
def test_any_list_of_models_is_accepted(listing: Any) -> None:
    class Lister(Server):
        def listing(self, request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200, json=listing)

    said, _ = continued(Lister(sse(text("A", "stop"))).backend(continuation="raw"))
    assert said == "A"


COUNTS = [True, -1, 10**30, 1.5, "many", [], {}, float("inf"), float("nan")]


@pytest.mark.parametrize("count", COUNTS, ids=str)
def test_a_count_of_tokens_that_is_no_count_is_ignored(count: Any) -> None:
    reported = {"prompt_tokens": count, "completion_tokens": count, "prompt_tokens_details": {"cached_tokens": count}}
    server = Server(sse(text("A b c", "stop"), {"choices": [], "usage": reported}))
    pair = ChatSpeculativeThinking(speculative=server.backend(), target=ScriptedBackend())
    usage = pair.invoke("x").response_metadata["speculative_thinking"]["usage"]["speculative"]
    assert 0 < usage["completion_tokens"] < 20
    assert 0 < usage["prompt_tokens"] < 50
    assert usage["cached_tokens"] == 0


@pytest.mark.parametrize("value", ["nan", "1e400", float("nan"), float("inf"), 10**400, 1000, True, [], "x"])
def test_log_probabilities_that_are_none_are_left_out(value: Any) -> None:
    part = {"content": [{"token": "A", "top_logprobs": [{"logprob": value}, {"logprob": -1.0}]}]}
    [(said, top_logprobs)] = split_at_tokens("A", part)
    assert said == "A"
    assert top_logprobs is None or max(top_logprobs) <= 1


@pytest.mark.parametrize("seconds", ["-1", "-inf", "nan", "-0.0001", "soon", "", "0x5"])
def test_a_wait_that_is_no_wait_is_not_waited_for(seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.retries._backoff", lambda _: 0)
    server = Server(refused(429, **{"retry-after": seconds}), sse(text("A", "stop")))
    assert continued(server.backend(max_retries=1))[0] == "A"


@pytest.mark.parametrize("seconds", ["inf", "1e400", "21"])
def test_a_request_is_not_repeated_after_an_endless_wait(seconds: str) -> None:
    server = Server(refused(429, **{"retry-after": seconds}))
    with pytest.raises(BackendError):
        continued(server.backend(max_retries=1))
    assert len(server.requests) == 1


def test_a_request_that_cannot_be_sent_is_not_repeated() -> None:
    server = Server(sse(text("A", "stop")))
    half = Turn((Message("user", HALF),))
    with pytest.raises(BackendError, match="surrogates not allowed") as caught:
        continued(server.backend(**CHAT), half)
    assert not caught.value.is_retryable
    assert not is_transient(UnicodeEncodeError("utf-8", HALF, 0, 1, "surrogates not allowed"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from([HALF, 10**30]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["text", "type", "index", "id", "function", "name"]), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = st.dictionaries(
    st.sampled_from(["content", "reasoning", "reasoning_content", "tool_calls", "role"]), JSON, max_size=3
)
CHOICES = st.fixed_dictionaries(
    {}, optional={"delta": JSON | FIELDS, "text": JSON, "finish_reason": JSON, "logprobs": JSON}
)
USAGES = st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens", "prompt_tokens_details"]), JSON)
CHUNKS = JSON | st.fixed_dictionaries(
    {}, optional={"choices": JSON | st.lists(CHOICES, max_size=2), "usage": JSON | USAGES, "error": JSON}
)
LINES = st.one_of(
    st.binary(max_size=20),
    st.binary(max_size=20).map(lambda data: b"data: " + data + b"\n\n"),
    CHUNKS.map(lambda chunk: event(json.dumps(chunk))),
)


def check_events(events: Iterable[object]) -> None:
    """Read the events of a backend. Raise any error other than a BackendError."""
    try:
        for one in events:
            if isinstance(one, Call):
                check_call(one.call)
            elif isinstance(one, Piece):
                one.text.encode()
    except BackendError as error:
        str(error).encode()


def check_call(call: ToolCall) -> None:
    """Check that LangChain takes a call, and that all its texts have a UTF-8 form."""
    assert call.id
    for part in (call.id, call.name, call.arguments):
        part.encode()
    chunk = {"name": call.name, "args": call.arguments, "id": call.id, "index": 0, "type": "tool_call_chunk"}
    message = AIMessageChunk(content="", tool_call_chunks=[chunk])  # type: ignore[list-item]
    json.dumps([found["args"] for found in message.tool_calls], ensure_ascii=False).encode()


@settings(max_examples=400, deadline=None)
@given(lines=st.lists(LINES, max_size=4), endpoint=st.sampled_from(["chat_flag", "raw"]), calls=st.booleans())
def test_any_stream_is_read_or_a_backend_error(lines: list[bytes], endpoint: str, calls: bool) -> None:
    backend = Server(lambda: sse(*lines)).backend(continuation=endpoint, max_retries=0)
    backend._breaker._failures = 0  # noqa: SLF001 - each example has a backend of its own
    half = turn(tools=Tools((ADD,)) if calls else None)
    check_events(backend.continue_turn(half, Request(20, top_logprobs=2)))


FRAGMENTS = ["<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "```", "```json\n", "\n", " ", ";", '"']
FRAGMENTS += ["{", "}", "[", "]", ":", ",", '"name"', '"name": "add"', '"arguments": {', '"parameters": ', "null", "1"]
FRAGMENTS += ["\\", "\\ud83d", '"\\ud83d"', "NaN", "-Infinity", "1e999", "é", "[" * 150, "]" * 150]
FRAGMENTS += ["<function=", "<function=add>", "</function>", "<parameter=x>", "</parameter>", "<tool", ">"]
MODEL_TEXT = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=12)


def call_parser(form: str, choice: str = "auto") -> CallParser:
    parser = plan_answer(turn(tools=Tools((ADD, MUL), choice)), CALL_FORMATS[form]).parser()
    assert parser is not None
    return parser


@settings(max_examples=600, deadline=None)
@given(form=st.sampled_from([*CALL_FORMATS]), choice=st.sampled_from(["auto", "required", "add"]), pieces=MODEL_TEXT)
def test_any_text_of_a_model_is_text_or_calls(form: str, choice: str, pieces: list[str]) -> None:
    def parts_of(pieces: Iterable[str]) -> list[Any]:
        parser = call_parser(form, choice)
        parts = [*itertools.chain.from_iterable(map(parser.feed, pieces)), *parser.rest()]
        read: list[Any] = []
        for part in parts:
            if isinstance(part, ToolCall):
                check_call(part)
                read.append((part.name, part.arguments))
            elif read and isinstance(read[-1], str):
                read[-1] += part
            else:
                read.append(part)
        return read

    assert parts_of(pieces) == parts_of("".join(pieces)) == parts_of(["".join(pieces)])


@pytest.mark.parametrize("begun", ["<tool_call>", "[TOOL_CALLS]", '{"name": "add", "arguments": '])
@pytest.mark.parametrize("text", [DEEP, '{"a":' * 30_000, DIGITS], ids=["lists", "objects", "digits"])
@pytest.mark.parametrize("form", CALL_FORMATS)
def test_a_model_that_loops_in_a_call_makes_no_call(form: str, text: str, begun: str) -> None:
    parser = call_parser(form)
    parts = [*parser.feed(begun), *parser.feed(text), *parser.feed("}"), *parser.rest()]
    assert all(part.arguments.startswith('"') for part in parts if isinstance(part, ToolCall))


@pytest.mark.parametrize("name", ["add", HALF])
@pytest.mark.parametrize(
    "arguments", ['{"a": "\\ud83d"}', '{"a": "\\\\ud83d"}', f'{{"a": "{HALF}"}}', HALF, DEEP, DIGITS]
)
def test_calls_have_whole_characters(name: str, arguments: str) -> None:
    check_call(make_call(name, arguments))


def test_a_pair_of_escaped_halves_stays_as_it_was_written() -> None:
    assert make_call("f", '{"a":  "\\ud83d\\ude00"}').arguments == '{"a":  "\\ud83d\\ude00"}'


DEFECTS = [ValueError, IndexError, RuntimeError, TypeError, KeyError, AssertionError, RecursionError, ZeroDivisionError]


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_in_a_local_model_is_a_backend_error(defect: type[Exception]) -> None:
    model = copy.deepcopy(tiny.llama(2))
    backend, calls = tiny.backend(model), itertools.count()

    def fail(*_: object) -> None:
        if next(calls) >= 2:
            raise defect

    model.register_forward_pre_hook(fail)
    pair = ChatSpeculativeThinking(speculative=ScriptedBackend("One.\n\nWait, two.\n\nThree."), target=backend)
    message = pair.invoke("hi")
    assert message.text.startswith("One.\n\n")
    assert defect.__name__ in message.response_metadata["speculative_thinking"]["degraded"][0]
    with pytest.raises(BackendError, match=defect.__name__):
        ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend()).invoke("hi")


def test_text_that_a_tokenizer_refuses_is_a_backend_error() -> None:
    half = Turn((Message("user", HALF),))
    backend: Backend = tiny.backend()
    with pytest.raises(BackendError):
        list(backend.continue_turn(half, Request(5)))
    with pytest.raises(BackendError):
        backend.prefetch(half)


@pytest.mark.parametrize(
    "says",
    [
        {"content": f"A {HALF}"},
        {"content": [{"type": "text", "text": HALF}]},
        {"content": "A", "additional_kwargs": {"reasoning_content": HALF}},
        {"content": "A", "additional_kwargs": {"reasoning_content": 5}},
        {"content": "", "tool_call_chunks": [{"name": "add", "args": DEEP, "id": "1", "index": 0}]},
        {"content": "", "tool_call_chunks": [{"name": HALF, "args": HALF, "id": HALF, "index": 0}]},
    ],
    ids=["text", "a block", "reasoning", "reasoning that is a number", "a deep call", "a call"],
)
def test_any_reply_of_a_chat_model_is_read_or_a_backend_error(says: dict[str, Any]) -> None:
    backend = ChatModelBackend(Plain(says=says))
    check_events(backend.continue_turn(turn(tools=Tools((ADD,))), Request(20)))


class Unbindable(Plain):
    """A chat model that cannot be given tools."""

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        raise IndexError


def test_a_defect_before_the_request_to_a_chat_model_is_a_backend_error() -> None:
    with pytest.raises(BackendError, match="IndexError"):
        list(ChatModelBackend(Unbindable()).continue_turn(turn(tools=Tools((ADD,))), Request(20)))
