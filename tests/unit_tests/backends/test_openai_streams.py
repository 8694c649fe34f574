"""How a server's stream is read into text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import End, Limitation, Piece, Request, Usage
from langchain_spec_thinking.backends.openai.stream_events import ChunkReader
from langchain_spec_thinking.backends.replies.continuation import ChatMark, ChatTrailing, Strategy
from langchain_spec_thinking.backends.replies.reply_parts import LATE_REASONING
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.wire import Server, continued, delta, sse, text, turn, usage

LONG = "I add two and three.\n\n"


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param([text(LONG), text("So 5", "stop")], f"{LONG}So 5", id="the model repeats the reply"),
        pytest.param(
            [text(f"<|user|>hi<|end|><|assistant|>{LONG}So"), text(" 5")], "So 5", id="the server repeats the prompt"
        ),
        pytest.param([text("I add two "), text("more.")], "I add two more.", id="it only looked like a repetition"),
        pytest.param([text("I add two ")], "I add two ", id="and ended there"),
        pytest.param([text(None), text("So 5")], "So 5", id="no text"),
        pytest.param([{"choices": []}, {}, text("So 5")], "So 5", id="no choices"),
        pytest.param([{"choices": [{}]}, text("So 5")], "So 5", id="an empty choice"),
    ],
)
def test_irregular_streams_are_read(chunks: list[Any], expected: str) -> None:
    assert continued(Server(sse(*chunks)).backend(), turn(LONG))[0] == expected


def test_white_space_that_a_template_cut_off_is_not_doubled() -> None:
    server = Server(sse(delta(content="\n"), delta(content="\nSo 5")))
    backend = server.backend(continuation="chat_flag", tokenizer=None)
    assert continued(backend, turn(LONG))[0] == "So 5"


@pytest.mark.parametrize(
    ("done", "reason", "expected"),
    [(True, "stop", "stop"), (True, "length", "length"), (True, None, "stop")]
    + [(False, "stop", "stop"), (False, "length", "length")],
)
def test_the_end_is_known_from_the_finish_reason_or_done(done: bool, reason: str | None, expected: str) -> None:
    _, events = continued(Server(sse(text("A", reason), done=done)).backend())
    assert events[-1] == End(expected)  # type: ignore[arg-type]


def test_the_token_limit_without_a_finish_reason_means_length() -> None:
    _, events = continued(Server(sse(text("A"), text("B"), done=False)).backend(), max_tokens=2)
    assert events[-1] == End("length")


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("thinks", [True, False])
def test_reasoning_in_a_separate_field_is_put_between_tags(name: str, thinks: bool) -> None:
    chunks = [delta(**{name: "Hm"}), delta(**{name: ", 5."}), delta(content="Five."), delta("stop", content=" Yes.")]
    backend = Server(sse(*chunks)).backend(continuation="chat_flag", tokenizer=None, thinking=thinks)
    written, _ = continued(backend, turn(thinks=thinks))
    assert written == "<think>Hm, 5.\n</think>\n\nFive. Yes."
    chat = ChatSpeculativeThinking(
        speculative=Server(sse(*chunks)).backend(tokenizer=None, continuation="chat_flag"), target=ScriptedBackend()
    )
    message = chat.invoke("x")
    assert (message.content_blocks[0]["reasoning"], message.text) == ("Hm, 5.\n", "Five. Yes.")  # type: ignore[typeddict-item]


def test_a_thought_is_continued_without_a_new_tag() -> None:
    chunks = [delta(reasoning=" so 5."), delta("stop", content="Five.")]
    backend = Server(sse(*chunks)).backend(continuation="chat_flag", tokenizer=None)
    assert continued(backend, turn("Hm,", thinks=True))[0] == " so 5.\n</think>\n\nFive."


def test_reasoning_after_the_end_of_the_thought_is_part_of_the_answer() -> None:
    half = turn("Hm.", thinks=True)
    half.closing = "</think>\n\n"
    backend = Server(sse(delta(reasoning="Five."))).backend(continuation="chat_flag", tokenizer=None)
    assert continued(backend, half)[0] == "Five."


@pytest.mark.parametrize(
    "blank", [[], [delta(content="\n"), delta(content="\n")], [delta(content="\n\n")]], ids=["none", "two", "one"]
)
def test_white_space_between_two_parts_of_the_reasoning_does_not_end_it(blank: list[Any]) -> None:
    chunks = [delta(reasoning="Hm,"), *blank, delta(reasoning=" 5."), *blank, delta("stop", content="Five.")]
    space = "\n\n" if blank else ""
    backend = Server(sse(*chunks)).backend(continuation="chat_flag", tokenizer=None)
    assert continued(backend)[0] == f"<think>Hm,{space} 5.\n</think>\n\n{space}Five."


@pytest.mark.parametrize("thinks", [True, False])
def test_reasoning_after_text_of_the_answer_is_left_out_with_one_note(thinks: bool) -> None:
    interleaved = [
        *[delta(reasoning="Hm."), delta(content="One."), delta(reasoning="So,"), delta(reasoning=" two.")],
        delta("stop", content=" Two."),
    ]
    backend = Server(sse(*interleaved)).backend(continuation="chat_flag", tokenizer=None, thinking=thinks)
    written, events = continued(backend, turn(thinks=thinks))
    assert written == "<think>Hm.\n</think>\n\nOne. Two."
    [note] = [event.words for event in events if isinstance(event, Limitation)]
    assert LATE_REASONING in note


def test_reasoning_that_is_left_out_counts_toward_the_limit() -> None:
    endless = [delta(content="One."), *[delta(reasoning="So.")] * 50, delta("stop", content="Two.")]
    backend = Server(sse(*endless)).backend(continuation="chat_flag", tokenizer=None)
    written, events = continued(backend, max_tokens=10)
    assert (written, events[-1]) == ("One.", End("length", Usage(completion_tokens=11)))


@pytest.mark.parametrize("strategy", [ChatTrailing(), ChatMark()])
def test_an_echo_without_trailing_white_space_is_removed(strategy: Strategy) -> None:
    half = turn(f"{LONG}\n\n")
    reader = ChunkReader(strategy.payload(half), half, 20, None)
    delta = SimpleNamespace(content=f"{LONG.rstrip()}So five.")
    chunk = SimpleNamespace(choices=[SimpleNamespace(delta=delta, finish_reason=None)])
    assert [event.text for event in reader.read(chunk) if isinstance(event, Piece)] == ["So five."]


async def test_closing_closes_the_connection() -> None:
    response = sse(*[text(" on")] * 50)
    events = Server(response).backend().continue_turn(turn(), Request(50))
    assert isinstance(next(events), Usage)
    next(events)
    assert not response.is_closed
    events.close()
    assert response.is_closed
    response = sse(*[text(" on")] * 50)
    aevents = Server(response).backend().acontinue_turn(turn(), Request(50))
    await anext(aevents)
    await anext(aevents)
    assert not response.is_closed
    await aevents.aclose()
    assert response.is_closed


def test_the_policy_can_close_the_stream_early() -> None:
    draft = sse(text("One.\n\n"), text("Wait"), text(", no"), *[text(" on")] * 50)
    target = ScriptedBackend("Five it is, ")
    small = Server(draft, sse(text(" I say.", "stop"))).backend()
    message = ChatSpeculativeThinking(speculative=small, target=target).invoke("x")
    assert draft.is_closed
    assert message.text == "One.\n\nFive it is, "


async def test_asynchronous_calls_do_the_same() -> None:
    server = Server(sse(text("So"), text(" five", "stop"), usage(7, 2)))
    events = [event async for event in server.backend().acontinue_turn(turn("I add.\n\n"), Request(20))]
    assert events[1:] == [Piece("So", 1), Piece(" five", 1), End("stop", Usage(7, None, 2))]
