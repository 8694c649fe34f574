"""A model that hides its reasoning gets no short requests after the first one, and room if the wanted text is long."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.pays import vendor_servers
from benchmarks.pays.vendor_servers import REASONING_TOKENS, VENDORS, Vendor
from benchmarks.pays.vendors import scripted_pair, vendor_questions
from langchain_spec_thinking import Budget, ChatSpeculativeThinking, DelegationPolicy, Record, ScoreAndAccept
from langchain_spec_thinking.backends.base import End, Usage
from langchain_spec_thinking.cli.diagnosis import examine
from langchain_spec_thinking.cli.doctor import expected_behaviour, recommendations
from langchain_spec_thinking.hidden_reasoning import (
    HIDDEN_TOKENS,
    hides_reasoning,
    no_short_requests,
    no_short_takeovers,
    no_text,
    note_hidden_reasoning,
)
from langchain_spec_thinking.policy import Lexicon, TargetLeads
from langchain_spec_thinking.recording.recorder import recording
from langchain_spec_thinking.recording.replay import replay
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends import tiny
from tests.unit_tests.providers.test_hidden_reasoning import FAKES, through_backend, through_chat_model
from tests.unit_tests.wire import Server, delta, sse, text, usage

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_spec_thinking import Backend
    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn

THOUGHT = "<think>\nI add them.\n\nWait, is that right?\n\nWait, once more.\n\nWait, it is.\n</think>\n\nFive."
QUESTIONS = vendor_questions(1)  # the small model is unsure of it


def pair_with(target: Backend, policy: DelegationPolicy | None = None, **settings: Any) -> ChatSpeculativeThinking:
    small = ScriptedBackend(lambda turn: THOUGHT.removeprefix(turn.body()), "small", thinks=True)
    return ChatSpeculativeThinking(speculative=small, target=target, policy=policy or DelegationPolicy(), **settings)


def report(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = message.response_metadata["speculative_thinking"]
    return found


@pytest.mark.parametrize("asynchronous", [False, True], ids=["invoke", "ainvoke"])
@pytest.mark.parametrize("connect", [through_backend, through_chat_model])
@FAKES
async def test_one_starved_takeover_ends_all_short_ones(kind: type[Vendor], connect: Any, asynchronous: bool) -> None:
    vendor = kind(lambda _: "Six.")
    messages = []
    for _ in range(2):  # another pair has the same model
        pair = pair_with(connect(vendor), temperature=None, top_p=None)
        messages.append(await pair.ainvoke("2 + 3?") if asynchronous else pair.invoke("2 + 3?"))
    assert [request.characters for request in vendor.received if not request.refused] == [0]
    for message in messages:
        assert message.text == "Five."
        assert no_short_takeovers("large") in report(message)["degraded"]
    first, second = (report(message)["usage"]["target"] for message in messages)
    assert first["completion_tokens"] in {20, 28}  # if tokens cost money, a takeover may finish its last word
    assert second["requests"] == 0


STARVED = {"chat": [delta("length", content=""), usage(9, 20)], "raw": [text("", "length"), usage(9, 20)]}


@pytest.mark.parametrize("strategy", ["raw", "chat_flag", "chat_mark", "chat_trailing", "chat_instruct"])
def test_it_does_not_matter_how_the_turn_is_continued(strategy: Any) -> None:
    server = Server(lambda: sse(*STARVED["raw" if strategy == "raw" else "chat"]))
    tokenizer = tiny.byte_tokenizer() if strategy == "raw" else None
    target = server.backend(continuation=strategy, tokenizer=tokenizer)
    for _ in range(2):
        assert no_short_takeovers("big") in report(pair_with(target).invoke("2 + 3?"))["degraded"]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("policy", "requests"),
    [
        pytest.param(DelegationPolicy(opening_tokens=9), 1, id="an opening"),
        pytest.param(DelegationPolicy(takeover_every_boundary=True), 1, id="a takeover at every boundary"),
        pytest.param(DelegationPolicy(trigger=ScoreAndAccept()), 1, id="a score"),
        pytest.param(
            DelegationPolicy(trigger=ScoreAndAccept(), takeover_tokens="rest"), 1, id="a score, then the rest"
        ),
    ],
)
def test_every_short_request_counts(policy: DelegationPolicy, requests: int) -> None:
    vendor = VENDORS[0](lambda _: "Six.")
    for _ in range(2):
        message = pair_with(vendor.backend(), policy, temperature=None, top_p=None).invoke("2 + 3?")
        assert message.text == "Five."
    assert sum(not request.refused for request in vendor.received) == requests


def test_the_rest_of_a_thought_has_room() -> None:
    vendor = VENDORS[0](lambda _: "It is six.</think>Six.")
    policy = DelegationPolicy(takeover_tokens="rest")
    pair = pair_with(vendor.backend(), policy, max_tokens=200, answer_by="target", temperature=None, top_p=None)
    assert pair.invoke("2 + 3?").text == "Six."


@pytest.mark.parametrize("connect", [through_backend, through_chat_model])
@FAKES
def test_a_whole_question_is_asked_again_with_room_for_the_hidden_thought(kind: type[Vendor], connect: Any) -> None:
    vendor = kind(lambda _: f"\\boxed{{{QUESTIONS[0].answer}}}")
    pair = scripted_pair(QUESTIONS, connect(vendor), max_tokens=300)
    messages = [pair.invoke(QUESTIONS[0].question) for _ in range(2)]
    answered = [request.body for request in vendor.received if not request.refused]
    limits = [max(body.get(name) or 0 for name in kind.limit_fields) for body in answered]
    assert limits == [300, 300 + HIDDEN_TOKENS, 300 + HIDDEN_TOKENS]
    for message in messages:
        assert QUESTIONS[0].answer in message.text
        assert report(message)["degraded"] == []
    assert report(messages[0])["usage"]["target"]["completion_tokens"] > 300 + REASONING_TOKENS
    kept = [(message.usage_metadata or {"output_tokens": 99})["output_tokens"] for message in messages]
    assert kept[0] == kept[1] < 50


@FAKES
def test_the_answer_of_the_small_model_is_shown_if_even_that_is_too_little(
    kind: type[Vendor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vendor_servers, "REASONING_TOKENS", 100_000)
    vendor = kind(lambda _: "never")
    message = scripted_pair(QUESTIONS, vendor.backend(), max_tokens=300).invoke(QUESTIONS[0].question)
    assert "boxed" in message.text
    assert sum(not request.refused for request in vendor.received) == 2
    assert no_text("large", 300 + HIDDEN_TOKENS) in report(message)["degraded"][0]


def test_a_budget_leaves_no_room_beyond_it() -> None:
    policy = DelegationPolicy.gated(budget=Budget(target_tokens=400))
    vendor = VENDORS[0](lambda _: "never")
    pair = scripted_pair(QUESTIONS, vendor.backend(), max_tokens=300).model_copy(update={"policy": policy})
    message = pair.invoke(QUESTIONS[0].question)
    limits = [request.body["max_completion_tokens"] for request in vendor.received if not request.refused]
    assert limits == [300, 100]
    assert "boxed" in message.text


class Silent(ScriptedBackend):
    """A model whose requests end at their limit without text, as those of a model that hides its reasoning."""

    bills = Usage(completion_tokens=20)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Bill some tokens, and bring no text."""
        self.requests.append((request, turn.body()))
        assert len(self.requests) < 9
        yield End("length", self.bills)


