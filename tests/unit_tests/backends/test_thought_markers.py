"""The markers of thoughts in the prompts and in the token tables of models."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import Limitation, Piece
from langchain_spec_thinking.backends.local.model import LocalModel
from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends import tiny
from tests.unit_tests.wire import Server, continued, refused, sse, text

HI = (Message("user", "hi"),)
MAGISTRAL = f"{{# [THINK] [/THINK] #}}{tiny.TEMPLATE}"
CALLING = f"{{# <tool_call> #}}{tiny.TEMPLATE}"


def half(*, closed: bool = False, pending: str = "") -> Turn:
    turn = Turn(HI, thinks=True, pending=pending)
    turn.append("speculative", "Hm.")
    if closed:
        turn.closing = "\n</think>\n\n"
        turn.append("target", "Five.")
    return turn


@pytest.mark.parametrize("mark", ["<think>", "</think>"])
def test_a_special_token_without_a_name_is_shown_if_it_marks_a_thought(mark: str) -> None:
    tokenizer: Any = tiny.special_tokenizer("<think>", "</think>")
    assert mark not in tokenizer.all_special_tokens
    template = ChatTemplate(tokenizer)
    cache = LocalModel.of(tiny.llama(vocabulary=len(tokenizer))).turn_cache(Turn(HI, thinks=True), template)
    assert cache.append(tokenizer.convert_tokens_to_ids(mark)) == mark


def test_calls_between_special_tokens_without_names_are_not_written_as_text() -> None:
    """A server removes these tokens from the text."""
    assert not ChatTemplate(tiny.special_tokenizer("<tool_call>", template=CALLING)).writes_calls_as_text
    assert ChatTemplate(tiny.byte_tokenizer(CALLING)).writes_calls_as_text


@pytest.mark.parametrize("special", [False, True])
def test_a_server_is_asked_to_keep_markers_that_are_special_tokens(special: bool) -> None:
    tokenizer = tiny.special_tokenizer("</think>") if special else tiny.byte_tokenizer(tiny.THINKING_TEMPLATE)
    server = Server(sse(text(" So.</think>\n\nFive.", "stop")))
    continued(server.backend(continuation="raw", tokenizer=tokenizer), half())
    assert server.requests[0][1].get("skip_special_tokens") is (False if special else None)


@pytest.mark.parametrize(
    ("status", "says"), [(422, "no"), (400, "Unknown field: skip_special_tokens")], ids=["422", "400"]
)
def test_a_server_that_cannot_keep_markers_gets_the_request_without_this_field(status: int, says: str) -> None:
    answer = sse(text(" So.</think>\n\nFive.", "stop"))
    server = Server(refused(status, says), answer)
    _, events = continued(server.backend(continuation="raw", tokenizer=tiny.special_tokenizer("</think>")), half())
    assert [body.get("skip_special_tokens") for _, body in server.requests] == [False, None]
    assert any("`skip_special_tokens`" in event.words for event in events if isinstance(event, Limitation))


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        pytest.param(Turn(HI, thinks=True), "[THINK]", id="nothing is written"),
        pytest.param(half(), "[THINK]Hm.", id="a thought"),
        pytest.param(half(closed=True), "[THINK]Hm.\n[/THINK]\n\nFive.", id="an answer"),
        pytest.param(half(pending="</think>A"), "[THINK]Hm.[/THINK]A", id="a stream that broke in the answer"),
        pytest.param(Turn(HI), "", id="no thought"),
    ],
)
def test_a_turn_is_rendered_with_the_markers_of_the_model(turn: Turn, expected: str) -> None:
    template = ChatTemplate(tiny.byte_tokenizer(MAGISTRAL))
    assert template.thinks
    assert template.reply_text(turn) == expected


@pytest.mark.parametrize("size", [1, 3, 99])
def test_the_markers_of_a_model_are_read_from_a_completion(size: int) -> None:
    written = " So.[/THINK]Five."
    pieces = [text(written[at : at + size]) for at in range(0, len(written), size)]
    server = Server(sse(*pieces, text("", "stop")))
    backend = server.backend(continuation="raw", tokenizer=tiny.byte_tokenizer(MAGISTRAL))
    joined, events = continued(backend, half())
    assert joined == " So.</think>Five."
    assert server.requests[0][1]["prompt"].endswith("[THINK]Hm.")
    assert all(event.text for event in events if isinstance(event, Piece))


def test_a_pair_shows_the_thought_of_a_model_with_its_own_markers() -> None:
    server = Server(sse(text("[THINK]A sum.[/THINK]Four.", "stop")))
    small = server.backend(continuation="raw", tokenizer=tiny.byte_tokenizer(MAGISTRAL))
    message: Any = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend()).invoke("2 + 2?")
    assert (message.content_blocks[0]["reasoning"], message.text) == ("A sum.", "Four.")
