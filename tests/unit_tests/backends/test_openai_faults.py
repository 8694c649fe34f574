"""What happens if a server fails: retries, continued streams, the circuit breaker, and error messages."""

from __future__ import annotations

import json
import logging
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking, OpenAIBackend
from langchain_spec_thinking.backends.base import Piece, Request
from langchain_spec_thinking.backends.openai.breaker import CircuitBreaker
from langchain_spec_thinking.deadline import Deadline
from langchain_spec_thinking.errors import BackendError, CircuitOpenError, StreamOrderError, TurnTimeoutError
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends.test_call_arguments import REMOTE
from tests.unit_tests.backends.test_chat_model import Plain
from tests.unit_tests.backends.test_refused_fields import Strict
from tests.unit_tests.fake_time import FakeTime
from tests.unit_tests.wire import KEY, Body, Server, continued, delta, probe, refused, sse, text, turn, usage

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"error": {"message": "no such thing", "type": "bad", "param": None}}, ["no such thing", "bad"]),
        ({"error": {"message": "no such thing", "param": "x" * 25_000}}, ["no such thing"]),
        ({"error": {"message": "x" * 25_000, "param": "stop", "code": "00"}}, ["param: stop", "code: 00"]),
        ({"error": "no such thing"}, ["no such thing"]),
        ({"error": "Bad Request", "message": "no such thing"}, ["no such thing"]),
        ({"error": None, "message": "no such thing"}, ["no such thing"]),
        ({"error": {"message": 'no "such"\nthing'}}, ["such"]),
        ({"detail": [{"loc": ["body", "top_k"], "msg": "no such thing"}]}, ["top_k", "no such thing"]),
        ([], []),
        ({}, []),
    ],
    ids=lambda value: str(value)[:60],
)
@pytest.mark.parametrize("kind", ["OpenAIBackend", "ChatOpenAI"])
def test_an_error_says_once_what_the_server_says(kind: str, body: Any, shown: list[str]) -> None:
    """Each version of the SDK shows another part of the body in the text of its error."""
    with pytest.raises(BackendError) as caught:
        list(REMOTE[kind](Strict(lambda _: body)).continue_turn(turn(), Request(5)))
    said = str(caught.value)
    assert len(said) < 5000
    assert said.count("400") == 1
    assert [said.count(words) for words in shown] == [1] * len(shown)


def test_a_long_error_of_a_chat_model_keeps_its_end() -> None:
    with pytest.raises(BackendError, match="Set `top_k` to 3"):
        list(
            ChatModelBackend(Plain(says=ValueError("a" * 1000 + " Set `top_k` to 3."))).continue_turn(
                turn(), Request(5)
            )
        )


