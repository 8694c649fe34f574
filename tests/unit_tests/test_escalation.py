"""What a turn with a rule of escalation shows: thoughts, answers, tool calls, structured answers."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_spec_thinking import (
    ChatModelBackend,
    Confidence,
    Stall,
    Trace,
)
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.gated_pairs import (
    DIFFER,
    LOOP,
    QUESTION,
    SMALL_BLOCK,
    THOUGHT,
    Answers,
    blocks,
    gated,
    merged,
    pair,
    report,
    scripted,
)
from tests.unit_tests.tool_task import RECEIPT, TOOLS, Receipt, call


def test_answers_that_agree_are_shown() -> None:
    message = pair("It is 5.", "5").invoke(QUESTION)
    assert blocks(message) == [SMALL_BLOCK, ("answer", "It is 5.")]
    assert report(message)["escalated"] is None
    assert report(message)["usage"]["target"]["requests"] == 0
    assert report(message)["degraded"] == []


def test_answers_that_differ_send_the_question_to_the_large_model() -> None:
    message = pair("It is 5.", "It is 6.").invoke(QUESTION)
    assert blocks(message) == [
        SMALL_BLOCK,
        ("inserted", "\n\n"),
        ("target", "Hm, two and three."),
        ("answer", "It is 5."),
    ]
    assert report(message)["escalated"] == DIFFER
    assert report(message)["takeovers"] == 0


def test_the_large_model_gets_the_bare_conversation() -> None:
    model = pair("4", "5")
    model.invoke(QUESTION)
    [(request, body)] = model.target.requests  # type: ignore[attr-defined]
    assert body == "<think>\n"
    assert request.temperature == model.temperature


def test_the_large_model_continues_the_thought_if_asked_to() -> None:
    model = pair("4", "5", policy=gated(escalate_to="continue"))
    message = model.invoke(QUESTION)
    [(_, body)] = model.target.requests  # type: ignore[attr-defined]
    assert body == f"<think>\n{THOUGHT}"
    assert blocks(message) == [SMALL_BLOCK, ("target", "Hm, two and three."), ("answer", "It is 5.")]


@pytest.mark.parametrize("escalate_to", ["restart", "continue"])
def test_a_small_model_without_thoughts_is_held_until_the_verdict(escalate_to: Any) -> None:
    accepted = pair("It is 5.", "5", thought=None).invoke(QUESTION)
    assert accepted.content == "It is 5."
    refused = pair("It is 5.", "4", thought=None, policy=gated(escalate_to=escalate_to)).invoke(QUESTION)
    assert blocks(refused) == [("target", "Hm, two and three."), ("answer", "It is 5.")]


def test_a_large_model_that_hides_its_reasoning_shows_its_answer() -> None:
    message = pair("4", "5", large=ScriptedBackend("It is 5.", name="large")).invoke(QUESTION)
    assert blocks(message) == [SMALL_BLOCK, ("answer", "It is 5.")]
    plain = pair("4", "5", thought=None, large=ScriptedBackend("It is 5.", name="large")).invoke(QUESTION)
    assert plain.content == "It is 5."


def test_a_stall_ends_the_thought_where_it_is_found() -> None:
    model = pair("5", thought=f"So.\n\n{LOOP}{LOOP * 20}", policy=gated(Stall()))
    message = model.invoke(QUESTION)
    assert blocks(message)[0] == ("speculative", f"So.\n\n{LOOP}")
    assert report(message)["escalated"] == "the small model repeats itself"
    usage = report(message)["usage"]["speculative"]
    assert usage["requests"] == 1
    assert usage["completion_tokens"] < len(LOOP)  # the rest of the loop was not written


def test_confidence_asks_for_log_probabilities() -> None:
    sure, unsure = (Answers(["5"], logprobs=(value, -9.0)) for value in (-0.01, -0.9))
    for small, escalated in ((sure, None), (unsure, "the small model is not sure of its answer")):
        model = pair(speculative=small, policy=gated(Confidence()))
        assert report(model.invoke(QUESTION))["escalated"] == escalated


def test_segments_give_the_text_that_is_shown() -> None:
    for model in (pair("5", "5"), pair("4", "5"), pair("4", "5", policy=gated(escalate_to="continue"))):
        trace = Trace.of(model.invoke(QUESTION))
        for channel, text in (("thinking", trace.thinking), ("answer", trace.answer)):
            parts = [part for piece, part in trace.pieces(channel) if not hasattr(piece, "at")]  # type: ignore[arg-type]
            assert "".join(parts) == text
        assert trace.html()


def test_answers_that_are_not_shown_are_in_the_report() -> None:
    dropped = [(one["author"], one["text"]) for one in report(pair("4", "5").invoke(QUESTION))["dropped"]]
    assert dropped == [("speculative", "5"), ("speculative", "4")]
    dropped = [(one["author"], one["text"]) for one in report(pair("5", "It is 5").invoke(QUESTION))["dropped"]]
    assert dropped == [("speculative", "It is 5")]


TOOL_TURNS = [
    ("the same calls are made", [call("price", item="tea"), call("price", item="tea")], "tea"),
    ("other calls are made by the large model", [call("price", item="tea"), call("exchange", dollars=1.0)], "coffee"),
    ("a call and a text differ", [call("price", item="tea"), "It costs 3."], "coffee"),
]


@pytest.mark.parametrize(("answers", "item"), [row[1:] for row in TOOL_TURNS], ids=[row[0] for row in TOOL_TURNS])
async def test_calls_that_agree_are_made(answers: list[str], item: str) -> None:
    large = ScriptedBackend(call("price", item="coffee"), name="large")
    for thought in (THOUGHT, None):
        model = pair(speculative=scripted(answers, thought), large=large).bind_tools(TOOLS)
        for message in (
            model.invoke(QUESTION),
            await model.ainvoke(QUESTION),
            merged(chunk for chunk in model.stream(QUESTION) if isinstance(chunk, AIMessageChunk)),
        ):
            assert [(one["name"], one["args"]) for one in message.tool_calls] == [("price", {"item": item})]
            assert message.response_metadata["finish_reason"] == "tool_calls"


def test_a_structured_answer_is_compared_as_json() -> None:
    spaced = '{ "item": "tea", "euros": 7.0 }'
    model = pair(speculative=scripted([RECEIPT.model_dump_json(), spaced], THOUGHT), large=ScriptedBackend("{}"))
    assert model.with_structured_output(Receipt).invoke(QUESTION) == RECEIPT


def test_any_chat_model_can_be_the_large_model() -> None:
    large = ChatModelBackend(GenericFakeChatModel(messages=iter([AIMessage("It is 5.")])))
    message = pair("4", "5", large=large).invoke(QUESTION)
    assert blocks(message) == [SMALL_BLOCK, ("answer", "It is 5.")]
    assert report(message)["degraded"] == []  # nothing had to be continued
