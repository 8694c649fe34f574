"""How a reply ends: a failure is no end, a filter is told, a refusal and an error keep their words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelRateLimitError,
)
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

from langchain_spec_thinking import (
    Backend,
    ChatModelBackend,
    ChatSpeculativeThinking,
    DelegationPolicy,
    Record,
    replay,
)
from langchain_spec_thinking.backends.base import End, Piece, Request
from langchain_spec_thinking.backends.replies.finish_reasons import FinishReason
from langchain_spec_thinking.errors import BackendError, FailedReplyError
from langchain_spec_thinking.recording.recorder import recording
from langchain_spec_thinking.serving.chat_reply import ChatReply
from langchain_spec_thinking.serving.chat_request import ChatRequest
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.wire import KEY, Body, Server, continued, delta, sse, text, turn, usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from langchain_spec_thinking.backends.base import Event
    from langchain_spec_thinking.turn import Turn

CHAT: dict[str, Any] = {"tokenizer": None, "continuation": "chat_trailing"}
FAILURES = ["error", "abort", "cancelled", "network_error", "insufficient_system_resource"]
FILTERS = ["content_filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "refusal", "sensitive"]
CALL = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
NO = "I cannot help with that."


def pair(small: Backend | BaseChatModel, **settings: Any) -> ChatSpeculativeThinking:
    return ChatSpeculativeThinking(speculative=small, target=ScriptedBackend("B"), **settings)


def reason_of(message: BaseMessage) -> Any:
    return message.response_metadata["finish_reason"]


def degraded(message: BaseMessage) -> Any:
    return message.response_metadata["speculative_thinking"]["degraded"]


def filtered(name: str, word: str) -> str:
    return f"a content filter ended the reply of {name} early (finish reason {word!r})"


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.retries._backoff", lambda _: 0)


@pytest.mark.parametrize(
    ("sent", "word", "meaning"),
    [
        ("stop", "stop", "stop"),
        ("end_turn", "end_turn", "stop"),
        ("STOP", "STOP", "stop"),
        ("FinishReason.MAX_TOKENS", "MAX_TOKENS", "length"),
        ("model_context_window_exceeded", "model_context_window_exceeded", "length"),
        ("content_filter: SAFETY", "content_filter: SAFETY", "filter"),
        ("content_filter: model v1.5", "content_filter: model v1.5", "filter"),
        ("error: 502 from api.example.com", "error: 502 from api.example.com", "failure"),
        ("error: upstream timed out.", "error: upstream timed out.", "failure"),
        *((word, word, "filter") for word in FILTERS),
        *((word, word, "failure") for word in FAILURES),
        ("MALFORMED_FUNCTION_CALL", "MALFORMED_FUNCTION_CALL", "unknown"),
        ("x" * 200, "x" * 50, "unknown"),
        ({"a": 1}, "{'a': 1}", "unknown"),
        ("half \ud83d", "half \ufffd", "unknown"),
    ],
)
def test_a_word_has_a_meaning(sent: object, word: str, meaning: Any) -> None:
    assert FinishReason.of(sent) == FinishReason(word, meaning)


@pytest.mark.parametrize("sent", [None, "", 0, False, "FINISH_REASON_UNSPECIFIED", "null", "None"])
def test_no_word_is_no_end(sent: object) -> None:
    assert FinishReason.of(sent) is None


class TestFailures:
    """A server that could not finish the reply."""

    @pytest.mark.parametrize("done", [True, False], ids=["done", "cut"])
    @pytest.mark.parametrize("word", FAILURES)
    async def test_after_text_the_reply_is_continued(self, word: str, done: bool) -> None:
        def server() -> Server:
            return Server(sse(text("A"), text(" B", word), done=done), sse(text(" C", "stop")))

        servers = [server(), server()]
        messages = [pair(servers[0].backend()).invoke("x"), await pair(servers[1].backend()).ainvoke("x")]
        for used, message in zip(servers, messages, strict=True):
            assert [message.text, reason_of(message), degraded(message)] == ["A B C", "stop", []]
            assert [body["prompt"].endswith("A B") for _, body in used.requests] == [False, True]

    def test_before_text_the_request_is_repeated(self) -> None:
        server = Server(sse(text("", "error")), sse(text("A", "stop")))
        assert continued(server.backend(max_retries=1))[0] == "A"
        assert len(server.requests) == 2

    def test_a_lasting_failure_is_an_error_with_the_text_so_far(self) -> None:
        server = Server(sse(text("A", "error")), lambda: sse(text("", "abort")))
        with pytest.raises(FailedReplyError, match=r"could not finish the reply \(finish reason 'abort'\)") as caught:
            pair(server.backend(max_retries=1)).invoke("x")
        assert isinstance(caught.value, ModelAPIError)
        assert (caught.value.answer, caught.value.is_retryable) == ("A", True)
        assert str(caught.value).startswith("big at http://server.test/v1: ")

    def test_a_failure_after_the_last_token_loses_nothing(self) -> None:
        server = Server(sse(text("A"), text("B", "error")))
        said, events = continued(server.backend(), max_tokens=2)
        assert (said, events[-1]) == ("AB", End("length"))

    def test_a_call_of_a_failed_reply_is_made_once(self) -> None:
        server = Server(sse(delta("error", tool_calls=[CALL])), sse(delta("tool_calls", tool_calls=[CALL])))
        message = pair(server.backend(**CHAT)).bind_tools([TOOL]).invoke("x")
        assert [call["name"] for call in message.tool_calls] == ["f"]
        assert len(server.requests) == 2

    @pytest.mark.parametrize("code", [502, "502", "server_error"])
    def test_the_error_beside_the_finish_reason_is_told(self, code: Any) -> None:
        broken = {"choices": [{"index": 0, "text": "", "finish_reason": "error"}]}
        broken["choices"][0]["error"] = {"code": code, "message": "Upstream is gone"}
        with pytest.raises(ModelAPIError, match="Upstream is gone") as caught:
            continued(Server(sse(text("A"), broken)).backend())
        assert caught.value.is_retryable


class TestUnusualEnds:
    """An end that is neither a stop nor a limit."""

    @pytest.mark.parametrize("word", FILTERS)
    def test_a_filter_is_told_and_the_text_is_kept(self, word: str) -> None:
        server = Server(lambda: sse(text("A"), text(" B", word), usage(3, 2)))
        streamed: Any = AIMessageChunk(content="")
        for chunk in pair(server.backend()).stream("x"):
            streamed += chunk
        for message in (pair(server.backend()).invoke("x"), streamed):
            assert [message.text, reason_of(message)] == ["A B", word]
            assert degraded(message) == [filtered("big", word)]
        assert len(server.requests) == 2

    def test_if_a_filter_leaves_nothing_the_other_model_answers(self) -> None:
        message = pair(Server(sse(text("", "content_filter"))).backend()).invoke("x")
        assert [message.text, reason_of(message)] == ["B", "stop"]
        assert degraded(message)[0] == filtered("big", "content_filter")

    def test_filters_may_leave_nothing_of_both_models(self) -> None:
        small, large = (Server(sse(text("", word))).backend() for word in ("content_filter", "SAFETY"))
        message = ChatSpeculativeThinking(speculative=small, target=large).invoke("x")
        assert [message.text, reason_of(message)] == ["", "SAFETY"]
        assert degraded(message)[-1] == filtered("big", "SAFETY")

    def test_an_unknown_word_is_told(self) -> None:
        message = pair(Server(sse(text("A", "MALFORMED_FUNCTION_CALL"))).backend()).invoke("x")
        assert reason_of(message) == "MALFORMED_FUNCTION_CALL"
        assert degraded(message) == [
            "big ended its reply with the finish reason 'MALFORMED_FUNCTION_CALL', so the reply may be incomplete"
        ]

    @pytest.mark.parametrize(
        ("word", "expected"),
        [("stop", "stop"), ("eos", "stop"), ("tool_calls", "stop"), ("length", "length"), ("model_length", "length")],
    )
    def test_an_ordinary_end_has_its_usual_word(self, word: str, expected: str) -> None:
        message = pair(Server(sse(text("A", word))).backend(), max_tokens=1).invoke("x")
        assert [reason_of(message), degraded(message)] == [expected, []]

    def test_the_end_of_the_answer_counts_and_not_that_of_the_thought(self) -> None:
        server = Server(sse(text("<think>\nA"), text(" B", "content_filter")), sse(text("C"), text(" D", "stop")))
        message = pair(server.backend(thinking=True)).invoke("x")
        assert [message.text, reason_of(message)] == ["C D", "stop"]
        assert degraded(message) == [filtered("big", "content_filter")]

    @pytest.mark.parametrize(("stop", "expected"), [("Z", "content_filter"), ("B", "stop")])
    def test_our_own_stop_string_ends_the_turn_before_the_filter(self, stop: str, expected: str) -> None:
        server = Server(sse(text("A"), text(" B"), text(" C", "content_filter")))
        assert reason_of(pair(server.backend()).invoke("x", stop=[stop])) == expected

    def test_a_filter_after_a_call_is_told(self) -> None:
        server = Server(sse(delta("content_filter", tool_calls=[CALL])))
        message = pair(server.backend(**CHAT)).bind_tools([TOOL]).invoke("x")
        assert [len(message.tool_calls), reason_of(message)] == [1, "content_filter"]

    def test_a_filtered_answer_is_not_finished_for_a_rule_of_escalation(self) -> None:
        server = Server(lambda: sse(text("A", "content_filter")))
        policy = DelegationPolicy.gated()
        message = pair(server.backend(), policy=policy).invoke("x")
        assert [message.text, reason_of(message)] == ["B", "stop"]

    def test_a_record_keeps_the_word_and_is_replayed(self) -> None:
        records: list[Record] = []
        with recording(records.append):
            pair(Server(sse(text("A", "content_filter"))).backend()).invoke("x")
        read = Record.from_dict(json.loads(records[0].to_json()))
        assert read.finish_reason == "content_filter"
        assert replay(read).difference is None

    def test_a_backend_of_the_user_may_tell_it(self) -> None:
        class Own(Backend):
            name = "own"

            def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
                yield Piece("A")
                yield End("stop", finish_reason="content_filter")

        message = pair(Own()).invoke("x")
        assert [reason_of(message), degraded(message)] == ["content_filter", [filtered("own", "content_filter")]]

    @pytest.mark.parametrize(
        ("told", "sent"),
        [
            ("stop", "stop"),
            ("tool_calls", "tool_calls"),
            ("content_filter", "content_filter"),
            ("SAFETY", "content_filter"),
            ("MALFORMED_FUNCTION_CALL", "stop"),
        ],
    )
    def test_clients_of_our_own_server_get_words_of_openai(self, told: str, sent: str) -> None:
        counted: Any = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        metadata: dict[str, Any] = {"finish_reason": told, "speculative_thinking": {"degraded": []}}
        request = ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "Q"}]})
        whole = ChatReply(request).body(AIMessage("A", response_metadata=metadata, usage_metadata=counted))
        last = AIMessageChunk(content="", response_metadata=metadata, usage_metadata=counted)
        (chunk,) = ChatReply(request).events(last)
        assert [one["choices"][0]["finish_reason"] for one in (whole, chunk)] == [sent, sent]


class TestRefusals:
    """A model that refuses to answer in a field of its own."""

    REFUSED = (delta(role="assistant", content=None), delta(refusal=NO[:8]), delta("stop", refusal=NO[8:]))

    async def test_its_words_are_the_text_and_in_the_usual_field(self) -> None:
        server = Server(lambda: sse(*self.REFUSED))
        model = pair(server.backend(**CHAT))
        for message in (model.invoke("x"), await model.ainvoke("x")):
            assert [message.text, message.additional_kwargs, reason_of(message)] == [NO, {"refusal": NO}, "stop"]
            assert degraded(message) == ["big refused to answer"]

    def test_after_other_text_they_are_only_in_the_field(self) -> None:
        server = Server(sse(delta(content='{"a": '), *self.REFUSED))
        message = pair(server.backend(**CHAT)).invoke("x")
        assert [message.text, message.additional_kwargs["refusal"]] == ['{"a": ', NO]

    def test_what_is_not_shown_counts_too(self) -> None:
        server = Server(sse(delta(content="A"), *(delta(refusal="no ") for _ in range(99))))
        assert continued(server.backend(**CHAT), max_tokens=20)[1][-1].reason == "length"  # type: ignore[union-attr]

    def test_after_a_thought_they_are_the_answer(self) -> None:
        server = Server(sse(delta(reasoning_content="Hm."), *self.REFUSED))
        message = pair(server.backend(**CHAT, thinking=True)).invoke("x")
        assert message.text == NO

    def test_a_part_of_the_content_may_hold_them(self) -> None:
        server = Server(sse(delta("stop", content=[{"type": "refusal", "refusal": NO}])))
        message = pair(server.backend(**CHAT)).invoke("x")
        assert [message.text, message.additional_kwargs["refusal"]] == [NO, NO]
        assert len(degraded(message)) == 1

    def test_the_next_turn_shows_them_once(self) -> None:
        server = Server(sse(*self.REFUSED), sse(delta("stop", content="A")))
        model = pair(server.backend(**CHAT))
        model.invoke([HumanMessage("x"), model.invoke("x"), HumanMessage("y")])
        assert [m["content"] for m in server.requests[1][1]["messages"]] == ["x", NO, "y"]

    def test_an_answer_has_no_such_field(self) -> None:
        message = pair(Server(sse(delta("stop", content="A", refusal=None))).backend(**CHAT)).invoke("x")
        assert message.additional_kwargs == {}

    def test_the_refusal_of_the_model_whose_answer_is_shown_counts(self) -> None:
        server = Server(lambda: sse(*self.REFUSED))
        policy = DelegationPolicy.gated()
        message = pair(server.backend(**CHAT), policy=policy).invoke("x")
        assert [message.text, message.additional_kwargs] == [NO, {"refusal": NO}]


# -- errors with the status 200


def said(body: Any, kind: str = "application/json") -> Callable[[], httpx2.Response]:
    """Return a response that is no stream of events. It comes in two parts."""
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    parts: list[bytes | Exception] = [content[:5], content[5:]]
    return lambda: httpx2.Response(200, headers={"content-type": kind}, stream=Body(parts))


def told(code: Any = None, words: str = "Ouch", **more: Any) -> dict[str, Any]:
    return {"error": {"message": words, "code": code, **more}}


ERRORS = [
    pytest.param(told(401), ModelAuthenticationError, "Ouch.*Check `api_key`", 1, id="a wrong key"),
    pytest.param(told("429"), ModelRateLimitError, "Ouch.*Try again later", 3, id="too many requests"),
    pytest.param(told(503), ModelAPIError, "Ouch.*See the server's log", 3, id="no provider"),
    pytest.param(told(402), ModelInvalidRequestError, "Ouch", 1, id="no money"),
    pytest.param(told(type="BadRequestError"), ModelInvalidRequestError, "Ouch", 1, id="a bad request"),
    pytest.param(told("model_not_found"), ModelNotFoundError, "Ouch.*the model's name", 1, id="a word"),
    pytest.param(told(400, "maximum context length is 5"), ContextOverflowError, "Shorten", 1, id="a long prompt"),
    pytest.param(told("1302"), ModelError, "Ouch.*1302", 3, id="a code of its own"),
    pytest.param({"error": "Ouch"}, ModelError, "Ouch", 3, id="a text"),
]


@pytest.mark.parametrize(("body", "kind", "says", "requests"), ERRORS)
@pytest.mark.parametrize("place", ["body", "body that was read", "body that is called a stream", "event"])
async def test_an_error_with_the_status_200_is_the_error_that_it_says(
    place: str, body: Any, kind: type[Exception], says: str, requests: int
) -> None:
    answers: dict[str, Any] = {
        "body": said(body),
        "body that was read": lambda: httpx2.Response(200, json=body),
        "body that is called a stream": said(body, "text/event-stream"),
        "event": lambda: sse(delta(role="assistant"), body),
    }
    server = Server(answers[place])
    with pytest.raises(kind, match=says) as caught:
        continued(server.backend())
    assert isinstance(caught.value, BackendError)
    assert caught.value.is_retryable == (requests > 1)
    assert len(server.requests) == requests
    with pytest.raises(kind, match=says):
        _ = [event async for event in Server(answers[place]).backend().acontinue_turn(turn(), Request(5))]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param([told(429)], "Ouch", id="a list, as of Google"),
        pytest.param({"detail": "Ouch"}, "Ouch", id="FastAPI"),
        pytest.param({"object": "error", "message": "Ouch", "code": 40303}, "Ouch", id="old vLLM"),
        pytest.param({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, "login fail", id="MiniMax"),
        pytest.param({"status": "ok"}, "with application/json instead of a stream", id="no error"),
        pytest.param({"choices": []}, "with application/json instead of a stream", id="a reply that is no stream"),
        pytest.param("[" * 9999, "with application/json instead of a stream", id="too deep"),
        pytest.param("[]", "with application/json instead of a stream", id="an empty list"),
        pytest.param("7", "with application/json instead of a stream", id="a number"),
    ],
)
def test_a_body_is_read_in_any_form(body: Any, says: str) -> None:
    with pytest.raises(BackendError, match=says):
        continued(Server(said(body)).backend(max_retries=0))


@pytest.mark.parametrize("place", [said, lambda body: lambda: sse(body), lambda body: lambda: sse(text("A"), body)])
def test_the_words_of_the_server_show_no_key(place: Any) -> None:
    with pytest.raises(ModelAuthenticationError, match="Wrong key:") as caught:
        continued(Server(place(told(401, f"Wrong key: {KEY}", key=KEY))).backend())
    assert KEY not in repr(caught.value) + repr(caught.value.__cause__) + repr(vars(caught.value))


@pytest.mark.parametrize(
    "error", [told(400), told(422), told(429), told(500), told(), {"object": "error", "code": 400}]
)
def test_after_text_an_error_of_the_server_is_a_broken_stream(error: dict[str, Any]) -> None:
    """Old versions of vLLM give a failure of the engine the code 400."""
    server = Server(sse(text("A"), error), sse(text(" B", "stop")))
    message = pair(server.backend()).invoke("x")
    assert [message.text, degraded(message)] == ["A B", []]


def test_after_text_a_lost_permission_is_an_error() -> None:
    server = Server(sse(text("A"), told(403, "flagged")), sse(text(" B", "stop")))
    with pytest.raises(BackendError, match="flagged") as caught:
        pair(server.backend()).invoke("x")
    assert (caught.value.answer, len(server.requests)) == ("A", 1)


# -- any chat model


class Ends(BaseChatModel):
    """A chat model that ends its replies in given ways: whole, or in a stream."""

    replies: list[dict[str, Any]]
    asked: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _next(self, messages: list[BaseMessage]) -> dict[str, Any]:
        self.asked.append(messages)
        return self.replies[min(len(self.asked), len(self.replies)) - 1]

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(**self._next(messages)))])


class Streams(Ends):
    """The same in a stream. The finish reason comes after the text."""

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        reply = dict(self._next(messages))
        yield ChatGenerationChunk(message=AIMessageChunk(content=reply.pop("content")))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", **reply))

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(*args, **kwargs):
            yield chunk


KINDS = pytest.mark.parametrize("kind", [Ends, Streams], ids=["whole", "streamed"])


def ends(content: Any, **metadata: Any) -> dict[str, Any]:
    return {"content": content, "response_metadata": metadata}


@KINDS
class TestChatModels:
    """The same, if a chat model of LangChain is a backend."""

    @pytest.mark.parametrize(
        ("metadata", "expected"),
        [
            ({"finish_reason": "content_filter"}, "content_filter"),
            ({"finish_reason": "SAFETY"}, "SAFETY"),
            ({"stop_reason": "refusal"}, "refusal"),
            ({"stopReason": "guardrail_intervened"}, "guardrail_intervened"),
            ({"incomplete_details": {"reason": "content_filter"}, "status": "incomplete"}, "content_filter"),
        ],
    )
    async def test_a_filter_is_told(self, kind: type[Ends], metadata: dict[str, Any], expected: str) -> None:
        model = pair(ChatModelBackend(kind(replies=[ends("A.", **metadata)])))
        for message in (model.invoke("x"), await model.ainvoke("x")):
            assert [message.text, reason_of(message)] == ["A.", expected]
            assert degraded(message)[-1] == filtered(kind.__name__, expected)

    @pytest.mark.parametrize(
        ("metadata", "expected"),
        [
            ({"finish_reason": "STOP"}, "stop"),
            ({"stop_reason": "end_turn"}, "stop"),
            ({"done_reason": "length"}, "length"),
            ({"stop_reason": "model_context_window_exceeded"}, "length"),
            ({"stopReason": "max_tokens"}, "length"),
            ({"incomplete_details": {"reason": "max_output_tokens"}}, "length"),
            ({"incomplete_details": None}, "stop"),
            ({}, "stop"),
        ],
    )
    def test_an_ordinary_end_has_its_usual_word(
        self, kind: type[Ends], metadata: dict[str, Any], expected: str
    ) -> None:
        backend = ChatModelBackend(kind(replies=[ends("A.", **metadata)]))
        end = list(backend.continue_turn(turn(), Request(20)))[-1]
        assert end == End(expected)  # type: ignore[arg-type]

    @pytest.mark.parametrize("metadata", [{"finish_reason": "error"}, {"finish_reason": "abort"}])
    async def test_after_text_a_failed_reply_is_continued(self, kind: type[Ends], metadata: dict[str, Any]) -> None:
        replies = [ends("One two ", **metadata), ends("three.", finish_reason="stop")]
        for ask in ("invoke", "ainvoke"):
            model = kind(replies=replies)
            backend = ChatModelBackend(model, continuation="chat_trailing")
            reply: Any = getattr(pair(backend), ask)("x")
            message = reply if ask == "invoke" else await reply
            assert [message.text, degraded(message)] == ["One two three.", []]
            assert [asked[-1].content for asked in model.asked] == ["x", "One two"]

    def test_a_lasting_failure_is_an_error(self, kind: type[Ends]) -> None:
        model = kind(replies=[ends("", finish_reason="error")])
        with pytest.raises(FailedReplyError, match=f"{kind.__name__}: the server could not finish"):
            pair(ChatModelBackend(model)).invoke("x")

    @pytest.mark.parametrize(
        "reply",
        [
            {"content": "", "additional_kwargs": {"refusal": NO}},
            {"content": [{"type": "refusal", "refusal": NO}]},
            {"content": [{"type": "refusal", "refusal": NO}], "additional_kwargs": {"refusal": NO}},
        ],
    )
    def test_a_refusal_keeps_its_words(self, kind: type[Ends], reply: dict[str, Any]) -> None:
        message = pair(ChatModelBackend(Ends(replies=[reply]))).invoke("x")
        assert [message.text, message.additional_kwargs] == [NO, {"refusal": NO}]
        assert degraded(message)[-1].startswith("Ends refused to answer")
