"""Arguments of a call as `ChatOpenAI` takes them, and fields that a server refuses."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from pydantic import Field, SecretStr

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.policy import NoTakeovers
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends.test_refused_fields import CHAT, Strict
from tests.unit_tests.wire import continued, delta, sse

BOTH = pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])


def pair(speculative: Any, **settings: Any) -> ChatSpeculativeThinking:
    """Return a pair whose large model writes nothing."""
    policy = DelegationPolicy(trigger=NoTakeovers())
    return ChatSpeculativeThinking(speculative=speculative, target=ScriptedBackend(), policy=policy, **settings)


async def ask(model: Any, *, asynchronously: bool, **arguments: Any) -> tuple[str, list[str]]:
    """Return the answer and what was not as asked."""
    message = await model.ainvoke("x", **arguments) if asynchronously else model.invoke("x", **arguments)
    return message.text, message.response_metadata["speculative_thinking"]["degraded"]


# -- arguments of a call


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        ({}, 50),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7}, 7),
        ({"max_completion_tokens": 7, "max_tokens": 7}, 7),
        ({"max_completion_tokens": 7, "max_tokens": None}, 7),
        ({"max_completion_tokens": None}, 32_768),
        ({"max_tokens": None}, 32_768),
        ({"n": 1}, 50),
        ({"n": None}, 50),
    ],
    ids=str,
)
@pytest.mark.parametrize("way", ["invoke", "bind", "stream", "ainvoke"])
async def test_the_limit_of_a_call_has_two_names(arguments: dict[str, Any], limit: int, way: str) -> None:
    server = Strict(lambda _: None)
    model = pair(server.backend(**CHAT), max_tokens=50)
    match way:
        case "invoke":
            model.invoke("x", **arguments)
        case "bind":
            model.bind(**arguments).invoke("x")
        case "stream":
            list(model.stream("x", **arguments))
        case "ainvoke":
            await model.ainvoke("x", **arguments)
    [body] = server.accepted
    assert body["max_tokens"] == limit
    assert "n" not in body


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 2}, "n: expected 1, because a turn has one reply, got 2. Use `batch`"),
        ({"max_completion_tokens": 7, "max_tokens": 5}, "max_completion_tokens: expected one limit.*got 7.*=5"),
        ({"max_completion_tokens": 0}, "max_tokens"),
        ({"user": ""}, "user: expected a text that is not empty, got ''"),
        ({"user": 7}, "user: expected a text that is not empty, got 7"),
        ({"user": "\ud800"}, "user: expected whole characters"),
        ({"users": "u"}, "users: cannot be set per call; expected one of max_completion_tokens, max_tokens, n, .*user"),
    ],
    ids=str,
)
@BOTH
async def test_a_wrong_argument_is_refused(arguments: dict[str, Any], message: str, asynchronously: bool) -> None:
    server = Strict(lambda _: None)
    with pytest.raises(ValueError, match=message):
        await ask(pair(server.backend(**CHAT)), asynchronously=asynchronously, **arguments)
    assert not server.requests


def chat_openai(server: Strict, **settings: Any) -> ChatModelBackend:
    """Return a chat model of another package at a server."""
    sync = httpx2.Client(transport=httpx2.MockTransport(server))
    asynchronous = httpx2.AsyncClient(transport=httpx2.MockTransport(server.acall))
    clients: dict[str, Any] = {"http_client": sync, "http_async_client": asynchronous}
    key = SecretStr("k")
    model = ChatOpenAI(
        model="big", api_key=key, base_url=server.url, max_retries=0, stream_usage=False, **clients, **settings
    )
    return ChatModelBackend(model, continuation="chat_trailing")


REMOTE = {"OpenAIBackend": lambda server: server.backend(**CHAT), "ChatOpenAI": chat_openai}


@pytest.mark.parametrize("kind", REMOTE)
@BOTH
async def test_a_server_gets_the_id_of_the_user(kind: str, asynchronously: bool) -> None:
    server = Strict(lambda _: None)
    model = pair(REMOTE[kind](server))
    for arguments in ({}, {"user": "u-1"}):
        await ask(model, asynchronously=asynchronously, **arguments)
    assert [body.get("user") for body in server.accepted] == [None, "u-1"]


def test_a_model_without_a_field_for_the_user_works_nevertheless() -> None:
    assert pair(ScriptedBackend("A")).invoke("x", user="u-1").text == "A"


# -- fields that a server refuses


REFUSED = {
    "stop": "Unsupported parameter: 'stop' is not supported with this model.",
    "user": "Extra inputs are not permitted: user",
    "temperature": "Unsupported value: 'temperature' does not support 0.6 with this model.",
    "top_p": "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
    "seed": "unknown field: seed",
}
OMITTED = "so it was omitted: the chat model's own value applies."
SAID = {
    **{name: [f"big: the server refuses the setting `{name}`, {OMITTED}"] for name in ("temperature", "top_p", "seed")},
    "stop": ["big: the server refuses the setting `stop`, so it was omitted: the stop strings are found here."],
    "user": [],
}


def writing(says: Any) -> Strict:
    """Return a server that goes on after a stop string."""
    server = Strict(says)
    server.answers = [lambda: sse(delta(content="A STOP"), delta("stop", content=" B"))]
    return server


@pytest.mark.parametrize("field", ["stop", "user"])
@BOTH
async def test_stop_strings_that_a_server_refuses_are_found_here(field: str, asynchronously: bool) -> None:
    server = writing(lambda body: REFUSED[field] if field in body else None)
    model = pair(server.backend(**CHAT), stop="STOP")
    for _ in range(2):
        answer, degraded = await ask(model, asynchronously=asynchronously, user="u-1")
        assert answer == "A "
        assert degraded == []  # the answer is the same as with the field
    assert [field in body for _, body in server.requests] == [True, False, False]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("field", ["stop", "user", "seed"])
def test_a_server_that_names_no_field_gets_none_that_is_optional(field: str, status: int) -> None:
    server = Strict(lambda body: "no" if field in body else None, status)
    settings: dict[str, Any] = {"stop": ("STOP",), "user": "u-1", "seed": 7}
    if status == 400:
        with pytest.raises(ModelInvalidRequestError):
            continued(server.backend(**CHAT), **settings)
    else:
        assert continued(server.backend(**CHAT), **settings)[0] == "A"


@pytest.mark.parametrize("says", ["Roles must alternate user/assistant", "Invalid 'user': string too long"])
def test_the_word_user_alone_blames_no_field(says: str) -> None:
    server = Strict(lambda _: says)
    with pytest.raises(ModelInvalidRequestError, match="user"):
        continued(server.backend(**CHAT), user="u-1")
    assert len(server.requests) == 1


@pytest.mark.parametrize("streaming", [None, True], ids=["streamed", "whole"])
@pytest.mark.parametrize("field", REFUSED)
@BOTH
async def test_a_chat_model_is_asked_again_without_the_field(
    field: str, streaming: bool | None, asynchronously: bool
) -> None:
    server = writing(lambda body: REFUSED[field] if field in body else None)
    if streaming:
        message = {"role": "assistant", "content": "A STOP B"}
        server.answers = [lambda: httpx2.Response(200, json={"choices": [{"index": 0, "message": message}]})]
    model = pair(chat_openai(server, disable_streaming=bool(streaming)), stop="STOP", seed=5)
    for _ in range(2):
        assert await ask(model, asynchronously=asynchronously, user="u-1") == ("A ", SAID[field])
    assert [field in body for _, body in server.requests] == [True, False, False]


@BOTH
async def test_a_server_may_refuse_one_field_after_the_other(asynchronously: bool) -> None:
    server = writing(lambda body: next((REFUSED[name] for name in REFUSED if name in body), None))
    answer, degraded = await ask(pair(chat_openai(server), stop="STOP", seed=5), asynchronously=asynchronously)
    assert (answer, len(degraded)) == ("A ", 4)
    assert len(server.requests) == 5


def test_the_own_value_of_a_chat_model_applies_instead() -> None:
    server = writing(lambda body: REFUSED["temperature"] if body["temperature"] != 1 else None)
    assert pair(chat_openai(server, temperature=1)).invoke("x").text == "A STOP B"
    assert [body["temperature"] for _, body in server.requests] == [0.6, 1]


@pytest.mark.parametrize("status", [400, 404, 500])
@BOTH
async def test_another_error_of_a_chat_model_is_raised(status: int, asynchronously: bool) -> None:
    says = "no such model" if status == 400 else REFUSED["stop"]
    server = Strict(lambda _: says, status)
    with pytest.raises(BackendError, match=says[:5]):
        await ask(pair(chat_openai(server), stop="STOP"), asynchronously=asynchronously)
    assert len(server.requests) == 1


class PickyError(ModelInvalidRequestError):
    """An error without a status, as `ChatGoogleGenerativeAI` raises it."""


class Picky(FakeListChatModel):
    """A chat model that supports no other temperature than its own."""

    temperature: float = 1.0
    asked: list[float] = Field(default_factory=list)

    def _call(self, *args: Any, **kwargs: Any) -> str:
        self.asked.append(self.temperature)
        if self.temperature != 1.0:
            raise PickyError(REFUSED["temperature"])
        return "A"

    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        yield ChatGenerationChunk(message=AIMessageChunk(content=self._call()))

    async def _astream(self, *args: Any, **kwargs: Any) -> Any:
        yield ChatGenerationChunk(message=AIMessageChunk(content=self._call()))


@BOTH
async def test_a_refusal_may_have_a_class_of_langchain_and_no_status(asynchronously: bool) -> None:
    model = Picky(responses=[])
    answer, degraded = await ask(pair(ChatModelBackend(model)), asynchronously=asynchronously)
    assert answer == "A"
    assert model.asked == [0.6, 1.0]
    assert degraded[-1].endswith(f"refuses the setting `temperature`, {OMITTED}")


def test_a_setting_that_does_not_help_is_not_learned() -> None:
    odd = [True]
    server = writing(lambda _: REFUSED["seed"] if odd else None)
    model = pair(chat_openai(server), seed=5)
    with pytest.raises(BackendError, match="seed"):
        model.invoke("x")
    odd.clear()
    assert model.invoke("x").text == "A STOP B"
    assert [body.get("seed") for _, body in server.requests] == [5, None, 5]


def test_an_error_in_the_middle_of_a_reply_repeats_nothing() -> None:
    error = {"error": {"message": REFUSED["seed"], "code": 400}}
    server = Strict(lambda _: None)
    server.answers = [lambda: sse(delta(content="A"), error)]
    with pytest.raises(BackendError, match="seed"):
        pair(chat_openai(server), seed=5).invoke("x")
    assert len(server.requests) == 1
