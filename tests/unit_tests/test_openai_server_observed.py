"""What an operator of the server sees: metrics for Prometheus, and a line of JSON for each request, without secrets."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from langchain_spec_thinking.errors import BackendError, InvalidRequestError, PromptTooLongError
from langchain_spec_thinking.serving.log import LOGGING, JsonLines
from tests.unit_tests.openai_server import ASKED, KEY, NAME, Broken, Endless, client, http, plain
from tests.unit_tests.tool_task import pair

if TYPE_CHECKING:
    import httpx2

QUESTION = "Order tea for Ms Secret."
CHAT: Any = {"model": NAME, "messages": [{"role": "user", "content": QUESTION}]}
ENDPOINTS: dict[str, Any] = {"/v1/chat/completions": CHAT, "/v1/responses": {"model": NAME, "input": QUESTION}}
HEADERS = {"Authorization": f"Bearer {KEY}"}


async def values(server: httpx2.AsyncClient) -> dict[str, float]:
    """Return the metrics by their names and the values of their labels, in the order of the labels' names."""
    text = (await server.get("http://pair.test/metrics")).text
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the log as it is written, line by line."""
    return [json.loads(JsonLines().format(record)) for record in caplog.records]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "langchain_spec_thinking.serving")
    return caplog


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_reply_is_counted_and_logged(path: str, stream: bool, log: pytest.LogCaptureFixture) -> None:
    server = http(pair())
    response = await server.post(f"http://pair.test{path}", json={**ENDPOINTS[path], "stream": stream}, headers=HEADERS)
    (line,) = lines(log)
    assert line["id"] == response.headers["x-request-id"]
    told = {"message": "request", "endpoint": path, "status": 200, "outcome": "complete", "stream": stream}
    assert line | told == line
    assert line["takeovers"] == 1
    assert sum(line["tokens"].values()) == line["output_tokens"] > 0
    assert line["seconds"] >= line["waited_seconds"] >= 0
    found = await values(server)
    assert found[f"spec_thinking_requests_total {path} 200"] == 1
    assert found[f"spec_thinking_request_seconds_count {path}"] == 1
    assert found["spec_thinking_takeovers_total"] == 1
    for author, tokens in line["tokens"].items():
        assert found[f"spec_thinking_tokens_total {author}"] == tokens
    assert found["spec_thinking_model_tokens_total completion target"] > 0
    assert (found["spec_thinking_requests_running"], found["spec_thinking_requests_waiting"]) == (0, 0)


async def test_running_and_waiting_requests_are_counted_while_they_are() -> None:
    small = Endless()
    server = http(plain(small), running=1)

    def ask() -> asyncio.Task[Any]:
        return asyncio.create_task(server.post("http://pair.test/v1/chat/completions", json=CHAT, headers=HEADERS))

    tasks = [ask()]
    await small.started.get()
    tasks.append(ask())
    while not (found := await values(server))["spec_thinking_requests_waiting"]:
        pass
    assert (found["spec_thinking_requests_running"], found["spec_thinking_requests_waiting"]) == (1, 1)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    found = await values(server)
    assert (found["spec_thinking_requests_running"], found["spec_thinking_requests_waiting"]) == (0, 0)
    assert found["spec_thinking_requests_total /v1/chat/completions 499"] == 2


REFUSED: dict[str, tuple[Any, str, dict[str, Any], dict[str, str], int, str]] = {
    "no key": (plain(), "/v1/responses", {}, {"Authorization": "Bearer sk-wrong"}, 401, "invalid_api_key"),
    "another model": (plain(), "/v1/responses", {"model": "x"}, HEADERS, 404, "model_not_found"),
    "an invalid field": (plain(), "/v1/responses", {"input": []}, HEADERS, 400, "invalid_request_error"),
    "an unknown address": (plain(), f"/{QUESTION}", {}, HEADERS, 404, "unknown_url"),
    "a model that is down": (plain(Broken(BackendError("x"))), "/v1/responses", {}, HEADERS, 503, "model_unavailable"),
    "a failure in a stream": (
        plain(Broken(BackendError("x"), words=3)),
        "/v1/responses",
        {"stream": True},
        HEADERS,
        200,
        "model_unavailable",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_refusal_is_counted_and_logged_with_its_code(what: str, log: pytest.LogCaptureFixture) -> None:
    model, path, changed, headers, status, code = REFUSED[what]
    server = http(model)
    body = {**ENDPOINTS["/v1/responses"], **changed}
    response = await server.post(f"http://pair.test{path}", json=body, headers=headers)
    endpoint = path if path in ENDPOINTS else "other"
    assert response.status_code == status
    line = lines(log)[-1]
    assert line | {"status": status, "code": code, "outcome": "failed", "endpoint": endpoint} == line
    found = await values(server)
    assert found[f"spec_thinking_refusals_total {code}"] == 1
    assert found[f"spec_thinking_requests_total {endpoint} {status}"] == 1


async def test_each_application_has_metrics_of_its_own() -> None:
    first, second = http(plain()), http(plain())
    await first.post("http://pair.test/v1/chat/completions", json=CHAT, headers=HEADERS)
    assert "spec_thinking_requests_total /v1/chat/completions 200" in await values(first)
    assert "spec_thinking_requests_total /v1/chat/completions 200" not in await values(second)


async def test_what_monitors_ask_is_not_logged(log: pytest.LogCaptureFixture) -> None:
    server = http(plain())
    for path in ("/health", "/metrics"):
        assert (await server.get(f"http://pair.test{path}")).status_code == 200
    assert lines(log) == []


async def test_a_client_that_disconnects_is_logged(log: pytest.LogCaptureFixture) -> None:
    parts: Any = await client(plain(Endless())).chat.completions.create(**CHAT, stream=True)
    await anext(aiter(parts))
    await parts.close()
    (line,) = lines(log)
    assert line | {"status": 200, "outcome": "disconnected", "code": None} == line


QUOTING = {
    "a defect": RuntimeError(QUESTION),
    "what a server refuses": InvalidRequestError(f"invalid content: {QUESTION}"),
    "a conversation that is too long": PromptTooLongError(f"too long: {QUESTION}"),
    "a defect with the type of an invalid setting": ValueError(QUESTION),
    "a value that the chat model refuses": ValueError(f"messages: {QUESTION}"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", QUOTING)
async def test_the_log_contains_no_text_of_users_and_no_key(
    what: str, stream: bool, log: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(openai.APIError):
        await client(plain(Broken(QUOTING[what]))).chat.completions.create(**CHAT, stream=stream)
    written = "\n".join(map(json.dumps, lines(log)))
    assert '"message": "request"' in written
    assert "Secret" not in written
    assert KEY not in written


async def test_the_log_says_where_a_defect_is(log: pytest.LogCaptureFixture) -> None:
    with pytest.raises(openai.InternalServerError):
        await client(plain(Broken(ValueError("x")))).chat.completions.create(**ASKED)
    failed, _ = lines(log)
    (error,) = failed["errors"]
    assert (failed["level"], error["type"], error["message"]) == ("error", "ValueError", None)
    assert any("continue_turn" in place for place in error["places"])


async def test_the_log_says_which_server_cannot_be_reached(log: pytest.LogCaptureFixture) -> None:
    broken = Broken(BackendError("large at http://10.0.0.7: connection refused"))
    with pytest.raises(openai.InternalServerError):
        await client(plain(broken)).chat.completions.create(**ASKED)
    failed, request = lines(log)
    assert failed["level"] == "error"
    (error,) = failed["errors"]
    assert error["message"] == "large at http://10.0.0.7: connection refused"
    assert any("continue_turn" in place for place in error["places"])
    assert request["code"] == "model_unavailable"


def test_a_line_of_the_log_is_one_line_of_json() -> None:
    """Whatever a message contains, it cannot begin a new line, which would look like a line of its own."""
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "two\nlines %s", ("\u2028é\ud800",), None)
    written = JsonLines().format(record)
    assert "\n" not in written
    assert written.isascii()
    line = json.loads(written)
    assert (line["level"], line["message"]) == ("warning", "two\nlines \u2028é\ud800")
    assert line["time"].endswith("+00:00")


def test_the_causes_of_an_error_are_listed_once() -> None:
    first, second = BackendError("first"), BackendError("second")
    first.__cause__, second.__cause__ = second, first
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed", None, (BackendError, first, None))
    told = json.loads(JsonLines().format(record))["errors"]
    assert [error["message"] for error in told] == ["first", "second"]


def test_libraries_log_as_lines_of_json_too() -> None:
    assert LOGGING["root"]["handlers"] == ["lines"]
    assert not LOGGING["disable_existing_loggers"]
