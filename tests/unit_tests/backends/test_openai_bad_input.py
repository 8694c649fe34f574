"""Invalid data from servers. It leads to a clear error or a clean recovery, and received text is never lost.

`test_openai_faults` tests garbage, half events and errors in the stream. `test_openai_streams` tests empty choices,
null texts and missing finish reasons.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.wire import Server, delta, event, probe, sse, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import AIMessage

HTML = "<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
SMILE = "😀"
HIGH, LOW = "\ud83d", "\ude00"
"""The halves of `SMILE`. Engines with UTF-16 strings send them in two events."""
LONG = "word " * 400_000


async def ask(server: Server, *, asynchronously: bool, **backend: Any) -> AIMessage:
    """Return the answer of a small and a large model. The target is scripted and writes nothing."""
    small = server.backend(**backend)
    pair = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend(), max_tokens=len(LONG))
    return await pair.ainvoke("x") if asynchronously else pair.invoke("x")


BOTH = pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])
CHAT: dict[str, Any] = {"tokenizer": None, "continuation": "chat_flag"}

RECOVERED = [
    pytest.param([delta(content="A"), delta(), delta("stop", content="B")], "AB", id="a delta without anything"),
    pytest.param(
        [delta(content="A"), {"choices": [{"delta": None}]}, delta("stop", content="B")], "AB", id="null delta"
    ),
    pytest.param([delta(content="A"), delta(content=None), delta("stop", content="B")], "AB", id="null content"),
    pytest.param([delta(content="A"), {"choices": []}, delta("stop", content="B")], "AB", id="no choices"),
    pytest.param([delta(content="A"), {"choices": None}, delta("stop", content="B")], "AB", id="null choices"),
    pytest.param([delta(content="A"), delta("eos_token")], "A", id="an unknown finish reason"),
    pytest.param([delta(content="A"), delta("content_filter")], "A", id="a filter"),
    pytest.param([delta(content="A")], "A", id="no finish reason"),
    pytest.param([delta("stop", content=LONG)], LONG, id="a huge line"),
    pytest.param([delta("stop", content="A\ufffd")], "A\ufffd", id="a replacement character"),
    pytest.param([delta(content=HIGH), delta("stop", content=f"{LOW}B")], f"{SMILE}B", id="half a character an event"),
    pytest.param([delta(content=f"A{HIGH}"), delta("stop", content="B")], "A\ufffdB", id="half a character for good"),
    pytest.param([delta("stop", content=f"A{HIGH}")], "A\ufffd", id="half a character at the end"),
    pytest.param([delta("stop", content=f"A{LOW}")], "A\ufffd", id="the other half alone"),
    pytest.param([delta(content="A"), {**delta("stop"), "usage": {"prompt_tokens": "many"}}], "A", id="usage in words"),
    pytest.param([delta(content="A"), "5", delta("stop", content="B")], "AB", id="an event that is a number"),
    pytest.param([delta(content="A"), {**delta("stop"), "usage": 7}], "A", id="usage of no kind"),
]


@BOTH
@pytest.mark.parametrize(("chunks", "expected"), RECOVERED)
async def test_readable_events_are_read(chunks: list[Any], expected: str, asynchronously: bool) -> None:
    server = Server(sse(*chunks))
    assert (await ask(server, asynchronously=asynchronously, **CHAT)).text == expected
    assert len(server.requests) == 1


@BOTH
@pytest.mark.parametrize("size", range(1, 8))
async def test_characters_may_be_split_between_packets(size: int, asynchronously: bool) -> None:
    """Even within the bytes of one character."""
    wire = b"".join(event(json.dumps(text(said), ensure_ascii=False)) for said in ("ä", SMILE, "é。"))
    parts = [wire[start : start + size] for start in range(0, len(wire), size)]
    assert (await ask(Server(sse(*parts)), asynchronously=asynchronously)).text == f"ä{SMILE}é。"


@BOTH
@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "application/octet-stream"])
async def test_a_stream_with_another_content_type_is_read(content_type: str, asynchronously: bool) -> None:
    answer = sse(text("A", "stop"))
    answer.headers["content-type"] = content_type
    assert (await ask(Server(answer), asynchronously=asynchronously)).text == "A"


RESUMED = [
    pytest.param(lambda: sse(delta(content="A"), delta(content=5)), id="a number where text should be"),
    pytest.param(lambda: sse(delta(content="A"), delta(reasoning=["x"])), id="a list where text should be"),
    pytest.param(lambda: sse(delta(content="A"), delta(content=[{"type": "text", "text": 5}])), id="a number in it"),
    pytest.param(lambda: sse(delta(content="A"), {"choices": 5}), id="a number where choices should be"),
    pytest.param(lambda: sse(delta(content="A"), b'data: {"choices": "\xf0\x9f"}\n\n'), id="bytes that are no text"),
    pytest.param(lambda: sse(delta(content="A"), "x" * 2_000_000), id="a huge line of garbage"),
    pytest.param(lambda: sse(delta(content="A"), HTML, done=False), id="a page among the events"),
]


@BOTH
@pytest.mark.parametrize("broken", RESUMED)
async def test_a_request_with_an_unreadable_event_is_repeated(
    broken: Callable[[], httpx2.Response], asynchronously: bool
) -> None:
    server = Server(broken, sse(delta("stop", content="B")))
    assert (await ask(server, asynchronously=asynchronously, **CHAT)).text == "AB"
    assert server.requests[1][1]["messages"][-1]["content"] == "A"


@BOTH
@pytest.mark.parametrize("broken", RESUMED)
async def test_repeatedly_unreadable_events_are_an_error_with_the_text(
    broken: Callable[[], httpx2.Response], asynchronously: bool
) -> None:
    server = Server(broken, lambda: httpx2.Response(400, text="no"))
    with pytest.raises(BackendError, match=r"^big at http://server\.test/v1: ") as caught:
        await ask(server, asynchronously=asynchronously, **CHAT)
    assert caught.value.answer == "A"


NEVER_BEGUN = [
    pytest.param(200, "text/html", HTML, "answered with text/html instead of a stream", id="a page"),
    pytest.param(200, "application/json", '{"choices": []}', "answered with application/json instead", id="JSON"),
    pytest.param(200, "text/plain", "hello", "answered with text/plain instead", id="text"),
    pytest.param(200, "application/json", "", "instead of a stream of events", id="nothing"),
    pytest.param(502, "text/html", HTML, "502 Bad Gateway.*See the server's log", id="a gateway's page"),
    pytest.param(500, "application/json", "{", "See the server's log", id="half an error"),
    pytest.param(400, "application/json", "[5]", "Check the settings", id="an error of no kind"),
]


@BOTH
@pytest.mark.parametrize(("status", "content_type", "body", "says"), NEVER_BEGUN)
async def test_a_response_that_is_no_stream_is_one_clear_error(
    status: int, content_type: str, body: str, says: str, asynchronously: bool
) -> None:
    server = Server(lambda: httpx2.Response(status, text=body, headers={"content-type": content_type}))
    with pytest.raises(BackendError, match=f"^big at http://server.test/v1: .*{says}"):
        await ask(server, asynchronously=asynchronously, max_retries=0, continuation="raw")
    assert len(server.requests) == 1


@BOTH
@pytest.mark.parametrize(
    "reply", [{}, {"choices": 5}, {"choices": [{}]}, {"choices": [{"message": {"content": 5}}]}, [], 5, HTML]
)
async def test_an_invalid_reply_to_a_probe_is_no_continuation(reply: Any, asynchronously: bool) -> None:
    server = Server(lambda: httpx2.Response(200, json=reply), probe(" yellow. The"), sse(delta("stop", content="A")))
    assert (await ask(server, asynchronously=asynchronously, tokenizer=None)).text == "A"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["text", "type", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
SHAPES: list[Callable[[Any], Any]] = [
    lambda value: value,
    lambda value: {"choices": value},
    lambda value: {"choices": [value]},
    lambda value: {"choices": [{"delta": value}]},
    lambda value: {"choices": [{"delta": {"content": value}}]},
    lambda value: {"choices": [{"delta": {"content": [value]}}]},
    lambda value: {"choices": [{"delta": {"content": [{"type": "thinking", "thinking": value}]}}]},
    lambda value: {"choices": [{"delta": {"reasoning": value}}]},
    lambda value: {"choices": [{"finish_reason": value}]},
    lambda value: {"choices": [], "usage": value},
    lambda value: {"choices": [], "usage": {"prompt_tokens": value, "prompt_tokens_details": value}},
    lambda value: {"error": value},
]


@settings(max_examples=400, deadline=None)
@given(shape=st.sampled_from(SHAPES), value=JSON)
def test_text_before_an_invalid_event_is_kept(shape: Callable[[Any], Any], value: Any) -> None:
    server = Server(sse(delta(content="A"), shape(value)), sse(delta("stop", content="B")))
    pair = ChatSpeculativeThinking(speculative=server.backend(**CHAT), target=ScriptedBackend())
    assert pair.invoke("x").text.startswith("A")
