"""What each strategy sends for a turn, and which part of the reply repeats it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_spec_thinking.backends.replies.continuation import (
    STRATEGIES,
    ChatFlag,
    ChatInstruct,
    ChatMark,
    ChatTrailing,
    Continuation,
    Raw,
    Strategy,
    StrategyName,
    named_strategy,
    parts,
    strategies_by_name,
)
from langchain_spec_thinking.backends.replies.echo import EchoFilter
from langchain_spec_thinking.turn import Message, Turn

USER = {"role": "user", "content": "hi"}


def turn(thinking: str = "", closing: str = "", answer: str = "", pending: str = "", *, thinks: bool = True) -> Turn:
    made = Turn((Message("user", "hi"),), thinks=thinks)
    if thinking:
        made.append("speculative", thinking)
    made.closing = closing
    if answer:
        made.append("target", answer)
    made.pending = pending
    return made


THINKING = turn("So two and ")
ANSWERING = turn("So five.", "\n</think>\n\n", "It is ")
CLOSED = turn("So five.", "\n</think>\n\n")
CLOSING = turn("So five.", pending="\n</think>")
FLAG = {"extra_body": {"continue_final_message": True, "add_generation_prompt": False}}
ANSWER_FLAG = {"extra_body": {"continue_final_message": "content", "add_generation_prompt": False}}


@pytest.mark.parametrize(
    ("strategy", "half", "last", "more"),
    [
        (ChatFlag(), THINKING, {"content": "<think>\nSo two and "}, FLAG),
        (ChatFlag(), ANSWERING, {"content": "<think>\nSo five.\n</think>\n\nIt is "}, FLAG),
        (ChatFlag(reasoning=True), THINKING, {"content": "", "reasoning_content": "So two and "}, FLAG),
        (ChatFlag(reasoning=True), ANSWERING, {"content": "It is ", "reasoning_content": "So five."}, FLAG),
        (ChatFlag(reasoning=True), CLOSED, {"content": "", "reasoning_content": "So five."}, ANSWER_FLAG),
        (ChatFlag(reasoning=True), CLOSING, {"content": "", "reasoning_content": "So five.\n"}, ANSWER_FLAG),
        (ChatMark("prefix"), THINKING, {"content": "<think>\nSo two and ", "prefix": True}, {}),
        (ChatMark("partial"), turn(answer="It is ", thinks=False), {"content": "It is ", "partial": True}, {}),
        (
            ChatMark("prefix", reasoning=True),
            THINKING,
            {"content": "", "prefix": True, "reasoning_content": "So two and "},
            {},
        ),
        (
            ChatMark("prefix", reasoning=True),
            ANSWERING,
            {"content": "It is ", "prefix": True, "reasoning_content": "So five."},
            {},
        ),
        (ChatTrailing(), THINKING, {"content": "<think>\nSo two and"}, {}),
        (ChatTrailing(), turn(answer="A.\n\n", thinks=False), {"content": "A."}, {}),
    ],
)
def test_the_reply_so_far_is_the_last_message(
    strategy: Strategy, half: Turn, last: dict[str, Any], more: dict[str, Any]
) -> None:
    payload = strategy.payload(half)
    assert payload.endpoint == "chat"
    assert payload.body == {"messages": [USER, {"role": "assistant", **last}], **more}
    assert not payload.overlap


@pytest.mark.parametrize("strategy", [ChatFlag(), ChatMark(), ChatTrailing(), ChatInstruct()])
def test_an_empty_turn_is_an_ordinary_request(strategy: Strategy) -> None:
    assert strategy.payload(turn()).body == {"messages": [USER]}


@pytest.mark.parametrize("strategy", [ChatFlag(), ChatMark(), ChatTrailing(), ChatInstruct()])
def test_pending_text_is_part_of_the_reply(strategy: Strategy) -> None:
    body = strategy.payload(turn("So ", pending="two")).body
    assert "So two" in body["messages"][-1]["content"]


def test_white_space_that_was_not_sent_is_in_the_payload() -> None:
    assert ChatTrailing().payload(turn(answer="A.\n\n", thinks=False)).trailing_white_space == "\n\n"


def test_the_instruction_quotes_the_end_of_an_answer() -> None:
    messages = ChatInstruct().payload(turn(answer="word " * 50 + "and so", thinks=False)).body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert "word and so\n\n" in messages[-1]["content"]
    assert len(messages[-1]["content"]) < 400


def test_the_instruction_shows_the_thought_as_a_draft() -> None:
    messages = ChatInstruct().payload(THINKING).body["messages"]
    assert [message["role"] for message in messages] == ["user", "user"]
    assert messages[-1]["content"].endswith("<draft>\nSo two and </draft>")
    messages = ChatInstruct().payload(turn("So five.", "\n</think>\n\n")).body["messages"]
    assert "Write the answer" in messages[-1]["content"]


@pytest.mark.parametrize(
    ("half", "expected"),
    [
        (THINKING, ("So two and ", "", False)),
        (ANSWERING, ("So five.", "It is ", True)),
        (turn("So", pending=" five"), ("So five", "", False)),
        (turn("So five.\n", pending="</think>\n\nIt"), ("So five.\n", "It", True)),
        (turn(answer="It", pending=" is", thinks=False), ("", "It is", False)),
    ],
)
def test_pending_text_belongs_to_the_thought_or_the_answer(half: Turn, expected: tuple[str, str, bool]) -> None:
    assert parts(half) == expected


GIVEN = "I add two and three. That gives five, which is odd."


@pytest.mark.parametrize(
    ("said", "news"),
    [
        ("That gives five, which is odd. So five.", " So five."),
        (f"{GIVEN} So five.", " So five."),
        ("which is odd. So five.", "which is odd. So five."),
        (" So five.", " So five."),
        ("That gives six.", "That gives six."),
        ("That gives five, which is odd.", ""),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_only_a_repeated_end_is_dropped(said: str, news: str, size: int) -> None:
    echo = EchoFilter((), overlap=GIVEN)
    shown = [echo.pass_on(said[start : start + size]) for start in range(0, len(said), size)]
    assert "".join(shown) + echo.rest() == news


@given(
    st.text(alphabet="ab \n", max_size=60),
    st.sampled_from(["", "\n", "\n\n", " \n "]),
    st.text(alphabet="ab \n", max_size=60),
    st.tuples(*[st.booleans()] * 4),
    st.data(),
)
def test_the_echo_filter_does_not_depend_on_the_pieces(
    begun: str, space: str, new: str, flags: tuple[bool, ...], data: st.DataObject
) -> None:
    given_text = f"{begun}{space}"
    begins_anew, repeats, sent, cut = flags
    said = f"{given_text if begins_anew else ''}{new}"

    def filtered(pieces: list[str]) -> tuple[str, str]:
        overlap = "" if repeats else given_text
        echo = EchoFilter((given_text,), space, overlap, repeats=repeats, white_space_sent=sent)
        return "".join(echo.pass_on(piece) for piece in pieces) + echo.rest(cut=cut), echo.dropped

    cuts = sorted(data.draw(st.sets(st.integers(0, len(said)))) | {0, len(said)})
    pieces = [said[start:end] for start, end in pairwise(cuts)]
    text, dropped = filtered([said])
    assert filtered(pieces) == (text, dropped)
    assert said.endswith(text)
    assert not (begins_anew and repeats) or text in {new, ""}
    # Tokens that were spent without new text must be told, or they are taken for hidden reasoning.
    assert dropped == (said if cut and not text else "")


KINDS = tuple(STRATEGIES.values())
FIRST, LAST = KINDS[0], KINDS[-1]
FIRST_NAME, LAST_NAME = get_args(StrategyName)[0], get_args(StrategyName)[-1]


@pytest.mark.parametrize(
    ("kinds", "wrong"),
    [
        (KINDS[:-1], LAST_NAME),
        ((*KINDS[:-1], FIRST), f"{FIRST_NAME}, {LAST_NAME}"),
        ((*KINDS, Turn), "Turn"),
    ],
    ids=["a class is missing", "a class is there twice", "a class has no name"],
)
def test_strategies_that_differ_from_the_literal_are_refused(kinds: tuple[Any, ...], wrong: str) -> None:
    with pytest.raises(TypeError, match=f"^{wrong}: expected the name once in `StrategyName`"):
        strategies_by_name(*kinds)


def test_users_can_name_every_strategy_or_auto() -> None:
    assert get_args(Continuation) == ("auto", *get_args(StrategyName))
    template: Any = object()
    assert [named_strategy(name, template).name for name in get_args(StrategyName)] == list(get_args(StrategyName))


def test_a_named_strategy_keeps_the_settings_of_the_engine_and_gets_the_template() -> None:
    template: Any = object()
    known = (ChatFlag(reasoning=True), ChatMark("partial", reasoning=True), ChatInstruct())
    assert named_strategy("chat_flag", template, known) == ChatFlag(reasoning=True, template=template)
    assert named_strategy("chat_mark", template, known) == ChatMark("partial", reasoning=True)
    assert named_strategy("chat_mark", None) == ChatMark("prefix")
    assert named_strategy("raw", template, known) == Raw(template)
