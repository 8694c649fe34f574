"""The backend for LangChain chat models, tested with scripted models."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.exceptions import ModelRateLimitError
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.tracers.context import collect_runs
from pydantic import Field

from langchain_spec_thinking import Backend, ChatModelBackend, ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.backends.base import End, Limitation, Piece, Request, Usage
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.price import FREE, Price
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator


class Counted(BaseRateLimiter):
    """A rate limiter that counts calls and lets all of them pass."""

    count = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.count += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire()


class Plain(BaseChatModel):
    """A chat model that returns a given message as a whole."""

    says: Any = "One two three."
    max_tokens: int = 1000
    temperature: float = 1.0
    asked: list[tuple[list[BaseMessage], dict[str, Any]]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"says": self.says, "client": object()}

    def _ask(self, messages: list[BaseMessage]) -> AIMessageChunk:
        self.asked.append((messages, {"max_tokens": self.max_tokens, "temperature": self.temperature}))
        if isinstance(self.says, Exception):
            raise self.says
        fields = self.says if isinstance(self.says, dict) else {"content": self.says}
        return AIMessageChunk(**fields)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        message = AIMessage(**self._ask(messages).model_dump(exclude={"type"}))
        return ChatResult(generations=[ChatGeneration(message=message)])


class Streaming(Plain):
    """A chat model that streams the message word by word."""

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for word in str(self._ask(messages).content).split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))


@pytest.mark.parametrize("kind", [Plain, Streaming], ids=["whole", "streamed"])
async def test_a_chat_model_without_asynchronous_methods_takes_no_thread_of_the_application(kind: type[Plain]) -> None:
    free, asking, users = threading.Event(), asyncio.Event(), ContextVar("users", default="nobody")
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))

    class Slow(kind):  # type: ignore[misc, valid-type]
        def _ask(self, messages: list[BaseMessage]) -> AIMessageChunk:
            loop.call_soon_threadsafe(asking.set)
            free.wait()
            return AIMessageChunk(content=users.get())

    users.set("somebody")
    pair = ChatSpeculativeThinking(speculative=Slow(), target=ScriptedBackend())
    turn = asyncio.create_task(pair.ainvoke("x"))
    await asking.wait()
    assert await asyncio.to_thread(lambda: "the application's own work") == "the application's own work"
    free.set()
    assert (await turn).text.strip() == "somebody"


def events(model: BaseChatModel, half: Turn | None = None, **settings: Any) -> list[Any]:
    half = half or Turn((Message("system", "Be brief."), Message("user", "hi")))
    request = Request(**{"max_tokens": 100, **settings.pop("request", {})})
    return list(ChatModelBackend(model, **settings).continue_turn(half, request))


@pytest.mark.parametrize(("own", "asked"), [(1000, 8192), (20_000, 20_000), (64_000, 32_768)])
def test_a_large_limit_is_lowered_unless_the_chat_model_has_a_larger_one(own: int, asked: int) -> None:
    model = Plain(says="word", max_tokens=own)
    assert events(model, request={"max_tokens": 32_768})
    assert model.asked[0][1]["max_tokens"] == asked


class Long(Plain):
    """A chat model that always writes as many tokens as it may."""

    def _ask(self, messages: list[BaseMessage]) -> AIMessageChunk:
        super()._ask(messages)
        written = self.max_tokens
        return AIMessageChunk(
            content=f"Part {len(self.asked)}. ",
            response_metadata={"finish_reason": "length"},
            usage_metadata={"input_tokens": 5, "output_tokens": written, "total_tokens": 5 + written},
        )


def test_a_turn_that_is_longer_than_one_request_takes_more_requests() -> None:
    model = Long()
    message = ChatSpeculativeThinking(speculative=model, target=ScriptedBackend(), max_tokens=20_000).invoke("x")
    assert [settings["max_tokens"] for _, settings in model.asked] == [8192, 8192, 20_000 - 2 * 8192]
    assert message.text.split() == ["Part", "1.", "Part", "2.", "Part", "3."]


def text(received: list[Any]) -> str:
    return "".join(event.text for event in received if isinstance(event, Piece))


@pytest.mark.parametrize("kind", [Plain, Streaming])
async def test_the_text_arrives_in_pieces(kind: type[Plain]) -> None:
    model = kind()
    received = events(model, request={"max_tokens": 50, "temperature": 0.0})
    assert text(received).strip() == "One two three."
    assert received[-1].reason == "stop"
    messages, settings = model.asked[0]
    assert [message.type for message in messages] == ["system", "human"]
    assert settings == {"max_tokens": 50, "temperature": 0}
    half = Turn((Message("user", "hi"),))
    again = [event async for event in ChatModelBackend(model).acontinue_turn(half, Request(50))]
    assert text(again) == text(received)


@pytest.mark.parametrize("kind", [Plain, Streaming])
def test_output_is_limited_if_the_class_has_no_token_limit(kind: type[Plain], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_spec_thinking.backends.chat_request.LIMITS", ())
    received = events(kind(says="word " * 100), request={"max_tokens": 5})
    assert 15 <= len(text(received)) <= 20
    assert received[-1] == End("length")


@pytest.mark.parametrize(
    "says",
    [
        {"content": [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Five."}]},
        {"content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Five."}]},
        {"content": "Five.", "additional_kwargs": {"reasoning_content": "Hm."}},
    ],
)
def test_reasoning_is_put_between_think_tags(says: dict[str, Any]) -> None:
    assert text(events(Plain(says=says), thinking=True)) == "<think>Hm.\n</think>\n\nFive."


def test_usage_and_finish_reason_are_reported() -> None:
    usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10, "input_token_details": {"cache_read": 2}}
    says = {"content": "Five.", "usage_metadata": usage, "response_metadata": {"finish_reason": "length"}}
    assert events(Plain(says=says))[-1] == End("length", Usage(7, 2, 3))


def test_a_half_written_turn_is_continued_by_instruction() -> None:
    half = Turn((Message("user", "hi"),))
    half.append("speculative", "I add two and three, and ")
    model = Streaming(says="two and three, and get five.")
    assert text(events(model, half)).strip() == "get five."
    assert model.asked[0][0][-2] == AIMessage("I add two and three, and")
    assert model.asked[0][0][-1].type == "human"


def test_a_half_written_turn_may_be_a_trailing_message() -> None:
    half = Turn((Message("user", "hi"),))
    half.append("speculative", "I add ")
    model = Streaming(says="two.")
    assert text(events(model, half, continuation="chat_trailing")).strip() == "two."
    assert model.asked[0][0][-1] == AIMessage("I add")


def test_a_chat_model_can_be_the_target_of_a_pair() -> None:
    small = ScriptedBackend("One.\n\nWait, no.\n\nTwo.", name="small")
    pair = ChatSpeculativeThinking(
        speculative=small,
        target=Streaming(says="Three it is. "),
        policy=DelegationPolicy(takeover_tokens=3),
    )
    with collect_runs() as runs:
        message = pair.invoke([HumanMessage("hi")])
    report = message.response_metadata["speculative_thinking"]
    assert "Three it" in message.text
    assert report["takeovers"] >= 1
    assert "can only be instructed to continue its interrupted reply" in report["degraded"][0]
    assert len(runs.traced_runs) == 1
    assert {(run.name, run.run_type) for run in runs.traced_runs[0].child_runs} == {("speculative_takeover", "chain")}


@pytest.mark.parametrize(
    ("price", "reports", "says"), [(Price(1, 4), False, True), (Price(1, 4), True, False), (FREE, False, False)]
)
def test_a_cost_is_called_an_estimate_if_the_model_reports_no_usage(price: Price, reports: bool, says: bool) -> None:
    usage = UsageMetadata(input_tokens=11, output_tokens=74, total_tokens=85) if reports else None
    model = ChatModelBackend(Plain(says={"content": "It is 391.", "usage_metadata": usage}), price=price)
    events = list(model.continue_turn(Turn((Message("user", "What is 17 * 23?"),)), Request(100)))
    notes = [event.words for event in events if isinstance(event, Limitation)]
    assert [note for note in notes if "are estimates" in note] == notes[: int(says)]


def test_a_stream_that_is_not_read_to_its_end_is_not_blamed_for_its_usage() -> None:
    model = ChatModelBackend(Streaming(says="One two three four five six seven."), price=Price(1, 4))
    events = list(model.continue_turn(Turn((Message("user", "Count."),)), Request(1)))
    assert [event for event in events if isinstance(event, Limitation) and "are estimates" in event.words] == []
    assert isinstance(events[-1], End)
    assert events[-1].reason == "length"


def test_errors_of_the_chat_model_become_backend_errors() -> None:
    failing = Plain(says=ModelRateLimitError("slow down"))
    with pytest.raises(BackendError, match="Plain: slow down") as caught:
        events(failing)
    assert caught.value.is_retryable
    with pytest.raises(BackendError, match="Plain: 'x'") as caught:
        events(Plain(says=KeyError("x")))
    assert not caught.value.is_retryable


def test_usage_in_several_chunks_is_added_up() -> None:
    class Parts(Streaming):
        def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            for prompt, completion in ((100, 0), (0, 3), (0, 4)):
                usage = UsageMetadata(input_tokens=prompt, output_tokens=completion, total_tokens=prompt + completion)
                yield ChatGenerationChunk(message=AIMessageChunk(content="word ", usage_metadata=usage))

    assert events(Parts())[-1] == End("stop", Usage(100, None, 7))


@pytest.mark.parametrize("kind", [Plain, Streaming])
def test_output_of_a_class_with_a_token_limit_may_be_longer_than_estimated(kind: type[Plain]) -> None:
    received = events(kind(says="word " * 7), request={"max_tokens": 5})
    assert text(received).rstrip() == ("word " * 7).rstrip()
    assert sum(event.tokens or 0 for event in received if isinstance(event, Piece)) == 5


@pytest.mark.parametrize("kind", [Plain, Streaming])
def test_output_of_a_class_that_ignores_its_token_limit_is_cut(kind: type[Plain]) -> None:
    received = events(kind(says="word " * 100), request={"max_tokens": 5})
    assert len(text(received)) == 2 * 5 * 4
    assert received[-1] == End("length", Usage(completion_tokens=10))


def test_disabled_streaming_stays_disabled() -> None:
    model = Streaming(says="One two.", disable_streaming=True, rate_limiter=Counted())
    assert [event.text for event in events(model) if isinstance(event, Piece)] == ["One two."]
    assert model.rate_limiter.count == 1  # type: ignore[union-attr]


def test_a_mistral_message_has_the_prefix_mark() -> None:
    half = Turn((Message("user", "hi"),))
    half.append("speculative", "I add ")
    model = type("ChatMistralAI", (Streaming,), {})(says="two.")
    events(model, half)
    assert model.asked[0][0][-1].additional_kwargs == {"prefix": True}


def test_reasoning_about_the_instruction_is_dropped() -> None:
    half = Turn((Message("user", "hi"),), thinks=True)
    half.append("speculative", "I add two")
    says = {"content": " and three.", "additional_kwargs": {"reasoning_content": "I am to go on."}}
    assert text(events(Plain(says=says), half, thinking=True)) == " and three."


def test_the_description_contains_settings_but_no_clients() -> None:
    described = ChatModelBackend(Plain(says="A")).describe()
    assert described["settings"] == {"says": "A", "client": None}
    assert ChatModelBackend(Plain(says={"a": 1})).describe() != ChatModelBackend(Plain(says={"a": 2})).describe()


def test_a_wrong_model_or_continuation_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a LangChain chat model, got str"):
        ChatModelBackend("gpt")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="continuation: expected auto"):
        ChatModelBackend(Plain(), continuation="raw")  # type: ignore[arg-type]
    assert isinstance(ChatModelBackend(Plain()), Backend)


def test_the_arguments_of_a_call_that_is_too_long_are_counted() -> None:
    call = {"name": "f", "args": {"a": "x" * 200}, "id": "1"}
    received = events(Plain(says={"content": "", "tool_calls": [call]}), request={"max_tokens": 10})
    assert received[-1] == End("length", Usage(completion_tokens=len('{"a": ""}' + "x" * 200) // 4))
