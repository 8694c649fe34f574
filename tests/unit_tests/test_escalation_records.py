"""Events, streams, records and replays of a turn with a rule of escalation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk, HumanMessage

from langchain_spec_thinking import (
    Agreement,
    Budget,
    ChatSpeculativeThinking,
    DelegationPolicy,
    EscalateIfAny,
    Stall,
    recording,
    replay,
)
from langchain_spec_thinking.backends.base import End, Piece
from langchain_spec_thinking.drivers import adrive
from langchain_spec_thinking.report import Takeover, TakeoverStart
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.gated_pairs import (
    DIFFER,
    ESSAYS,
    LONG,
    LOOP,
    QUESTION,
    THE_REST,
    WITH_CUE,
    Answers,
    Failing,
    events_of,
    gated,
    long_thinker,
    merged,
    pair,
    report,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from langchain_spec_thinking import Record
    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn


def test_the_escalation_is_an_event() -> None:
    first, *_, last = (event for event in events_of(pair("4", "5")) if isinstance(event, TakeoverStart | Takeover))
    assert first == TakeoverStart("escalation", DIFFER, "4")
    assert isinstance(last, Takeover)
    assert (last.kind, last.channel, last.text, last.draft) == ("escalation", "answer", "It is 5.", "4")
    assert not [event for event in events_of(pair("5", "5")) if isinstance(event, TakeoverStart | Takeover)]


MODELS: dict[str, Callable[[], ChatSpeculativeThinking]] = {
    "accepted": lambda: pair("5", "It is 5"),
    "escalated": lambda: pair("4", "5"),
    "continued": lambda: pair("4", "5", policy=gated(escalate_to="continue")),
    "without thoughts": lambda: pair("4", "5", thought=None),
    "stalled": lambda: pair("5", "5", thought=LOOP * 9, policy=gated(EscalateIfAny(Stall(), Agreement()))),
    "judged": lambda: pair(*ESSAYS),
    "failed": lambda: pair("4", "5", large=Failing("Hm")),
    "over budget": lambda: pair("4", "5", policy=gated(budget=Budget(target_tokens=0))),
    "with takeovers": lambda: pair("4", "5", policy=DelegationPolicy(escalation=Agreement())),
    "with the rest": lambda: pair("5", "5", thought=WITH_CUE, policy=THE_REST),
    "with the rest, and escalated": lambda: pair("4", "5", thought=WITH_CUE, policy=THE_REST),
    "continued at the limit of the thought": lambda: pair(
        "4",
        "5",
        thought=LONG,
        thinking_tokens=20,
        policy=gated(escalate_to="continue"),
        large=ScriptedBackend(long_thinker, thinks=True),
    ),
}


@pytest.mark.parametrize("name", MODELS)
async def test_all_ways_to_call_give_the_same_message(name: str) -> None:
    make = MODELS[name]
    invoked = make().invoke(QUESTION)
    streamed = merged(chunk for chunk in make().stream(QUESTION) if isinstance(chunk, AIMessageChunk))
    others = [await make().ainvoke(QUESTION), streamed]
    others.append(merged([chunk async for chunk in make().astream(QUESTION) if isinstance(chunk, AIMessageChunk)]))
    for message in others:
        assert message.content == invoked.content
        assert message.tool_calls == invoked.tool_calls
        assert report(message)["escalated"] == report(invoked)["escalated"]
        assert [without_seconds(each) for each in report(message)["segments"]] == [
            without_seconds(each) for each in report(invoked)["segments"]
        ]
    asynchronous = [event async for event in adrive(make().new_run([HumanMessage(QUESTION)]))]
    assert [type(event) for event in asynchronous] == [type(event) for event in events_of(make())]


def without_seconds(segment: dict[str, Any]) -> dict[str, Any]:
    return {**segment, "seconds": 0}


def recorded(model: ChatSpeculativeThinking, *, texts: bool = True) -> Record:
    records: list[Record] = []
    with recording(records.append, texts=texts):
        model.invoke(QUESTION)
    (record,) = records
    return record


@pytest.mark.parametrize("name", MODELS)
def test_a_replay_repeats_the_turn(name: str) -> None:
    record = recorded(MODELS[name]())
    again = type(record).from_dict(record.as_dict())
    assert again.as_dict() == record.as_dict()
    replayed = replay(again)
    assert str(replayed.difference) == "None"
    assert (replayed.turn.thinking, replayed.turn.answer) == (record.thinking, record.answer)
    segments = [without_seconds(each) for each in replayed.report.as_dict()["segments"]]
    assert segments == [without_seconds(each) for each in record.report["segments"]]
    assert replayed.report.escalated == record.report["escalated"]


OTHER_RULES = [
    ("the same verdict", Agreement(), None),
    ("more samples than there are", Agreement(samples=3), "the rule needs answers that the record does not have"),
    ("another verdict", Agreement(compare=lambda a, b: a[:2] == b[:2]), "escalated: "),
    ("a stall", Stall(repeats=None, tokens=1), "the rule of escalation stops the attempt"),
]


@pytest.mark.parametrize(("rule", "replayed"), [row[1:] for row in OTHER_RULES], ids=[row[0] for row in OTHER_RULES])
def test_a_replay_with_another_rule(rule: Any, replayed: str | None) -> None:
    record = recorded(pair("It is 5.", "5.", thought="So it goes on. " * 30 + "\n\n" + "Yes. " * 9))
    difference = replay(record, gated(rule)).difference
    assert (difference is None) if replayed is None else replayed in str(difference)


def test_a_record_without_samples_cannot_be_replayed_with_a_rule() -> None:
    record = recorded(pair("5", policy=DelegationPolicy()))
    assert replay(record).valid
    with pytest.raises(ValueError, match="the record was made without one and has no samples"):
        replay(record, gated())


def test_a_record_without_texts_holds_none() -> None:
    private = "xyzzy"
    line = recorded(pair(f"{private} 4", f"{private} 5", thought=private, large=ScriptedBackend(private)), texts=False)
    assert private not in line.to_json()


@given(st.lists(st.integers(1, 9), max_size=30), st.sampled_from(["4", "5"]), st.booleans())
def test_the_size_of_pieces_changes_nothing(sizes: list[int], sample: str, thinks: bool) -> None:
    class Chopped(Answers):
        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            text = "".join(each.text for each in super().continue_turn(turn, request) if isinstance(each, Piece))
            for size in (*sizes, len(text)):
                yield Piece(text[:size], 1)
                text = text[size:]
            yield End("stop")

    thought = f"So.\n\n{LOOP}{LOOP}" if thinks else None
    rule = EscalateIfAny(Stall(), Agreement())
    whole = pair("5", sample, thought=thought, policy=gated(rule)).invoke(QUESTION)
    chopped = pair(speculative=Chopped(["5", sample], thought), policy=gated(rule)).invoke(QUESTION)
    assert chopped.content == whole.content
    assert report(chopped)["escalated"] == report(whole)["escalated"]