def test_only_attributes_that_are_cleaned_of_secrets_are_shown() -> None:
    class QuotingError(Exception):
        @property
        def body(self) -> dict[str, str]:
            return {"headers": f"Bearer {KEY}"}

    with pytest.raises(BackendError) as caught:
        list(ChatModelBackend(Plain(says=QuotingError("no"))).continue_turn(turn(), Request(5)))
    assert str(caught.value).endswith(": no")


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (refused(401, f"Incorrect API key provided: {KEY}"), ModelAuthenticationError, "Check `api_key`"),
        (refused(404, "no model big"), ModelNotFoundError, "no model big.*Check the model's name and `base_url`"),
        (refused(429), ModelRateLimitError, "Try again later"),
        (refused(400, "bad top_k"), ModelInvalidRequestError, "bad top_k"),
        (lambda: httpx2.Response(422, json={"detail": "top_k?"}), ModelInvalidRequestError, "top_k"),
        (refused(400, "This model's maximum context length is 5"), ContextOverflowError, "Shorten the messages"),
        (httpx2.ReadTimeout(""), ModelTimeoutError, "Raise `timeout`"),
        (
            httpx2.ConnectError("Connection refused"),
            ModelConnectionError,
            "Connection refused.*Check that the server is running",
        ),
        (
            httpx2.Response(200, text="<html>", headers={"content-type": "text/html"}),
            BackendError,
            "instead of a stream",
        ),
    ],
)
def test_a_failure_is_one_clear_error(answer: Any, kind: type, says: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    backend = Server(answer).backend(max_retries=0)
    with pytest.raises(kind, match=says) as caught:
        continued(backend)
    assert isinstance(caught.value, BackendError)
    message = str(caught.value)
    assert message.startswith("big at http://server.test/v1: ")
    chain = repr(caught.value) + repr(caught.value.__cause__) + message + caplog.text + repr(vars(caught.value))
    assert KEY not in chain
    assert "password" not in message
    assert KEY not in repr(backend)
    assert "password" not in repr(backend)
    assert KEY not in json.dumps(backend.describe())


async def check_third_time_answers(failure: Any) -> None:
    servers = [Server(failure, failure, sse(text("A", "stop"))) for _ in range(2)]
    assert continued(servers[0].backend(max_retries=2))[0] == "A"
    events = [event async for event in servers[1].backend(max_retries=2).acontinue_turn(turn(), Request(5))]
    assert Piece("A", 1) in events
    assert [len(server.requests) for server in servers] == [3, 3]


@pytest.mark.parametrize(
    "failure", [refused(503), refused(429, **{"retry-after": "0"}), httpx2.ConnectError("refused")]
)
async def test_a_request_that_fails_before_the_first_token_is_repeated(
    failure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.retries._backoff", lambda _: 0)
    await check_third_time_answers(failure)
    server = Server(failure)
    with pytest.raises(BackendError):
        continued(server.backend(max_retries=1))
    assert len(server.requests) == 2


BREAKS = [
    pytest.param(lambda: sse(text("A"), httpx2.ReadError("gone"), done=False), id="the connection breaks"),
    pytest.param(lambda: sse(text("A"), done=False), id="the stream stops, politely"),
    pytest.param(lambda: sse(text("A"), "{garbage"), id="garbage"),
    pytest.param(lambda: sse(text("A"), '{"choices": [{"te', done=False), id="half an event"),
    pytest.param(lambda: sse(text("A"), {"error": {"message": "engine died"}}), id="an error among the events"),
]


@pytest.mark.parametrize("broken", BREAKS)
def test_a_stream_that_breaks_after_the_first_token_is_continued(broken: Callable[[], httpx2.Response]) -> None:
    server = Server(broken, sse(text("B", "stop")))
    message = ChatSpeculativeThinking(speculative=server.backend(), target=ScriptedBackend()).invoke("x")
    assert message.text == "AB"
    assert [body["prompt"][-1] for _, body in server.requests] == [">", "A"]
    assert message.response_metadata["speculative_thinking"]["usage"]["speculative"]["requests"] == 2


@pytest.mark.parametrize("broken", BREAKS)
async def test_a_stream_that_breaks_repeatedly_is_an_error_with_the_text(
    broken: Callable[[], httpx2.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.retries._backoff", lambda _: 0)
    server = Server(broken, httpx2.ConnectError("refused"))
    pair = ChatSpeculativeThinking(speculative=server.backend(), target=ScriptedBackend())
    with pytest.raises(ModelConnectionError, match="refused") as caught:
        await pair.ainvoke("x")
    assert caught.value.answer == "A"  # type: ignore[attr-defined]
    assert len(server.requests) == 1 + 3


EARLY_BREAKS = [
    pytest.param(lambda: sse(done=False), id="nothing"),
    pytest.param(lambda: sse(text(""), done=False), id="an event without text"),
    pytest.param(lambda: sse("{garbage"), id="garbage"),
    pytest.param(lambda: sse(text("", usage={"prompt_tokens": 7}), httpx2.ReadError("gone")), id="a count of tokens"),
    pytest.param(lambda: sse(delta(role="assistant"), httpx2.ReadError("gone")), id="a role, then a broken connection"),
]


@pytest.mark.parametrize("broken", EARLY_BREAKS)
async def test_a_stream_that_breaks_before_the_first_text_is_requested_again(
    broken: Callable[[], httpx2.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.retries._backoff", lambda _: 0)
    await check_third_time_answers(broken)


@pytest.mark.parametrize("said", ["[DONE]", "data: [DONE]", "\n\ndata: [DONE]\n\n"])
def test_done_in_the_text_is_not_the_end(said: str) -> None:
    server = Server(sse(text(said), done=False), sse(text("B", "stop")))
    message = ChatSpeculativeThinking(speculative=server.backend(), target=ScriptedBackend()).invoke("x")
    assert message.text == f"{said}B"


@pytest.mark.parametrize("mark", ["data: [DONE]\n\n", "data:[DONE]\r\n\r\n", "data: [DONE]"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_done_is_seen_in_packets_of_any_size(mark: str, size: int) -> None:
    sent = f"data: {json.dumps(text('A'))}\n\n{mark}: a comment that comes after it, long enough to hide it\n".encode()
    parts: list[bytes | Exception] = [sent[i : i + size] for i in range(0, len(sent), size)]
    server = Server(httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(parts)))
    assert continued(server.backend(max_retries=0))[0] == "A"


def counted(texts: list[str], counts: list[int | None]) -> list[dict[str, Any]]:
    return [text(said, usage=count and {"completion_tokens": count}) for said, count in zip(texts, counts, strict=True)]


@given(pieces=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3), st.integers(1, 3)), min_size=1))
def test_a_repeated_chunk_is_read_once_if_chunks_are_numbered(pieces: list[tuple[str, int, int]]) -> None:
    """Each piece has a number of tokens and is sent a number of times."""
    texts: list[str] = []
    counts: list[int | None] = []
    tokens = 0
    for said, cost, times in pieces:
        tokens += cost
        texts += [said] * times
        counts += [tokens] * times
    server = Server(sse(*counted(texts, counts), text("", "stop")))
    assert continued(server.backend(), max_tokens=1000)[0] == "".join(said for said, _, _ in pieces)


@given(
    pieces=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3)), min_size=1, max_size=20),
    again=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5),
)
def test_an_old_chunk_that_is_sent_again_is_read_once(
    pieces: list[tuple[str, int]], again: list[tuple[int, int]]
) -> None:
    """Each pair of `again` is a place in the stream and how far before it the repeated chunk is."""
    counts = list(accumulate(cost for _, cost in pieces))
    chunks = counted([said for said, _ in pieces], [*counts])
    for place, back in again:
        at = min(place, len(chunks))
        chunks[at:at] = chunks[max(0, at - 1 - back) : at][:1]
    server = Server(sse(*chunks, text("", "stop")), owner="vllm")
    assert continued(server.backend(), max_tokens=1000)[0] == "".join(said for said, _ in pieces)


