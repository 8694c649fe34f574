"""The decoder of event streams: it reads what the SDK reads, however a body is cut into parts."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._streaming import SSEDecoder

from langchain_spec_thinking.backends.openai.event_stream import EventDecoder

PIECES = [
    'data: {"a": "x"}',
    'data:{"b": "\u00e9\U0001f600"}',
    'data: {"half": "\\ud83d"}',
    'data: {"two":\ndata: 2}',
    'data: {"back": "\\r\\n"}',
    ": a comment",
    "event: thread.message\nid: 7",
    "retry: 3000",
    "data",
    "other: field",
    'data: [1, "list"]',
    "",
]


def response() -> httpx2.Response:
    return httpx2.Response(200, request=httpx2.Request("POST", "http://server.test/v1"))


def decoded(parts: list[bytes]) -> list[Any]:
    return list(EventDecoder(response()).iter_bytes(iter(parts)))


def decoded_by_sdk(body: bytes) -> list[Any]:
    """Decode a whole body with the SDK, without the events that have no data."""
    found = []
    for event in SSEDecoder().iter_bytes(iter([body])):
        if event.data.startswith("[DONE]"):
            break
        if event.data.strip():
            found.append(event.json())
    return found


@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=12),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    done=st.booleans(),
    cuts=st.lists(st.integers(0, 300), max_size=12),
)
def test_any_parts_of_a_body_bring_what_the_sdk_reads(pieces: list[str], end: str, done: bool, cuts: list[int]) -> None:
    texts = [*pieces, *(["data: [DONE]", 'data: {"after": "the end"}'] if done else [])]
    body = "".join(f"{text}\n\n" for text in texts).replace("\n", end).encode()
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    assert decoded([body[a:b] for a, b in pairwise(places)]) == decoded_by_sdk(body)


def test_every_byte_may_come_alone() -> None:
    body = b"".join(f"data: {json.dumps({'n': n})}\r\n\r\n".encode() for n in range(5))
    assert decoded([bytes([byte]) for byte in body]) == [{"n": n} for n in range(5)]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"data: {garbage}\n\n", ValueError),
        (b'data: {"a": "\xff"}\n\n', ValueError),
        (b'data: {"error": {"message": "engine died"}}\n\n', openai.APIError),
        (b'data: {"error": "no words"}\n\n', openai.APIError),
    ],
)
def test_an_event_that_cannot_be_read_is_an_error(body: bytes, error: type[Exception]) -> None:
    for parts in ([body], [body[:9], body[9:]]):
        with pytest.raises(error) as caught:
            decoded(parts)
    assert "garbage" not in str(caught.value)


def test_the_decoder_holds_only_a_line_that_has_not_ended() -> None:
    decoder = EventDecoder(response())
    for _ in range(3):
        list(decoder.feed(b'data: {"a": 1}\n\ndata: {"b"'))
        assert b"".join(decoder._held) == b'data: {"b"'  # noqa: SLF001
        list(decoder.feed(b": 2}\n\n"))
        assert decoder._held == []  # noqa: SLF001
