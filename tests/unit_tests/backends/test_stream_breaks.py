"""Wherever a stream breaks, the text is the same as without the break: nothing is lost, and nothing comes twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import httpx2
import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import End, Piece
from langchain_spec_thinking.backends.openai.reply_timer import AFTER_END_SECONDS, ReplyTimer
from langchain_spec_thinking.backends.replies.echo import EchoFilter
from langchain_spec_thinking.deadline import Deadline
from langchain_spec_thinking.testing import ScriptedBackend, words
from tests.unit_tests.backends import tiny
from tests.unit_tests.fake_time import FakeTime
from tests.unit_tests.providers.engines import TGI, VLLM, LlamaCpp, LMStudio, SGLang
from tests.unit_tests.providers.services import Claude, DeepSeek, Kimi, LiteLLM, Mistral, OpenAI
from tests.unit_tests.wire import Body, Server, continued, delta, event, probe, sse, streamed, text, turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit_tests.providers.fake import Provider

GONE = httpx2.ReadError("gone")
CHAT = ("chat_flag", "chat_mark", "chat_trailing", "chat_instruct")


def chat(server: Server, **settings: Any) -> ChatSpeculativeThinking:
    small = server.backend(**{"tokenizer": None, "max_retries": 0, **settings})
    return ChatSpeculativeThinking(speculative=small, target=ScriptedBackend())


class InField(Server):
    """DeepSeek. It gets a half-written thought in the field `reasoning_content`."""

    url = "https://api.deepseek.com/beta"


def thought(message: BaseMessage) -> str:
    return "".join(str(block["reasoning"]) for block in message.content_blocks if block["type"] == "reasoning")


# -- all places of a stream

PLAIN = "One.\nTwo.\n\n- 5\n- 6\n\nSo 11."
THINKING = "<think>\nOne.\nTwo.\n\nSo 3.\n</think>\n\nIt is:\n3.\n\nYes."
BLANK_LINES_ONLY = "One.\n\nTwo and three.\n\nSo 11."


def breaking(kind: type[Provider], said: str, at: int | None) -> Provider:
    """Return a provider that sends characters one by one. Its first stream breaks after some events."""

    class Breaking(kind):  # type: ignore[misc, valid-type]
        def deltas(self, shown: str, written: str) -> Iterator[dict[str, Any]]:
            for fields in super().deltas(shown, written):
                for name, value in fields.items():
                    yield from ({name: part} for part in (value if isinstance(value, str) else [value]))

        def _reply(self, body: dict[str, Any], *, chat: bool) -> httpx2.Response:
            response: httpx2.Response = super()._reply(body, chat=chat)
            if not body.get("stream") or at is None or len(self.accepted) > 1:
                return response
            return streamed(Body([*list(response.iter_raw())[:at], GONE]))

    made: Provider = Breaking(said)
    return made


def written(kind: type[Provider], said: str, at: int | None, **settings: Any) -> tuple[str, str]:
    small = breaking(kind, said, at).backend(max_retries=1, **settings)
    message = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend(), seed=1).invoke("2 + 3?")
    return thought(message), message.text


KINDS = (VLLM, SGLang, LlamaCpp, TGI, LMStudio, DeepSeek, Mistral, Kimi, Claude, LiteLLM, OpenAI)
"""They differ in how they continue a reply, cut off white space, repeat the reply, or show the thought."""


@pytest.mark.parametrize("said", [PLAIN, THINKING], ids=["an answer", "a thought and an answer"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_stream_may_break_after_any_event(kind: type[Provider], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.openai.retries._backoff", lambda _: 0)
    if kind is TGI:  # it cuts off white space, so a single line break at the end cannot be told from half a blank line
        said = BLANK_LINES_ONLY
    settings: dict[str, Any] = {"thinking": True} if said == THINKING else {}
    # If this model is instructed to continue its answer, it repeats the end of its thought too.
    places = said.index("It is") if kind is OpenAI and said == THINKING else len(said) + 3
    whole = written(kind, said, None, **settings)
    wrong = {at: found for at in range(1, places) if (found := written(kind, said, at, **settings)) != whole}
    assert wrong == {}


@pytest.mark.parametrize("said", [PLAIN, THINKING], ids=["an answer", "a thought and an answer"])
def test_a_stream_of_completions_may_break_after_any_event(said: str) -> None:
    settings: dict[str, Any] = {"tokenizer": tiny.byte_tokenizer(), "thinking": said == THINKING}
    whole = written(VLLM, said, None, **settings)
    wrong = {
        at: found for at in range(1, len(words(said)) + 3) if (found := written(VLLM, said, at, **settings)) != whole
    }
    assert wrong == {}


# -- between two line breaks


@pytest.mark.parametrize("continuation", ["chat_flag", "chat_mark"])
def test_a_break_between_two_line_breaks_keeps_both(continuation: Any) -> None:
    server = Server(sse(delta(content="One."), delta(content="\n"), GONE), sse(delta("stop", content="\nTwo.")))
    assert chat(server, continuation=continuation).invoke("x").text == "One.\n\nTwo."


@pytest.mark.parametrize(
    ("given", "sent", "said", "shown"),
    [
        pytest.param("\n", True, "\nTwo", "\nTwo", id="the second half of a blank line is kept"),
        pytest.param("\n", True, " \t\nTwo", " \t\nTwo", id="also after spaces"),
        pytest.param("\n", True, "\n \nTwo", " \nTwo", id="a template cut a line break off a blank line"),
        pytest.param("\n", True, "\n\nTwo", "\nTwo", id="and the model writes the whole blank line"),
        pytest.param("\n", True, "\n", "\n", id="a line break at the end is kept"),
        pytest.param("\n", True, "\n ", "\n ", id="with a space"),
        pytest.param("\n", True, "Two", "Two", id="text is kept"),
        pytest.param("\n", False, "\nTwo", "Two", id="a line break that was not sent is not doubled"),
        pytest.param("\n\n", True, "\n\nTwo", "Two", id="a blank line is not doubled"),
        pytest.param("\n\n", True, "\nTwo", "\nTwo", id="a third line break is kept"),
        pytest.param("\n\n", True, "\n", "\n", id="at the end, too"),
        pytest.param(" ", True, " Two", "Two", id="a space is not doubled"),
        pytest.param("\n  ", True, "  x", "  x", id="the rest of an indentation is kept"),
        pytest.param("\n", True, "\n" + " " * 300 + "x", "\n" + " " * 300 + "x", id="a long indentation is kept"),
        pytest.param("\n", True, "\n" + " " * 300 + "\n", "\n" + " " * 300 + "\n", id="a long line of spaces is kept"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_white_space_after_white_space(given: str, sent: bool, said: str, shown: str, size: int) -> None:
    echo = EchoFilter((), given, white_space_sent=sent)
    pieces = [echo.pass_on(said[start : start + size]) for start in range(0, len(said), size)]
    assert "".join(pieces) + echo.rest() == shown


def test_white_space_is_kept_if_the_template_is_known_to_keep_it() -> None:
    server = Server(sse(delta("stop", content="\n\nTwo.")))
    backend = server.backend(continuation="chat_flag")
    assert continued(backend, turn("One.\n\n"))[0] == "\n\nTwo."


@pytest.mark.parametrize(
    ("again", "shown"),
    [
        pytest.param("\n\nTwo.", "One.\n\nTwo.\n", id="the model writes again what the template cut off"),
        pytest.param("Two.", "One.\n\nTwo.\n", id="the template keeps it"),
    ],
)
def test_white_space_after_a_thought_in_its_field_is_not_doubled(again: str, shown: str) -> None:
    first = sse(delta(reasoning_content="One."), delta(reasoning_content="\n\n"), GONE)
    server = InField(first, sse(delta(reasoning_content=again), delta("stop", content="Five.")))
    message = chat(server, continuation="chat_mark", thinking=True).invoke("x")
    assert (thought(message), message.text) == (shown, "Five.")


# -- after the finish reason

AFTER_END: list[Any] = [
    pytest.param(GONE, id="the connection breaks"),
    pytest.param("{garbage", id="garbage"),
    pytest.param({"error": {"message": "engine died"}}, id="an error"),
    pytest.param(httpx2.ReadTimeout("late"), id="silence"),
]


@pytest.mark.parametrize("after", AFTER_END)
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_a_reply_with_a_finish_reason_is_complete(after: Any, reason: str) -> None:
    server = Server(sse(text("A"), text(" B", reason), after, done=False))
    said, events = continued(server.backend(max_retries=0))
    assert (said, events[-1]) == ("A B", End(reason))  # type: ignore[arg-type]
    assert len(server.requests) == 1


@pytest.mark.parametrize("after", AFTER_END)
async def test_an_asynchronous_turn_with_a_finish_reason_is_complete(after: Any) -> None:
    server = Server(sse(text("A", "stop"), after, done=False), sse(text(" again", "stop")))
    small = server.backend(max_retries=0)
    message = await ChatSpeculativeThinking(speculative=small, target=ScriptedBackend()).ainvoke("x")
    assert message.text == "A"
    assert len(server.requests) == 1


def test_a_reply_without_text_but_with_a_finish_reason_is_complete() -> None:
    server = Server(sse(text("", "stop"), GONE), sse(text("again", "stop")))
    assert continued(server.backend())[0] == ""
    assert len(server.requests) == 1


def test_a_reply_after_which_the_server_says_done_is_complete() -> None:
    server = Server(sse(text("A"), event("[DONE]"), GONE), sse(text("again", "stop")))
    assert continued(server.backend())[0] == "A"
    assert len(server.requests) == 1


def test_a_tool_call_with_a_finish_reason_is_complete() -> None:
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
    server = Server(sse(delta(tool_calls=[call]), delta("tool_calls"), GONE))
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    message = chat(server, continuation="chat_trailing").bind_tools([tool]).invoke("x")
    assert [call["name"] for call in message.tool_calls] == ["f"]
    assert message.response_metadata["speculative_thinking"]["degraded"] == []
    assert len(server.requests) == 1


def test_the_end_of_a_stream_is_awaited_for_a_short_time_only() -> None:
    time = FakeTime()
    timer = ReplyTimer(Deadline.after(1000.0, time.clock), 120.0)
    assert timer.left() == 120
    timer.text_ended()
    assert timer.left() == AFTER_END_SECONDS


class Ends(BaseChatModel):
    """A chat model whose stream breaks after its finish reason."""

    requests: ClassVar[list[int]] = []

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self.requests.append(1)
        yield ChatGenerationChunk(message=AIMessageChunk(content="A."))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", response_metadata={"finish_reason": "stop"}))
        raise ConnectionError


async def test_a_reply_of_a_chat_model_with_a_finish_reason_is_complete() -> None:
    Ends.requests.clear()
    pair = ChatSpeculativeThinking(speculative=ChatModelBackend(Ends()), target=ScriptedBackend())
    assert [pair.invoke("x").text, (await pair.ainvoke("x")).text] == ["A.", "A."]
    assert len(Ends.requests) == 2


# -- at think tags


@pytest.mark.parametrize("begun", ["<think>", "<think>\n", "<thi", "\n"])
@pytest.mark.parametrize("continuation", CHAT)
def test_a_break_before_the_first_word_of_a_thought_begins_anew(begun: str, continuation: Any) -> None:
    rest = [delta(content="<think>\nSo."), delta("stop", content="\n</think>\n\nFive.")]
    server = Server(sse(delta(content=begun), GONE), sse(*rest))
    message = chat(server, continuation=continuation, thinking=True, max_retries=1).invoke("x")
    assert (thought(message), message.text) == ("So.\n", "Five.")
    assert [len(body["messages"]) for _, body in server.requests] == [1, 1]


def test_a_prompt_never_contains_two_think_tags() -> None:
    server = Server(sse(text("<think>"), GONE), sse(text("<think>\nSo.\n</think>\n\nFive.", "stop")))
    small = server.backend(thinking=True)
    message = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend()).invoke("x")
    assert (thought(message), message.text) == ("So.\n", "Five.")
    first, second = (body["prompt"] for _, body in server.requests)
    assert first == second


@pytest.mark.parametrize("continuation", ["chat_flag", "chat_mark"])
def test_a_break_after_the_thought_does_not_close_it_twice(continuation: Any) -> None:
    """A thought in the reasoning field ends when content comes. Here only white space has come."""
    first = sse(delta(reasoning_content="So."), delta(content="\n"), GONE)
    server = Server(first, sse(delta("stop", content="Five.")))
    server = InField(*server.answers) if continuation == "chat_mark" else server
    message = chat(server, continuation=continuation, thinking=True).invoke("x")
    assert (thought(message), message.text) == ("So.\n", "Five.")


@pytest.mark.parametrize(
    ("second", "third"),
    [
        pytest.param(
            delta(reasoning_content=" it is five."), delta("stop", content="Five."), id="the rest comes in the field"
        ),
        pytest.param(
            delta(content=" it is five."), delta("stop", content="\n</think>\n\nFive."), id="the rest comes as text"
        ),
    ],
)
@pytest.mark.parametrize("continuation", ["chat_flag", "chat_trailing"])
def test_a_reply_may_begin_where_a_thought_that_was_sent_as_text_ends(
    continuation: Any, second: dict[str, Any], third: dict[str, Any]
) -> None:
    """An earlier reply of the server shows how it continues such a thought."""
    server = Server(sse(delta(reasoning_content="So"), GONE), sse(second, GONE), sse(third))
    message = chat(server, continuation=continuation, thinking=True).invoke("x")
    assert (thought(message), message.text) == ("So it is five.\n", "Five.")


class InFieldModel(BaseChatModel):
    """A chat model that continues thoughts in the reasoning field. Its second stream breaks at the end of a thought."""

    replies: list[list[AIMessageChunk]]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for message in self.replies.pop(0):
            yield ChatGenerationChunk(message=message)
        if self.replies:
            raise ConnectionError


def test_a_reply_of_a_chat_model_may_begin_where_a_thought_ends() -> None:
    parts = [
        AIMessageChunk(content="", additional_kwargs={"reasoning_content": part}) for part in ("So", " it is five.")
    ]
    model = InFieldModel(replies=[[part] for part in (*parts, AIMessageChunk(content="Five."))])
    small = ChatModelBackend(model, continuation="chat_trailing", thinking=True)
    message = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend()).invoke("x")
    assert (thought(message), message.text) == ("So it is five.\n", "Five.")


# -- repetitions

REFRAIN = "Row, row, row your boat, "


@pytest.mark.parametrize("continuation", ["raw", "chat_flag", "chat_mark", "chat_trailing"])
@pytest.mark.parametrize("in_pieces", [True, False])
def test_a_model_may_repeat_its_reply_from_the_start(continuation: Any, in_pieces: bool) -> None:
    pieces = words(REFRAIN) if in_pieces else [REFRAIN]
    raw = continuation == "raw"
    chunks = [text(piece) if raw else delta(content=piece) for piece in pieces]
    end = text("", "stop") if raw else delta("stop")
    server = Server(sse(*chunks, GONE), sse(*chunks, end))
    settings = {"tokenizer": tiny.byte_tokenizer()} if raw else {}
    message = chat(server, continuation=continuation, **settings).invoke("x")
    assert message.text == REFRAIN * 2


class Repeating(Server):
    """A server that is known to repeat the reply at the beginning of its output."""

    url = "https://api.mistral.ai/v1"


GIVEN = "I add two and three.\n\n"


@pytest.mark.parametrize(
    ("given", "said", "shown"),
    [
        pytest.param(GIVEN, [GIVEN, "So 5"], "So 5", id="in one piece"),
        pytest.param(GIVEN, ["I add ", "two and three.\n\nSo", " 5"], "So 5", id="in pieces"),
        pytest.param(GIVEN, ["I add two and three.", "So 5"], "So 5", id="without white space at the end"),
        pytest.param("One.\n", ["One.\n", "\nTwo"], "\nTwo", id="with half a blank line"),
        pytest.param("A", ["A", "B"], "B", id="however short"),
        pytest.param(GIVEN, [GIVEN, GIVEN, "So 5"], f"{GIVEN}So 5", id="only once"),
        pytest.param(GIVEN, ["I add two ", "more."], "I add two more.", id="it only looked like a repetition"),
        pytest.param(GIVEN, ["I add two "], "I add two ", id="and ended there"),
        pytest.param(GIVEN, ["I add two and three."], "", id="nothing else"),
    ],
)
def test_a_server_that_is_known_to_repeat_the_reply(given: str, said: list[str], shown: str) -> None:
    server = Repeating(sse(*[delta(content=piece) for piece in said], delta("stop")))
    assert continued(server.backend(tokenizer=None), turn(given))[0] == shown


@pytest.mark.parametrize("repeats", [True, False])
def test_a_test_request_shows_whether_a_server_repeats_the_reply(repeats: bool) -> None:
    half = "The banana is yellow. The banana is yellow. The banana is yellow. The banana is"

    class Unknown(Server):
        url = f"http://repeats-{repeats}.test/v1"

    server = Unknown(probe(f"{half * repeats} yellow."), sse(delta("stop", content=f"{GIVEN}So 5")), owner="somebody")
    assert continued(server.backend(tokenizer=None), turn(GIVEN))[0] == ("So 5" if repeats else f"{GIVEN}So 5")


@pytest.mark.parametrize("kind", [Repeating, Server])
def test_a_repetition_that_is_longer_than_the_limit_is_not_shown(kind: type[Server]) -> None:
    said = [delta(content=piece) for piece in ("I add", " two", " and")]
    server = kind(sse(*said, delta("length")))
    backend = server.backend(tokenizer=None, continuation="auto" if kind is Repeating else "chat_instruct")
    shown, events = continued(backend, turn(GIVEN), max_tokens=3)
    assert shown == ""
    assert [event for event in events if isinstance(event, Piece)] == [Piece("", 1)]
    assert events[-1] == End("length")


def test_a_takeover_shorter_than_a_repetition_brings_no_text_and_the_turn_goes_on() -> None:
    draft = "I add two and three, and that is five, I think.\n\nWait, it is six.\n\nNo, five."
    small = ScriptedBackend(lambda half: draft[len(half.body()) :])
    echo = [delta(content=piece) for piece in ("I add", " two", " and", " three,")]
    large = Repeating(lambda: sse(*echo, delta("length"))).backend(tokenizer=None)
    model = FakeTime().of(ChatSpeculativeThinking(speculative=small, target=large))  # it pauses between requests
    message = model.invoke("x")
    assert message.text == draft
    assert message.response_metadata["speculative_thinking"]["degraded"] == []


def test_an_answer_may_begin_with_the_last_sentence_of_the_thought() -> None:
    half = turn("I add them. So the answer is five.", thinks=True)
    half.closing = "\n</think>\n\n"
    server = Server(sse(delta("stop", content="So the answer is five.")))
    assert continued(server.backend(tokenizer=None, continuation="chat_instruct"), half)[0] == "So the answer is five."