def test_the_end_of_a_stream_that_is_sent_again_is_read_once() -> None:
    """As by a gateway that connects again."""
    chunks = counted(["a", "b", "c"], [1, 2, 3])
    server = Server(sse(*chunks, *chunks[1:], *counted(["d"], [4]), text("", "stop")), owner="vllm")
    assert continued(server.backend())[0] == "abcd"


def test_a_chunk_of_long_ago_is_in_the_wrong_order() -> None:
    chunks = counted(["a"] * 66, [*range(1, 67)])
    assert continued(Server(sse(*chunks, chunks[2]), owner="vllm").backend(), max_tokens=1000)[0] == "a" * 66
    with pytest.raises(StreamOrderError):
        continued(Server(sse(*chunks, chunks[1]), owner="vllm").backend(), max_tokens=1000)


@pytest.mark.parametrize("owner", ["me", "vllm"])
@pytest.mark.parametrize(
    "counts",
    [
        pytest.param([None] * 6, id="no numbers"),
        pytest.param([0] * 6, id="none so far, it says"),
        pytest.param([1] * 6, id="those of each chunk"),
        pytest.param([None] * 5 + [6], id="only at the end"),
    ],
)
def test_a_model_that_repeats_itself_does_not_count_as_a_repeated_chunk(counts: list[int | None], owner: str) -> None:
    texts = ["b", "a", "a", "b", "b", "b"]
    assert continued(Server(sse(*counted(texts, counts), text("", "stop")), owner=owner).backend())[0] == "baabbb"


@pytest.mark.parametrize(
    ("owner", "counts", "said"),
    [
        pytest.param("vllm", [1, 3, 2, 4], "ab", id="the number goes back"),
        pytest.param("vllm", [1, 4, 5, 2], "abc", id="by more than one"),
        pytest.param("vllm", [1, None, 2, 1], "abc", id="a chunk between them has no number"),
    ],
)
async def test_text_in_the_wrong_order_is_an_error(owner: str, counts: list[int | None], said: str) -> None:
    """The text has a gap, so no request may continue it."""
    server = Server(lambda: sse(*counted(list("abcd"), counts), text("", "stop")), owner=owner)
    pair = ChatSpeculativeThinking(speculative=server.backend(), target=ScriptedBackend())
    with pytest.raises(StreamOrderError, match="wrong order") as caught:
        pair.invoke("x")
    with pytest.raises(StreamOrderError, match="wrong order"):
        await pair.ainvoke("x")
    assert (caught.value.answer, len(server.requests)) == (said, 2)


def test_text_in_the_wrong_order_is_an_error_even_after_the_finish_reason() -> None:
    chunks = [*counted(["a", ""], [1, 3]), text("", "stop"), *counted(["c", "b"], [3, 2])]
    with pytest.raises(StreamOrderError):
        continued(Server(sse(*chunks), owner="vllm").backend())


@pytest.mark.parametrize(
    ("owner", "counts"),
    [
        pytest.param("vllm", [1, 2, 2, 4], id="two chunks of one step"),
        pytest.param("vllm", [None, None, None, None], id="no numbers"),
        pytest.param("me", [3, 1, 2, 1], id="an unknown server reports the tokens of each chunk"),
    ],
)
def test_text_in_order_is_read(owner: str, counts: list[int | None]) -> None:
    server = Server(sse(*counted(list("abcd"), counts), usage(9, 1), text("", "stop")), owner=owner)
    assert continued(server.backend())[0] == "abcd"


def test_thought_and_answer_of_one_step_are_both_read() -> None:
    """SGLang splits a decoding step in two if the thought ends within it."""
    halves = [delta(reasoning_content="So."), delta(content="So.", reason="stop")]
    server = Server(sse(*({**half, "usage": {"completion_tokens": 4}} for half in halves)))
    written = continued(server.backend(tokenizer=None, continuation="chat_trailing", thinking=True), turn(thinks=True))[
        0
    ]
    assert written.count("So.") == 2


