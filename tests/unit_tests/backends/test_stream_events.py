from __future__ import annotations

from types import SimpleNamespace

from langchain_spec_thinking.backends.base import Piece
from langchain_spec_thinking.backends.openai.stream_events import ChunkReader
from langchain_spec_thinking.backends.replies.continuation import Payload
from langchain_spec_thinking.turn import Turn


def test_text_checked_for_an_echo_until_the_end_is_counted_in_full() -> None:
    """Found with a real server: repetitive text equals its prefill, and is held until the stream ends."""
    payload = Payload("completions", {}, prefills=("one two one two one two ",))
    reader = ChunkReader(payload, Turn(()), 4, lambda text: len(text.split()))
    for word in ("one ", "two ", "one ", "two "):
        assert list(reader.read(SimpleNamespace(choices=[SimpleNamespace(text=word)]))) == []
    assert list(reader.rest()) == [Piece("one two one two ", 4)]
    assert reader.full
