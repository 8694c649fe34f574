"""What a server refuses one request for belongs to that request, until other requests show more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.exceptions import ContextOverflowError, ModelInvalidRequestError

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import Limitation, Request
from langchain_spec_thinking.backends.openai.capabilities import capabilities
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import Tools
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.wire import Server, continued, delta, sse, turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CHAT: dict[str, Any] = {"tokenizer": None, "continuation": "chat_flag", "max_retries": 0}
FIELDS: dict[str, Any] = {"seed": 7, "top_p": 0.9, "temperature": 0.6, "top_logprobs": 2}
"""Settings of a request that a server may refuse."""


class Strict(Server):
    """Refuses some requests.

    Args:
        says: Returns why the server refuses a body, as a message or as the whole body of the response. None: it
            accepts the body.
        status: The status of a refusal.
        owner: The owner of its models.

    Attributes:
        accepted: The bodies that the server accepted.
    """

    def __init__(self, says: Callable[[dict[str, Any]], Any], status: int = 400, owner: str = "me") -> None:
        super().__init__(lambda: sse(delta("stop", content="A")), owner=owner)
        self.says = says
        self.status = status
        self.accepted: list[dict[str, Any]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        response = super().__call__(request)
        if request.method == "GET":
            return response
        body = self.requests[-1][1]
        if (reason := self.says(body)) is not None:
            refused = {"error": {"message": reason}} if isinstance(reason, str) else reason
            return httpx2.Response(self.status, json=refused)
        self.accepted.append(body)
        return response


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


def asked(words: str, *names: str) -> Turn:
    return Turn((Message("user", words),), tools=Tools(tuple(map(tool, names))) if names else None)


def names_of(body: dict[str, Any]) -> set[str]:
    return {*body} & {*FIELDS, "tools", "stream_options"}


ALL = {*FIELDS, "tools", "stream_options"}
QUOTED = {
    **{name: f"Invalid message: 'may I use {name}?' is unsupported" for name in (*FIELDS, "stream_options")},
    "tools": "Invalid message: 'which tool is best?'",
    "an address": "Expected `prefix`. See https://api-docs.deepseek.com/guides/seed?top_p#tool-calls",
    "a part of an address": "Expected `prefix`, see guides#tool-calls",
    "the new limit": "Invalid message: 'what is max_completion_tokens?'",
    "nothing": "no",
}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("says", QUOTED.values(), ids=QUOTED)
def test_an_error_that_quotes_the_user_changes_no_other_request(says: str, status: int) -> None:
    server = Strict(lambda body: says if "Quote me" in str(body["messages"]) else None, status)
    backend = server.backend(**CHAT)
    with pytest.raises(ModelInvalidRequestError):
        continued(backend, asked("Quote me.", "add"), **FIELDS)
    assert len(server.requests) <= 3
    assert continued(backend, asked("Hi.", "add"), **FIELDS)[0] == "A"
    assert names_of(server.accepted[-1]) == ALL
    assert "max_tokens" in server.accepted[-1]


def test_fields_that_were_not_the_reason_are_sent_to_the_next_strategy() -> None:
    says = "Set `prefix` for tool calls with a seed."
    server = Strict(lambda body: says if "continue_final_message" in body else None, owner="vllm")
    backend = server.backend(tokenizer=None, max_retries=0)
    assert continued(backend, turn("So"), **FIELDS)[0] == "A"
    assert names_of(server.accepted[-1]) == ALL - {"tools"}


@pytest.mark.parametrize("name", sorted(ALL - {"temperature"}))
def test_a_refusal_that_is_an_exception_is_not_learned(name: str) -> None:
    """The field was accepted before, so something else about the request was wrong."""
    odd: list[bool] = []
    server = Strict(lambda body: f"{name}?" if odd and name in body else None)
    backend = server.backend(**CHAT)
    continued(backend, asked("Hi.", "add"), **FIELDS)
    odd.append(True)
    continued(backend, asked("Hi.", "add"), **FIELDS)
    assert name not in server.accepted[-1]
    odd.clear()
    continued(backend, asked("Hi.", "add"), **FIELDS)
    assert names_of(server.accepted[-1]) == ALL


@pytest.mark.parametrize("name", ["seed", "top_p"])
def test_a_field_may_be_named_beside_a_long_message(name: str) -> None:
    """The message is longer than what is shown of it, and does not name the field."""
    message = "This deployment does not support a field of the request. " * 10

    def says(body: dict[str, Any]) -> Any:
        return {"error": {"message": message, "code": None, "param": name}} if name in body else None

    server = Strict(says)
    assert list(server.backend(**CHAT).continue_turn(turn(), Request(20, **FIELDS)))
    assert [names_of(body) for body in server.accepted] == [ALL - {name, "tools"}]


def test_tools_that_a_server_refuses_do_not_take_other_tools_away() -> None:
    server = Strict(lambda body: "tools[0]: bad name" if "bad" in json.dumps(body.get("tools")) else None)
    backend = server.backend(**CHAT)
    assert continued(backend, asked("Hi.", "bad"))[0] == "A"
    assert "tools" not in server.accepted[-1]
    assert continued(backend, asked("Hi.", "good"))[0] == "A"
    assert server.accepted[-1]["tools"][0]["function"]["name"] == "good"
    assert backend.capabilities.tool_calls == "native"


def test_a_server_that_refuses_all_tools_is_asked_twice() -> None:
    server = Strict(lambda body: "no tools" if "tools" in body else None)
    backend = server.backend(**CHAT)
    for name in "aabbcdc":
        continued(backend, asked("Hi.", name))
    assert ["tools" in body for _, body in server.requests].count(True) == 2
    assert backend.capabilities.tool_calls == "text"


@pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])
async def test_the_report_says_which_fields_were_omitted(asynchronously: bool) -> None:
    server = Strict(lambda body: "unknown: seed, stream_options" if {"seed", "stream_options"} & {*body} else None)
    pair = ChatSpeculativeThinking(speculative=server.backend(**CHAT), target=ScriptedBackend(), seed=5)
    for _ in range(4):
        message = await pair.ainvoke("x") if asynchronously else pair.invoke("x")
        assert message.response_metadata["speculative_thinking"]["degraded"] == [
            "big at http://server.test/v1: the server refuses the field `seed`, so it was omitted"
        ]
    sent = [body for _, body in server.requests]
    assert ["seed" in body for body in sent] == [True, False, False, False, False]


def test_the_report_says_that_tools_were_described() -> None:
    backend = Strict(lambda body: "no tools" if "tools" in body else None).backend(**CHAT)
    _, events = continued(backend, asked("Hi.", "add"))
    [limitation] = [event for event in events if isinstance(event, Limitation)]
    assert limitation.words.endswith("refuses the field `tools`, so the prompt describes the tools instead")


def test_further_fields_of_the_user_are_not_omitted() -> None:
    server = Strict(lambda body: "unknown field top_p" if "top_p" in body else None)
    backend = server.backend(**CHAT, extra_body={"top_p": 0.5})
    with pytest.raises(ModelInvalidRequestError, match="unknown field top_p"):
        continued(backend, top_p=0.9)
    assert len(server.requests) <= 3


def test_a_conversation_that_is_too_long_is_no_reason_to_omit_a_field() -> None:
    says = "maximum context length is 5, got 9 (3 in the tools), lower max_completion_tokens or top_p"
    server = Strict(lambda body: says if "tools" in body else None)
    with pytest.raises(ContextOverflowError):
        continued(server.backend(**CHAT), asked("Hi.", "add"), **FIELDS)
    assert len(server.requests) == 1


def test_a_field_is_refused_at_one_endpoint_only() -> None:
    """As in `transformers serve`, whose completions refuse `stream_options`."""
    server = Strict(lambda body: "unknown: stream_options" if "prompt" in body and "stream_options" in body else None)
    backend = server.backend(continuation="raw", max_retries=0)
    schema = {"name": "s", "schema": {"type": "object"}}
    for _ in range(3):
        continued(backend)
        continued(backend, Turn((Message("user", "Hi."),), schema=schema))
    assert ["stream_options" in body for _, body in server.requests] == [True, False, True, False, True, False, True]


def refusal(style: str, refused: frozenset[str]) -> Callable[[dict[str, Any]], str | None]:
    def says(body: dict[str, Any]) -> str | None:
        found = sorted(refused & {*body})
        named = {"all": found, "one": found[:1], "none": []}[style]
        return f"not supported: {', '.join(named)}" if found else None

    return says


def send(backend: Any, half: Turn, seeds: Iterable[int]) -> None:
    for seed in seeds:
        list(backend.continue_turn(half, Request(20, **{**FIELDS, "seed": seed})))


@given(
    refused=st.frozensets(st.sampled_from(sorted({*FIELDS, "stream_options"})), max_size=4),
    style=st.sampled_from(["all", "one", "none"]),
)
def test_a_server_gets_the_fields_that_it_supports(refused: frozenset[str], style: str) -> None:
    capabilities.cache_clear()
    server = Strict(refusal(style, refused), 422)
    backend = server.backend(**CHAT)
    try:
        send(backend, turn(), range(3))
    except BackendError:
        assert style == "none"
        assert "temperature" in refused  # its value may be wrong, so it is not omitted without a reason
        return
    before = len(server.requests)
    send(backend, turn(), range(3, 6))
    assert len(server.requests) == before + 3  # nothing is refused any more
    missing = {*FIELDS, "stream_options"} - names_of(server.accepted[-1])
    assert missing >= refused
    if style != "none":
        assert missing - {"top_logprobs"} == refused - {"top_logprobs"}


TOO_LARGE = {
    "OpenAI": "max_tokens is too large: {}. This model supports at most 16384 completion tokens, but you provided {}.",
    "DeepSeek": "Invalid max_tokens value, the valid range of max_tokens is [1, 16384]. You sent {}, not {}.",
    "Groq": "`max_tokens` must be less than or equal to `16384`, got {}, {}.",
}


@pytest.mark.parametrize("service", TOO_LARGE)
def test_a_token_limit_that_is_too_large_is_halved_and_remembered(service: str) -> None:
    def says(body: dict[str, Any]) -> str | None:
        tokens = body["max_tokens"]
        return TOO_LARGE[service].format(tokens, tokens) if tokens > 16_384 else None

    server = Strict(says)
    backend = server.backend(**CHAT)
    assert [*backend.continue_turn(asked("hi"), Request(32_768))]
    assert [body["max_tokens"] for body in server.accepted] == [16_384]
    assert backend.capabilities.request_tokens_max == 16_384


def test_a_limit_that_does_not_fit_behind_the_conversation_is_lowered_for_this_request_only() -> None:
    def says(body: dict[str, Any]) -> str | None:
        ask = f"you requested {body['max_tokens'] + 1000} tokens (1000 in the messages)"
        return f"maximum context length is 8192 tokens, {ask}" if body["max_tokens"] > 7192 else None

    server = Strict(says)
    backend = server.backend(**CHAT)
    assert [*backend.continue_turn(asked("hi"), Request(8000))]
    assert [body["max_tokens"] for body in server.accepted] == [7192]
    assert backend.capabilities.request_tokens_max is None
