"""Large models that refuse half-written thoughts and hide their reasoning: a gated pair needs nothing else of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from langchain_openai import ChatOpenAI

from benchmarks.pays.vendor_servers import KEY, MODEL, REASONING_TOKENS, VENDORS, Vendor
from benchmarks.pays.vendors import scripted_pair, vendor_figures, vendor_questions
from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_spec_thinking import Backend
    from langchain_spec_thinking.backends.capabilities import Capabilities
    from langchain_spec_thinking.evaluation import Question

QUESTIONS = vendor_questions(5)
"""The small model is unsure of the first question and of the fourth one, and sure of a wrong answer to the second."""
REFUSED_AT_FIRST = {"OpenAI, reasoning": 2, "Claude, from 4.6": 1, "Gemini, newest": 1, "Grok, reasoning": 0}
"""How many requests a vendor refuses before the backend knows which fields it refuses. Nothing is billed for them."""
FAKES = pytest.mark.parametrize("kind", VENDORS, ids=lambda kind: kind.name)


def through_backend(vendor: Vendor) -> Backend:
    return vendor.backend()


def through_chat_model(vendor: Vendor) -> Backend:
    """Connect the class that LangChain's users have for OpenAI and for compatible servers."""
    settings: dict[str, Any] = {
        "api_key": KEY,
        "http_client": httpx2.Client(transport=httpx2.MockTransport(vendor)),
        "http_async_client": httpx2.AsyncClient(transport=httpx2.MockTransport(vendor.acall)),
    }
    return ChatModelBackend(ChatOpenAI(model=MODEL, base_url=vendor.url, stream_usage=True, **settings))


def answering(kind: type[Vendor]) -> Vendor:
    return kind({question.question: f"\\boxed{{{question.answer}}}" for question in QUESTIONS}.__getitem__)


def is_escalated(message: Any) -> bool:
    return message.response_metadata["speculative_thinking"]["escalated"] is not None


async def asked(pair: ChatSpeculativeThinking, question: Question, *, asynchronous: bool) -> Any:
    return await pair.ainvoke(question.question) if asynchronous else pair.invoke(question.question)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["invoke", "ainvoke"])
@pytest.mark.parametrize("connect", [through_backend, through_chat_model])
@FAKES
async def test_a_gated_pair_sends_one_request_for_each_escalated_question(
    kind: type[Vendor], connect: Any, asynchronous: bool
) -> None:
    vendor = answering(kind)
    pair = scripted_pair(QUESTIONS, connect(vendor))
    messages = [await asked(pair, question, asynchronous=asynchronous) for question in QUESTIONS]
    assert [is_escalated(message) for message in messages] == [True, False, False, True, False]
    right = [question.answer in message.text for question, message in zip(QUESTIONS, messages, strict=True)]
    assert right == [True, False, True, True, True]
    assert [request.characters > 0 for request in vendor.received] == [True, True]
    for message in messages:
        assert message.response_metadata["speculative_thinking"]["degraded"] == []


@FAKES
def test_hidden_tokens_are_billed(kind: type[Vendor]) -> None:
    message = scripted_pair(QUESTIONS, answering(kind).backend()).invoke(QUESTIONS[0].question)
    used = message.response_metadata["speculative_thinking"]["usage"]["target"]
    assert (used["requests"], used["completion_tokens"] > REASONING_TOKENS) == (1, True)


@FAKES
def test_settings_that_a_vendor_refuses_are_learned_in_the_first_turn(kind: type[Vendor]) -> None:
    vendor = answering(kind)
    pair = scripted_pair(QUESTIONS, vendor.backend(), temperature=0.6, top_p=0.95, seed=1)
    pair.invoke(QUESTIONS[0].question)
    assert sum(request.refused for request in vendor.received) == REFUSED_AT_FIRST[vendor.name]
    first = len(vendor.received)
    pair.invoke(QUESTIONS[3].question)
    assert [request.characters > 0 for request in vendor.received[first:]] == [True]


@FAKES
def test_takeovers_bring_nothing_from_a_model_that_hides_its_thought(kind: type[Vendor]) -> None:
    """This is why the gated policy exists: 20 tokens are not enough for a hidden thought."""
    vendor = answering(kind)
    pair = scripted_pair(QUESTIONS, vendor.backend())
    stuck = pair.model_copy(update={"policy": DelegationPolicy(opening_tokens=20)})
    stuck.invoke(QUESTIONS[2].question)
    assert vendor.received
    assert not any(request.characters for request in vendor.received)


@FAKES
def test_the_figures_count_what_requests_bring(kind: type[Vendor], tmp_path: Path) -> None:
    found = vendor_figures(kind, tmp_path, count=6)
    assert found["requests"] == {"sent": 2, "refused": 0, "without_text": 0}
    assert found["runs"]["large"]["accuracy"] == 1
    assert found["runs"]["gated"]["target_requests"] == pytest.approx(2 / 6)


class WritesOn(ScriptedBackend):
    """A service that writes on and bills if the client hangs up."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, stopped_tokens_max=4)


@pytest.mark.parametrize(
    ("policy", "limited"),
    [
        pytest.param(DelegationPolicy.gated(), False, id="a whole turn"),
        pytest.param(DelegationPolicy(opening_tokens=9), True, id="an opening, which the small model continues"),
    ],
)
def test_only_requests_that_may_be_stopped_are_short(policy: DelegationPolicy, limited: bool) -> None:
    text = "I add two and three, and I see that it is so.</think>\\boxed{5}"
    target = WritesOn(lambda turn: text.removeprefix(turn.body().removeprefix("<think>\n")), "large", thinks=True)
    small = scripted_pair(QUESTIONS, target).speculative
    message = ChatSpeculativeThinking(speculative=small, target=target, policy=policy).invoke(QUESTIONS[0].question)
    limits = [request.max_tokens for request, _ in target.requests]
    assert limits
    assert all((limit <= 4) == limited for limit in limits)
    assert message.text


def test_a_whole_turn_needs_no_strategy_until_it_is_broken_off() -> None:
    """A server that is not known is asked how it continues a turn only if there is something to continue."""
    vendor = answering(VENDORS[-1])
    backend = vendor.backend()
    scripted_pair(QUESTIONS, backend).invoke(QUESTIONS[0].question)
    assert not backend.profile.is_ready()
    assert backend.profile.is_ready(begins=True)
