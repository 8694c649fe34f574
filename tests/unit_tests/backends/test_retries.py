"""When and after how long a request is repeated: the statuses and the headers that servers send."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_spec_thinking.backends.base import Request
from langchain_spec_thinking.backends.openai.retries import _retry_after
from langchain_spec_thinking.deadline import Deadline
from langchain_spec_thinking.errors import BackendError
from tests.unit_tests.fake_time import FakeTime
from tests.unit_tests.wire import Server, continued, delta, refused, sse, turn

NOW = 1_800_000_000.0
WAITS: dict[str, tuple[dict[str, str], float | None]] = {
    "seconds": ({"retry-after": "7"}, 7.0),
    "a part of a second": ({"retry-after": "0.25"}, 0.25),
    "a date": ({"retry-after": formatdate(NOW + 9, usegmt=True)}, 9.0),
    "a date with another time zone": ({"retry-after": "Fri, 15 Jan 2027 10:00:12 +0200"}, 12.0),
    "a date that has passed": ({"retry-after": formatdate(NOW - 60, usegmt=True)}, 0.0),
    "milliseconds": ({"retry-after-ms": "1500"}, 1.5),
    "milliseconds and seconds": ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
    "milliseconds that are none, and seconds": ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
    "a day that does not exist": ({"retry-after": "Fri, 99 Jan 2027 08:00:00 GMT"}, None),
    "a year that is too large": ({"retry-after": "Fri, 15 Jan 99999999999999999999 08:00:00 GMT"}, None),
    "a word": ({"retry-after": "soon"}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize(("headers", "seconds"), WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("asynchronously", [False, True], ids=["blocking", "asynchronous"])
async def test_a_request_waits_as_long_as_the_server_asks(
    headers: dict[str, str], seconds: float | None, asynchronously: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.retries._backoff", lambda _: 3.25)
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.retries.time.time", lambda: NOW)
    server = Server(refused(503, **headers), sse(delta("stop", content="A")))
    time = FakeTime()
    backend = server.backend(tokenizer=None, continuation="chat_flag", max_retries=1)
    request = Request(20, deadline=Deadline.after(1000, time.clock))
    if asynchronously:
        assert [event async for event in backend.acontinue_turn(turn(), request)]
    else:
        assert [*backend.continue_turn(turn(), request)]
    assert sum(time.waits) == pytest.approx(3.25 if seconds is None else seconds)


@pytest.mark.parametrize("headers", [{"retry-after-ms": "21000"}, {"retry-after": formatdate(NOW + 60, usegmt=True)}])
def test_a_request_is_not_repeated_if_the_server_asks_for_a_long_wait(
    headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.retries.time.time", lambda: NOW)
    server = Server(refused(429, **headers))
    with pytest.raises(BackendError):
        continued(server.backend(max_retries=1))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "repeats"),
    [
        *((status, True) for status in (408, 409, 429, 500, 502, 503, 504, 520, 522, 524, 529)),
        (501, False),
        (402, False),
    ],
)
def test_an_error_that_may_pass_is_repeated(status: int, repeats: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.retries._backoff", lambda _: 0)
    server = Server(refused(status), sse(delta("stop", content="A")))
    backend = server.backend(tokenizer=None, continuation="chat_flag", max_retries=1)
    if repeats:
        assert continued(backend)[0] == "A"
    else:
        with pytest.raises(BackendError):
            continued(backend)
    assert len(server.requests) == 1 + repeats


@given(name=st.sampled_from(["retry-after", "retry-after-ms"]), value=st.text(max_size=40))
def test_any_header_is_a_wait_or_none(name: str, value: str) -> None:
    class Error(Exception):
        response = type("Response", (), {"headers": {name: value}})

    seconds = _retry_after(Error())
    assert seconds is None or seconds >= 0
