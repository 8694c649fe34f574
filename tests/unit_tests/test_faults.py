"""No fault loses or repeats text. The faults are broken streams and models that cannot be reached."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_spec_thinking import Backend, ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.errors import BackendError, TurnTimeoutError
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.fake_time import FakeTime

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_core.messages import AIMessage

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn

THOUGHT = "I add them.\n\nWait, let me check that.\n\nTwo and three, that is five.\n\nYes, it is five, and so on."
TEXT = f"<think>\n{THOUGHT}\n</think>\n\nThe answer is five.\n\nIt is odd."
ANSWER = "The answer is five.\n\nIt is odd."


class GoneError(BackendError):
    """Error of a server that closed the connection."""

    is_retryable = True


class RefusedError(BackendError):
    """Error of a server that always refuses the request."""


@dataclass
class Flaky(Backend):
    """A backend that continues its text from the end of the turn, and whose first requests can break.

    Attributes:
        breaks: For each request, the number of pieces before it breaks, or None if it does not break. Requests after
            the end of this list do not break.
    """

    breaks: list[int | None] = field(default_factory=list)
    text: str = TEXT
    error: type[BackendError] = GoneError
    name: str = "flaky"
    thinks: bool = True
    bodies: list[str] = field(default_factory=list)
    closed: list[bool] = field(default_factory=list)
    request_tokens_max: int | None = None

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(request_tokens_max=self.request_tokens_max)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        body = turn.body()
        assert self.text.startswith(body), f"{body!r} is not how the text begins"
        assert request.max_tokens <= (self.request_tokens_max or request.max_tokens)
        self.bodies.append(body)
        self.closed.append(False)
        number = len(self.closed) - 1
        after = self.breaks.pop(0) if self.breaks else None
        try:
            for count, event in enumerate(ScriptedBackend(self.text[len(body) :]).continue_turn(turn, request)):
                if after is not None and count > after:  # the first event is the usage
                    msg = "hung up"
                    raise self.error(msg)
                yield event
        finally:
            self.closed[number] = True


@dataclass
class Slow(Flaky):
    """A backend that takes 0.03 seconds of its clock for each piece."""

    time: FakeTime = field(default_factory=FakeTime)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        for event in super().continue_turn(turn, request):
            self.time.seconds += 0.03
            yield event


@dataclass
class Watched(Flaky):
    """A backend that notifies the event loop when a request is closed."""

    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    closings: asyncio.Queue[None] = field(default_factory=asyncio.Queue)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        try:
            yield from super().continue_turn(turn, request)
        finally:
            self.loop.call_soon_threadsafe(self.closings.put_nowait, None)


def pair(small: Backend, large: Backend, **settings: Any) -> ChatSpeculativeThinking:
    policy = settings.pop("policy", DelegationPolicy(recap_sentence=""))
    return FakeTime().of(ChatSpeculativeThinking(speculative=small, target=large, policy=policy, **settings))


def thought(message: Any) -> str:
    return "".join(block["reasoning"] for block in message.content_blocks if block["type"] == "reasoning")


def report(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = message.response_metadata["speculative_thinking"]
    return found


BREAKS = st.lists(st.one_of(st.none(), st.integers(1, 12)), max_size=12)
POLICIES = st.builds(
    DelegationPolicy,
    takeover_tokens=st.sampled_from([3, 20, None]),
    recap_sentence=st.just(""),
    reflection_limit=st.integers(1, 3),
    opening_tokens=st.sampled_from([0, 5]),
    takeover_every_boundary=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(small=BREAKS, large=BREAKS, policy=POLICIES, answer_by=st.sampled_from(["speculative", "target"]))
def test_broken_streams_do_not_change_the_text(
    small: list[int | None], large: list[int | None], policy: DelegationPolicy, answer_by: str
) -> None:
    """Each request continues at the end of the received text. The whole text is that of a turn without faults."""
    message = pair(Flaky(small), Flaky(large), policy=policy, answer_by=answer_by).invoke("2 + 3?")
    assert (thought(message).rstrip(), message.text) == (THOUGHT, ANSWER)
    assert report(message)["degraded"] == []


@given(parts=st.tuples(st.integers(1, 9), st.none() | st.integers(1, 9)), breaks=BREAKS, policy=POLICIES)
def test_text_requested_in_small_parts_is_the_same(
    parts: tuple[int, int | None], breaks: list[int | None], policy: DelegationPolicy
) -> None:
    """Some services bill tokens that they write after the client has closed the connection."""

    def written(small: Flaky, large: Flaky) -> AIMessage:
        return pair(small, large, policy=policy).invoke("2 + 3?")

    expected = written(Flaky(), Flaky())
    message = written(Flaky(list(breaks), request_tokens_max=parts[0]), Flaky(request_tokens_max=parts[1]))
    assert (thought(message), message.text) == (thought(expected), expected.text)
    kept = [
        [(s["author"], s["kind"], s["start"], s["end"]) for s in report(m)["segments"]] for m in (message, expected)
    ]
    assert kept[0] == kept[1]
    assert report(message)["takeovers"] == report(expected)["takeovers"]


async def test_broken_streams_are_resumed_asynchronously_too() -> None:
    message = await pair(Flaky([3, 1, None, 2]), Flaky([2, 4])).ainvoke("2 + 3?")
    assert (thought(message).rstrip(), message.text) == (THOUGHT, ANSWER)


def test_a_stream_resumes_after_the_text_received() -> None:
    """No received text is requested again. This includes drafts."""
    text = "<think>\nOne.\n\nTwo is fine and so is three.\n</think>\n\nFour."
    small = Flaky([4], text=text)
    message = pair(small, Flaky(text=text)).invoke("2 + 3?")
    assert small.bodies == ["<think>\n", "<think>\nOne.\n\nTwo is"]
    assert message.text == "Four."
    assert report(message)["usage"]["speculative"]["discarded_tokens"] == 0


def test_a_resumed_takeover_is_one_takeover() -> None:
    none: list[int | None] = []
    twice: list[int | None] = [2, 2]
    whole, broken = (report(pair(Flaky(), Flaky(breaks)).invoke("2 + 3?")) for breaks in (none, twice))
    assert broken["takeovers"] == whole["takeovers"]
    assert broken["usage"]["target"]["requests"] == whole["usage"]["target"]["requests"] + 2
    assert broken["usage"]["target"]["completion_tokens"] == whole["usage"]["target"]["completion_tokens"]
    texts = [[(s["author"], s["kind"], s["start"], s["end"]) for s in found["segments"]] for found in (whole, broken)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("breaks", [[0], [3], [3, 2]])
@pytest.mark.parametrize("error", [GoneError, RefusedError])
@pytest.mark.parametrize("answer_by", ["speculative", "target"])
def test_without_the_target_the_small_model_goes_on_alone(
    breaks: list[int | None], error: type[BackendError], answer_by: str
) -> None:
    large = Flaky([*breaks, *[0] * 50], error=error)
    message = pair(Flaky(), large, answer_by=answer_by).invoke("2 + 3?")
    assert (thought(message).rstrip(), message.text) == (THOUGHT, ANSWER)
    assert "the large model failed, so the small model continued alone: hung up" in report(message)["degraded"][0]
    assert len(large.bodies) <= len(breaks) + 1
    requests = len(large.bodies)
    assert report(message)["usage"]["target"]["requests"] == requests


def test_a_failed_target_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    model = pair(Flaky(), Flaky([0] * 50, name="gone for good"))
    for _ in range(3):
        assert report(model.invoke("2 + 3?"))["degraded"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "gone for good" in caplog.text


def test_a_target_that_must_not_fail_raises_with_the_text_so_far() -> None:
    with pytest.raises(GoneError) as caught:
        pair(Flaky(), Flaky([0]), on_target_failure="raise").invoke("2 + 3?")
    assert caught.value.thinking == "I add them.\n\n"


@pytest.mark.parametrize(
    ("breaks", "least"), [([0], ""), ([3, 0], "I add them."), ([None, 2, 0], "I add them.\n\nWait")]
)
def test_without_the_small_model_the_error_carries_the_text(breaks: list[int | None], least: str) -> None:
    small = Flaky([*breaks, *[0] * 50])
    with pytest.raises(GoneError) as caught:
        pair(small, Flaky()).invoke("2 + 3?")
    assert caught.value.thinking.startswith(least)
    assert f"{THOUGHT}\n".startswith(caught.value.thinking)
    assert small.bodies[-1].startswith(f"<think>\n{caught.value.thinking}")


def test_errors_that_are_not_retryable_are_not_resumed() -> None:
    small = Flaky([4], error=RefusedError)
    with pytest.raises(RefusedError) as caught:
        pair(small, Flaky()).invoke("2 + 3?")
    assert len(small.bodies) == 1
    assert caught.value.thinking.startswith("I add")


async def test_cancelling_during_a_resumed_stream_closes_it() -> None:
    small = Watched([2], text=f"<think>\n{'on ' * 1000}")  # long enough not to end during the test
    stream = pair(small, Flaky()).astream("2 + 3?")
    async for chunk in stream:
        if len(small.bodies) == 2 and chunk.content:
            break
    assert small.closed == [True, False]
    await stream.aclose()  # type: ignore[attr-defined]
    for _ in small.closed:
        await small.closings.get()  # LangChain lets the event loop close its inner generator
    assert small.closed == [True, True]


def test_a_stream_that_breaks_after_its_last_token_has_ended() -> None:
    large = Flaky([3, None])
    message = pair(Flaky(), large, policy=DelegationPolicy(takeover_tokens=3, recap_sentence="")).invoke("2 + 3?")
    assert (thought(message).rstrip(), message.text) == (THOUGHT, ANSWER)


@pytest.mark.parametrize("breaks", [[], [3]])
async def test_a_turn_that_takes_too_long_is_an_error_with_the_text(breaks: list[int | None]) -> None:
    small = Slow(list(breaks))
    model = small.time.of(pair(small, Flaky(), timeout=0.3))
    with pytest.raises(TurnTimeoutError, match=r"not finished after 0\.3 s") as caught:
        await model.ainvoke("2 + 3?")
    assert caught.value.thinking.startswith("I add")
    assert caught.value.is_retryable
    with pytest.raises(TurnTimeoutError):
        model.invoke("2 + 3?")


def test_a_turn_in_time_is_not_disturbed() -> None:
    assert pair(Flaky(), Flaky(), timeout=1e9).invoke("2 + 3?").text == ANSWER