def at_one_moment(backend: OpenAIBackend) -> OpenAIBackend:
    """Stop the clock of a backend's circuit breaker, so that no cool-down ends during a test on a busy machine."""
    backend._breaker = CircuitBreaker(backend.name, clock=lambda: 0.0)  # noqa: SLF001
    return backend


def test_a_server_that_is_down_gets_few_requests(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(httpx2.ConnectError("refused"))
    small = ScriptedBackend("A.\n\nWait, B.\n\nC.\n</think>\n\nD", thinks=True)
    pair = ChatSpeculativeThinking(speculative=small, target=at_one_moment(server.backend(max_retries=0)))
    reports = [pair.invoke("x").response_metadata["speculative_thinking"] for _ in range(1000)]
    assert len(server.requests) == 3
    (reason,) = reports[-1]["degraded"]
    assert "3 requests in a row failed (APIConnectionError). No requests are sent for" in reason
    assert len([record for record in caplog.records if "failed 3 times in a row" in record.message]) == 1


def test_probes_of_a_server_that_is_down_are_not_repeated() -> None:
    server = Server(httpx2.ConnectError("refused"))
    backend = at_one_moment(server.backend(tokenizer=None, max_retries=0))
    for _ in range(20):
        with pytest.raises(ModelConnectionError):
            next(backend.continue_turn(turn(), Request(5)))
    assert len(server.requests) == 3


def test_a_probe_that_fails_once_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.retries._backoff", lambda _: 0)
    server = Server(refused(503), probe(" yellow. The"), sse(delta(content="A", reason="stop")))
    assert continued(server.backend(tokenizer=None))[0] == "A"


def test_a_key_with_a_line_break_is_not_shown() -> None:
    """The line break makes the header illegal, and the error message quotes the header."""
    server = Server(httpx2.ConnectError(f"Illegal header value b'Bearer {KEY}'"))
    with pytest.raises(BackendError) as caught:
        continued(server.backend(max_retries=0))
    assert KEY not in f"{caught.value} {caught.value.__cause__!r} {vars(caught.value)}"
    backend = OpenAIBackend("m", base_url="http://server.test/v1", api_key=f"{KEY}\n")
    assert backend.client.api_key == KEY


def test_a_server_that_has_recovered_gets_requests_again() -> None:
    now = [0.0]
    breaker = CircuitBreaker("big", clock=lambda: now[0])

    def request(error: Exception | None = None) -> str:
        try:
            with breaker.watch(Deadline()):
                if error:
                    raise error
        except (httpx2.ConnectError, CircuitOpenError) as e:
            return type(e).__name__
        return "fine"

    refused = httpx2.ConnectError("refused")
    assert [request(refused) for _ in range(3)] == ["ConnectError"] * 3
    assert [request(), request()] == ["CircuitOpenError"] * 2
    now[0] = 31
    assert [request(refused), request()] == ["ConnectError", "CircuitOpenError"]
    now[0] = 62
    assert [request(), request(refused), request()] == ["fine", "ConnectError", "fine"]


def fail(breaker: CircuitBreaker, time: FakeTime, error: Exception, seconds: float) -> None:
    """Make a request that fails some seconds after its turn began. The turn has three seconds."""
    with breaker.watch(Deadline.after(3.0, time.clock)):
        time.seconds += seconds
        raise error


ERRORS = [httpx2.ReadTimeout("timed out"), httpx2.ConnectError("gone"), TurnTimeoutError(3)]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("seconds", [2.99, 3.0, 3.5])
def test_an_error_at_the_deadline_of_a_turn_is_no_failure_of_the_server(error: Exception, seconds: float) -> None:
    time, breaker = FakeTime(), CircuitBreaker("big", clock=lambda: 0.0)
    for _ in range(10):
        with pytest.raises(type(error)):
            fail(breaker, time, error, seconds)


def test_an_error_at_the_deadline_does_not_hide_the_failures_before_it() -> None:
    time, breaker = FakeTime(), CircuitBreaker("big", clock=lambda: 0.0)
    for seconds in (0.0, 1.0, 3.0, 2.0):
        with pytest.raises(httpx2.ReadTimeout):
            fail(breaker, time, httpx2.ReadTimeout(""), seconds)
    with pytest.raises(CircuitOpenError):
        fail(breaker, time, httpx2.ReadTimeout(""), 0.0)


def test_no_retry_after_a_long_requested_wait() -> None:
    server = Server(refused(429, **{"retry-after": "3600"}))
    with pytest.raises(ModelRateLimitError):
        continued(server.backend())
    assert len(server.requests) == 1