def test_a_model_is_asked_once_with_room_even_if_the_budget_leaves_none() -> None:
    target = Silent(name="large")
    target.bills = Usage(completion_tokens=0, reasoning_tokens=64)
    policy = DelegationPolicy.gated(budget=Budget(target_tokens=400))
    pair = scripted_pair(QUESTIONS, target, max_tokens=2000).model_copy(update={"policy": policy})
    message = pair.invoke(QUESTIONS[0].question)
    assert len(target.requests) == 2
    assert "boxed" in message.text


@pytest.mark.parametrize(
    ("bills", "hides"),
    [
        pytest.param(Usage(completion_tokens=1), False, id="half a character"),
        pytest.param(Usage(completion_tokens=4), False, id="special tokens that the server removes"),
        pytest.param(Usage(completion_tokens=4, reasoning_tokens=4), True, id="a few tokens of reasoning"),
        pytest.param(Usage(completion_tokens=20), True, id="many tokens"),
    ],
)
def test_a_few_tokens_without_text_are_no_reasoning(bills: Usage, hides: bool) -> None:
    target = Silent(name="large")
    target.bills = bills
    message = pair_with(target).invoke("2 + 3?")
    assert message.text == "Five."
    assert hides_reasoning(target) is hides
    assert (no_short_takeovers("large") in report(message)["degraded"]) is hides


@pytest.mark.parametrize(
    ("billed", "hides"), [pytest.param(3, False, id="no hidden tokens"), pytest.param(300, True, id="hidden tokens")]
)
def test_a_request_that_brings_text_and_no_hidden_tokens_withdraws_the_finding(billed: int, hides: bool) -> None:
    class Bills(ScriptedBackend):
        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            """Bill hidden tokens too."""
            *events, end = super().continue_turn(turn, request)
            yield from events
            yield replace(end, usage=Usage(completion_tokens=billed)) if isinstance(end, End) else end

    small = Bills("It is five.", f"bills {billed}")
    note_hidden_reasoning(small)
    ChatSpeculativeThinking(speculative=small, target=ScriptedBackend()).invoke("2 + 3?")
    assert hides_reasoning(small) is hides


