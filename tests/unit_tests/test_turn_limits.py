"""No backend makes a turn exceed its seconds, tokens or requests, whatever it does."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from langchain_spec_thinking import Backend, ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.backends.base import TOKEN_CHARACTERS_MAX, Call, End, Piece, Request, Usage
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.deadline import Deadline
from langchain_spec_thinking.errors import BackendError, TurnTimeoutError
from langchain_spec_thinking.policy.budget import Budget
from langchain_spec_thinking.resumes import PROGRESS_TOKENS, RESUMES_MAX, WAIT_MAX, Resumes
from langchain_spec_thinking.running_request import RunningRequest
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import ToolCall
from tests.unit_tests.fake_time import FakeTime

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from langchain_spec_thinking.backends.base import Event
    from langchain_spec_thinking.turn import Turn

    Way = Callable[[ChatSpeculativeThinking], Any]

WAYS: dict[str, Way] = {
    "invoke": lambda model: model.invoke("x"),
    "ainvoke": lambda model: asyncio.run(model.ainvoke("x")),
}


class GoneError(BackendError):
    """Error of a server that closed the connection."""

    is_retryable = True


@dataclass(frozen=True)
class Reply:
    """What a server sends for one request.

    Attributes:
        events: The events. They are sent again and again if the end is None.
        end: The last event, or an error.
        seconds: How long each event takes.
    """

    events: tuple[Event, ...]
    end: End | BackendError | None
    seconds: float = 0.0


@dataclass
class Server(Backend):
    """Gives each request the next of its replies, and begins again after the last. It obeys no limit.

    Attributes:
        asked: The token limits of the requests.
        running: Number of streams that are open.
    """

    replies: tuple[Reply, ...]
    time: FakeTime
    name: str = "server"
    thinks: bool = True
    request_tokens_max: int | None = None
    asked: list[int] = field(default_factory=list)
    running: int = 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(request_tokens_max=self.request_tokens_max)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        reply = self.replies[len(self.asked) % len(self.replies)]
        self.asked.append(request.max_tokens)
        self.running += 1
        try:
            for event in reply.events if reply.end else itertools.cycle(reply.events):
                self.time.seconds += reply.seconds
                yield event
            self.time.seconds += reply.seconds
            if isinstance(reply.end, BackendError):
                raise reply.end
            if reply.end:
                yield reply.end
        finally:
            self.running -= 1

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        for event in self.continue_turn(turn, request):
            yield event


WORDS = ("a", " on", "Wait", "\n\n", "</think>", "<think>", ".", " 7", "\n\nWait, ", "So it is fine.", "x" * 40)
PIECES = st.builds(Piece, st.sampled_from(WORDS), st.sampled_from([1, 1, 1, 2, 7, 30]))
EVENTS = st.one_of(
    PIECES, PIECES, PIECES, st.builds(Usage, st.just(9)), st.just(Call(ToolCall("1", "f", "{}"))), st.just(Piece("", 1))
)
COUNTS = st.sampled_from([None, 0, 1, 5, 10**9])
ENDS = st.one_of(
    st.none(),
    st.builds(End, st.sampled_from(["stop", "length"]), st.none() | st.builds(Usage, st.none(), st.none(), COUNTS)),
    st.sampled_from([GoneError("gone"), BackendError("no")]),
)
SECONDS = st.sampled_from([0.0, 0.0, 0.1, 1.0, 4.0])
SCRIPTS = st.builds(lambda events, piece: (*events, piece), st.lists(EVENTS, max_size=6), PIECES)
REPLIES = st.lists(st.builds(Reply, SCRIPTS, ENDS, SECONDS), min_size=1)
POLICIES = st.builds(
    DelegationPolicy,
    takeover_tokens=st.sampled_from([1, 5, 20, None]),
    reflection_limit=st.integers(1, 3),
    opening_tokens=st.sampled_from([0, 5]),
    takeover_every_boundary=st.booleans(),
    budget=st.none() | st.builds(Budget, target_tokens=st.integers(0, 60)),
)


@dataclass
class Attack:
    """Two servers that obey no limit, and the turn that they write."""

    small: Server
    large: Server
    time: FakeTime
    model: ChatSpeculativeThinking
    report: dict[str, Any] | None = None

    @classmethod
    def of(cls, small: list[Reply], large: list[Reply], part: int | None = None, **settings: Any) -> Attack:
        time = FakeTime()
        speculative, target = (Server(tuple(replies), time, request_tokens_max=part) for replies in (small, large))
        model = time.of(ChatSpeculativeThinking(speculative=speculative, target=target, **settings))
        return cls(speculative, target, time, model)

    def run(self, way: Way) -> BackendError | None:
        try:
            self.report = way(self.model).response_metadata["speculative_thinking"]
        except BackendError as error:
            return error
        return None

    @property
    def kept(self) -> int:
        return sum(segment["tokens"] for segment in self.report["segments"]) if self.report else 0


ATTACKS = {"small": REPLIES, "large": REPLIES, "policy": POLICIES, "part": st.none() | st.integers(1, 40)}


REPORTS_TOO_FEW = Reply((Piece("a", 2), Piece("</think>", 1)), End("stop", Usage(None, None, 0)))


@settings(max_examples=300)
@example(
    small=[REPORTS_TOO_FEW],
    large=[Reply((Piece("a", 1),), None)],
    policy=DelegationPolicy(takeover_tokens=1),
    part=None,
    max_tokens=3,
    way="invoke",
)
@given(**ATTACKS, max_tokens=st.integers(1, 80), way=st.sampled_from(sorted(WAYS)))
def test_no_server_makes_a_turn_exceed_its_tokens_and_requests(
    small: list[Reply], large: list[Reply], policy: DelegationPolicy, part: int | None, max_tokens: int, way: str
) -> None:
    attack = Attack.of(small, large, part, policy=policy, max_tokens=max_tokens)
    attack.run(WAYS[way])
    servers = (attack.small, attack.large)
    assert attack.kept <= max_tokens
    assert all(asked <= max_tokens for server in servers for asked in server.asked)
    if attack.report and policy.budget and not any(isinstance(r.end, End) and r.end.usage for r in large):
        assert attack.report["usage"]["target"]["completion_tokens"] <= (policy.budget.target_tokens or 0)
    # A turn has at most one request for each token that it keeps, and one for each token that a takeover replaces.
    assert sum(len(server.asked) for server in servers) <= 2 * max_tokens + 2 * (RESUMES_MAX + 2)
    assert max(attack.time.waits, default=0) <= WAIT_MAX
    assert not any(server.running for server in servers)


@settings(max_examples=200)
@given(**ATTACKS, timeout=st.sampled_from([0.05, 1.0, 10.0]), way=st.sampled_from(sorted(WAYS)))
def test_no_server_makes_a_turn_exceed_its_seconds(
    small: list[Reply], large: list[Reply], policy: DelegationPolicy, part: int | None, timeout: float, way: str
) -> None:
    """Only the event that a blocking backend is working on can be late. Events take up to four seconds here."""
    attack = Attack.of(small, large, part, policy=policy, timeout=timeout, max_tokens=2048)
    error = attack.run(WAYS[way])
    assert attack.time.seconds <= timeout + 4.0
    assert attack.time.seconds < timeout + 0.01 or isinstance(error, TurnTimeoutError) or error is None
    assert not attack.small.running
    assert not attack.large.running


WITH_CUE = [
    Reply((Piece("One.", 1), Piece("\n\n", 1), Piece("Wait, no.", 1)), End("stop")),
    Reply((Piece(".", 1),), End("stop")),
]
"""Replies of a small model. The large model takes over in the first one."""


def test_a_takeover_is_cut_at_its_limit() -> None:
    attack = Attack.of(WITH_CUE, [Reply((Piece(" on", 1),), None)], policy=DelegationPolicy(recap_sentence=""))
    assert attack.run(WAYS["invoke"]) is None
    assert attack.report is not None
    takeover = next(segment for segment in attack.report["segments"] if segment["author"] == "target")
    assert takeover["tokens"] == 19  # the last word may be incomplete, so it is dropped
    assert attack.report["usage"]["target"]["completion_tokens"] == sum(attack.large.asked)
    ignored = "server ignored the token limit of a request, so its text was cut"
    assert attack.report["degraded"].count(ignored) == 1


def test_a_turn_is_cut_at_its_limit() -> None:
    small = ScriptedBackend("on " * 50)
    endless = Attack.of([Reply((Piece("on ", 1),), None)], [], max_tokens=10)
    message = endless.model.invoke("x")
    assert message.content_blocks[0]["reasoning"] == "on " * 7  # type: ignore[typeddict-item]
    assert message.text == "on " * 3  # a quarter of the tokens is kept for the answer
    assert message.response_metadata["finish_reason"] == "length"
    assert not endless.small.running
    honest = ChatSpeculativeThinking(speculative=small, target=small, max_tokens=10).invoke("x")
    assert honest.response_metadata["finish_reason"] == "length"
    assert honest.response_metadata["speculative_thinking"]["degraded"] == []


def test_pieces_that_cost_nothing_are_cut() -> None:
    for piece in (Piece("", 0), Piece("x", 0)):
        attack = Attack.of([Reply((piece,), None)], [], max_tokens=10)
        assert attack.run(WAYS["invoke"]) is None
        assert not attack.small.running


def letters(text: str) -> int:
    return len(text)


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("text", "tokens", "count", "limit", "kept"),
    [
        pytest.param("abcdef", 6, letters, 4, "abcd", id="one token for each letter"),
        pytest.param("one two three four", 4, words, 2, "one two ", id="one token for each word"),
        pytest.param("abcdefgh", 2, letters, 1, "abcd", id="the piece costs less than its letters"),
        pytest.param("ab\ud83d\ude00", 4, letters, 3, "ab", id="not inside a character"),
        pytest.param("ab</think>cd", 12, letters, 5, "ab", id="not inside a tag"),
        pytest.param("<think>cd", 9, letters, 3, "", id="not inside a tag at the start"),
        pytest.param("ab</think>cd", 12, letters, 10, "ab</think>", id="after a tag"),
        pytest.param("abc", 3, lambda _: 0, 2, "abc", id="a counter that counts nothing"),
    ],
)
def test_a_piece_is_cut_at_a_place_that_the_tokenizer_chooses(
    text: str, tokens: int, count: Callable[[str], int], limit: int, kept: str
) -> None:
    request = RunningRequest(max_tokens=limit)
    assert request.take(text, tokens, count) == (kept, limit)
    assert request.received == limit
    assert request.take("x", 1, count) == ("", 0)


@given(st.text(alphabet="ab <think>/\ud83d\ude00", max_size=60), st.integers(1, 60), st.integers(0, 60))
def test_a_cut_piece_is_the_beginning_of_the_piece(text: str, tokens: int, limit: int) -> None:
    kept, cost = RunningRequest(max_tokens=limit).take(text, tokens, letters)
    assert text.startswith(kept)
    assert cost <= limit
    assert len(kept) * tokens <= limit * len(text) or kept == text


@pytest.mark.parametrize(
    ("characters", "received", "reported", "counted"),
    [
        pytest.param(80, 20, None, 20, id="nothing is reported"),
        pytest.param(80, 20, 15, 15, id="a little less"),
        pytest.param(80, 20, 25, 25, id="a little more"),
        pytest.param(80, 20, 0, 80 // TOKEN_CHARACTERS_MAX, id="less than possible"),
        pytest.param(5, 20, 0, 1, id="nothing for some text"),
        pytest.param(0, 0, 0, 0, id="nothing for nothing"),
    ],
)
def test_a_server_that_reports_too_few_tokens_is_not_believed(
    characters: int, received: int, reported: int | None, counted: int
) -> None:
    request = RunningRequest(max_tokens=1000)
    request.take("x" * characters, received, letters)
    request.usage = Usage(completion_tokens=reported)
    assert request.received + request.late_tokens() == counted


TEXT = "<think>\n" + "so on " * 40


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_breaks_after_each_token_fails_in_the_end(way: str) -> None:
    attack = Attack.of([Reply((Piece("so ", 1),), GoneError("gone"))], [])
    error = attack.run(WAYS[way])
    assert isinstance(error, GoneError)
    assert error.thinking == "so " * len(attack.small.asked)
    assert len(attack.small.asked) == 1 + RESUMES_MAX
    assert len(attack.time.waits) == RESUMES_MAX - 1  # the first one follows at once


def test_if_the_large_model_breaks_after_each_token_the_small_model_continues() -> None:
    breaks = [Reply((Piece("so ", 1),), GoneError("gone"))]
    attack = Attack.of(WITH_CUE, breaks, policy=DelegationPolicy(takeover_tokens=200))
    assert attack.run(WAYS["invoke"]) is None
    assert attack.report is not None
    assert "the small model continued alone: gone" in attack.report["degraded"][0]
    assert len(attack.large.asked) == 1 + RESUMES_MAX


def test_breaks_after_much_text_are_not_counted() -> None:
    piece = Piece("so ", 1)
    attack = Attack.of([Reply((piece,) * PROGRESS_TOKENS, GoneError("gone"))], [], max_tokens=PROGRESS_TOKENS * 40)
    assert attack.run(WAYS["invoke"]) is None
    assert len(attack.small.asked) == 40
    assert attack.time.waits == []


def test_requests_that_are_short_on_purpose_are_not_counted() -> None:
    attack = Attack.of([Reply((Piece("so ", 1),) * 3, End("length"))], [], part=3, max_tokens=300)
    assert attack.run(WAYS["invoke"]) is None
    assert len(attack.small.asked) == 100
    assert attack.time.waits == []


def test_requests_that_the_server_cuts_short_are_counted() -> None:
    answer = Reply((Piece("Five.", 1),), End("stop"))
    attack = Attack.of([Reply((Piece("so ", 1),), End("length"))], [answer], part=30, max_tokens=300)
    assert attack.run(WAYS["invoke"]) is None
    assert len(attack.small.asked) <= 2 + RESUMES_MAX


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), max_size=200))
def test_few_requests_follow_requests_that_end_early(early: list[tuple[int, int]]) -> None:
    resumes = Resumes(Deadline())
    waits = [resumes.take_wait() for requests in early if resumes.allow_resume("target", *requests)]
    progress = sum(tokens >= min(PROGRESS_TOKENS, requested) for tokens, requested in early)
    assert len(waits) <= RESUMES_MAX + progress
    assert all(0 <= wait <= WAIT_MAX for wait in waits)


def test_a_wait_that_would_pass_the_deadline_is_not_begun() -> None:
    time = FakeTime()
    resumes = Resumes(Deadline.after(1.0, time.clock))
    assert resumes.allow_resume("target", 1, 9)
    assert resumes.take_wait() == 0.0
    time.seconds = 1.0
    assert not resumes.allow_resume("target", 1, 9)


@pytest.mark.parametrize("tokens", [0, 1, 7])
def test_calls_without_end_are_cut(tokens: int) -> None:
    """The tokens of a call may be counted with another call before it, so a call may have none."""
    calls = Reply((Call(ToolCall("1", "f", "{}"), tokens),), None)
    attack = Attack.of([calls], [], max_tokens=10, think_before_tools=False)
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    message = attack.model.bind_tools([tool]).invoke("x")
    assert 1 <= len(message.tool_calls) <= 10
    assert not attack.small.running


@pytest.mark.parametrize("way", WAYS)
def test_text_without_tokens_is_text(way: str) -> None:
    breaks = Reply((Piece("so ", 0),), GoneError("gone"))
    attack = Attack.of([breaks, breaks, Reply((Piece("on.\n</think>\n\nYes.", 5),), End("stop"))], [])
    message = WAYS[way](attack.model)
    assert message.content_blocks[0]["reasoning"] == "so so on.\n"
    assert message.text == "Yes."


def test_text_without_tokens_does_not_mean_that_the_context_is_full() -> None:
    replies = [Reply((Piece("on", 0),), End("length")), Reply((Piece("Yes.", 1),), End("stop"))]
    attack = Attack.of(replies, replies[1:])
    assert attack.run(WAYS["invoke"]) is None
    assert attack.report is not None
    assert not [words for words in attack.report["degraded"] if "context" in words]


def test_a_model_that_breaks_within_its_think_tag_fails_in_the_end() -> None:
    attack = Attack.of([Reply((Piece("<think>", 1),), GoneError("gone"))], [], max_tokens=8)
    assert isinstance(attack.run(WAYS["invoke"]), GoneError)
    assert len(attack.small.asked) == 1 + RESUMES_MAX


def test_a_think_tag_may_use_all_tokens_of_a_turn() -> None:
    attack = Attack.of([Reply((Piece("<think>", 1),), GoneError("gone"))], [], max_tokens=1)
    assert attack.run(WAYS["invoke"]) is None
    assert attack.kept <= 1
    assert len(attack.small.asked) <= 1 + RESUMES_MAX


@pytest.mark.parametrize(
    ("reason", "degraded"),
    [
        ("stop", "server ignored the token limit of a request"),
        ("length", "server ignored the token limit of a request, so its text was cut"),
    ],
)
def test_a_report_of_too_many_tokens_says_whether_text_is_missing(
    reason: Literal["stop", "length"], degraded: str
) -> None:
    end = End(reason, Usage(completion_tokens=500))
    attack = Attack.of([Reply((Piece("Five.", 1),), end)], [Reply((), End("stop"))], max_tokens=100)
    attack.small.thinks = attack.large.thinks = False
    assert attack.run(WAYS["invoke"]) is None
    assert attack.report is not None
    assert attack.report["degraded"] == [degraded]