LED = "I add.\n\nSo it is five.\n\nThen it is five.\n\nI say it.\n</think>\n\nFive."
"""The thought of a target model that leads. Two of its steps begin with a cue for the small model."""


def test_a_leading_model_that_hides_its_reasoning_leaves_the_takeovers_to_the_small_model() -> None:
    large = ScriptedBackend(lambda turn: LED.removeprefix(turn.thinking), "leads and hides", thinks=True)
    small = ScriptedBackend(" it is five.\n\n", thinks=True)
    note_hidden_reasoning(large)
    pair = ChatSpeculativeThinking(
        speculative=small, target=large, policy=DelegationPolicy(trigger=TargetLeads()), answer_by="target"
    )
    found = report(pair.invoke("2 + 3?"))
    assert found["takeovers"] == 0  # of the large model
    assert len(small.requests) == 2
    assert found["degraded"] == []


def test_a_small_model_that_hides_its_reasoning_does_not_take_over() -> None:
    large = ScriptedBackend(lambda turn: LED.removeprefix(turn.thinking), "leads", thinks=True)
    small = Silent(name="hides")
    policy = DelegationPolicy(trigger=TargetLeads())
    pair = ChatSpeculativeThinking(speculative=small, target=large, policy=policy, answer_by="target")
    for _ in range(2):
        message = pair.invoke("2 + 3?")
        assert message.text == "Five."
        assert report(message)["degraded"] == [no_short_requests("hides", "speculative")]
    assert len(small.requests) == 1


class Reflects(TargetLeads):
    """A trigger that lets the target lead, and counts the small model's sentences as reflections."""

    lexicon = Lexicon(reflection=("five",))


def test_a_leading_model_that_hides_its_reasoning_writes_no_opening_and_no_recap() -> None:
    thought = "I add.\n\n" + "So it is five.\n\n" * 3 + "</think>\n\nFive."
    large = ScriptedBackend(lambda turn: thought.removeprefix(turn.thinking), "leads", thinks=True)
    small = ScriptedBackend(" it is five.\n\n", thinks=True)
    note_hidden_reasoning(large)
    policy = DelegationPolicy(Reflects(), opening_tokens=9, reflection_limit=1, recap_sentence="")
    pair = ChatSpeculativeThinking(speculative=small, target=large, policy=policy, answer_by="target")
    found = report(pair.invoke("2 + 3?"))
    assert {segment["kind"] for segment in found["segments"]} == {"lead", "relay", "answer"}
    assert found["degraded"] == [no_short_requests("leads", "target")]


@pytest.mark.parametrize("connect", [through_backend, through_chat_model])
@FAKES
def test_the_doctor_says_so(kind: type[Vendor], connect: Any) -> None:
    small = examine(ScriptedBackend("The cat ate the rat.", "small", thinks=True))
    sides = {"speculative": small, "target": examine(connect(kind(lambda _: "The cat ate the rat.")))}
    assert (small.hides_reasoning, sides["target"].hides_reasoning) == (False, True)
    assert f"target: {no_short_takeovers('large')}" in list(recommendations(sides))
    assert "small writes alone" in next(expected_behaviour(sides))


def test_a_starved_turn_can_be_replayed() -> None:
    records: list[Record] = []
    with recording(records.append):
        for _ in range(2):
            pair_with(VENDORS[0](lambda _: "Six.").backend(), temperature=None, top_p=None).invoke("2 + 3?")
    assert [replay(record).valid for record in records] == [True, True]


@pytest.mark.parametrize(
    ("reported", "total", "trusted", "billed", "reasoning"),
    [
        pytest.param(Usage(12, None, 1, reasoning_tokens=386), 399, False, 387, 386, id="xAI adds it to the total"),
        pytest.param(Usage(20, None, 424), 1016, True, 996, 572, id="Gemini does not report it otherwise"),
        pytest.param(Usage(21, None, 0, reasoning_tokens=60), 81, False, 60, 60, id="there is no text"),
        pytest.param(Usage(9, None, 20, reasoning_tokens=20), 29, False, 20, 20, id="OpenAI counts it"),
        pytest.param(Usage(9, 500, 20), 529, False, 20, None, id="a total that counts something else"),
        pytest.param(Usage(9, None, 20), None, True, 20, None, id="no total"),
    ],
)
def test_reasoning_is_billed_however_it_is_reported(
    reported: Usage, total: int | None, trusted: bool, billed: int, reasoning: int | None
) -> None:
    usage = reported.with_total(total, trusted=trusted)
    assert (usage.completion_tokens, usage.reasoning_tokens) == (billed, reasoning)
