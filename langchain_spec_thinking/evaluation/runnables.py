"""Variants that are no pair: a chat model, a router, an agent or any other runnable that answers questions."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.utils import count_tokens_approximately

from langchain_spec_thinking.backends.redaction import without_credentials
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.policy import DelegationPolicy, NoTakeovers
from langchain_spec_thinking.policy.data import as_data
from langchain_spec_thinking.recording.record import Input, Record
from langchain_spec_thinking.report import AuthorUsage, Report, Segment
from langchain_spec_thinking.turn import Message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from threading import Event
    from uuid import UUID

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult
    from langchain_core.runnables import Runnable

    from langchain_spec_thinking.evaluation.questions import Question
    from langchain_spec_thinking.policy.commands import Kind
    from langchain_spec_thinking.turn import Author

_POLICY = cast("dict[str, Any]", as_data(DelegationPolicy(trigger=NoTakeovers())))
"""Records name a policy. A runnable has none."""
_BOTH = " + "
"""Joins the names of both models in the name of a pair."""


@dataclass(frozen=True)
class RunnableVariant:
    """A chat model, a router, an agent or any other runnable that answers questions, to be compared with a pair.

    ```python
    router = RunnableVariant("router", create_agent(large, middleware=[ModelRouterMiddleware(...)]), small="gpt-5-mini")
    evaluate(questions, [alone(pair, "speculative", "small"), alone(pair, "target", "target"), router], "evaluation")
    ```

    Tokens are those that the chat models inside the runnable report to LangChain's callbacks. If a chat model reports
    none, they are estimated from the lengths of the texts. What other parts cost is not counted.

    Attributes:
        name: Name in the tables.
        runnable: Gets a list with one human message. A graph whose state has `messages`, such as an agent, gets this
            state. It returns a message of a model, or a state whose last message is one.
        small: Names of the small model, as its messages or its tracing parameters give them. With a name, the variant
            counts as a pair: the tokens of the small model and those of all other models are counted separately.
            Without a name, the variant is a further model, and all tokens are those of this model.
    """

    name: str
    runnable: Runnable[Any, Any]
    small: str | tuple[str, ...] = ()

    @property
    def alone(self) -> Author | None:
        """The side that answers alone. None if the variant counts as a pair."""
        return None if self._small_names else "target"

    @property
    def settings(self) -> dict[str, Any]:
        """What is known of the settings. A runnable does not tell what changes its answers."""
        model = self.runnable
        parameters = model._get_ls_params() if isinstance(model, BaseChatModel) else {}  # noqa: SLF001 - LangChain's name
        return {"runnable": type(model).__name__, "small": list(self._small_names), "parameters": dict(parameters)}

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of each of `settings`. Empty, because nothing is known of the defaults of a runnable."""
        return {}

    def solve(self, question: Question, stopped: Event) -> Record:  # noqa: ARG002 - as in `Variant`
        """Answer a question.

        Args:
            question: The question.
            stopped: Has no effect, because a runnable that has begun goes on to its end.

        Returns:
            The record of the answer. It cannot be replayed.

        Raises:
            BackendError: The runnable failed, or returned no message of a model.
        """
        calls, began, clock = _ModelCalls(), time.time(), time.perf_counter()
        try:
            result = self.runnable.invoke(self._input(question.question), {"callbacks": [calls]})
        except Exception as e:
            msg = without_credentials(f"{self.name}: {type(e).__name__}: {e}")
            raise BackendError(msg) from e
        seconds = time.perf_counter() - clock
        message = self._message(result)
        return self._record(question, message, calls.calls or [_Call.of(message, None, [])], began, seconds)

    @property
    def _small_names(self) -> tuple[str, ...]:
        return (self.small,) if isinstance(self.small, str) else tuple(self.small)

    def _input(self, question: str) -> object:
        messages = [HumanMessage(question)]
        return {"messages": messages} if "messages" in getattr(self.runnable, "channels", ()) else messages

    def _message(self, result: object) -> AIMessage:
        messages = result.get("messages") if isinstance(result, dict) else [result]
        last = messages[-1] if messages else None
        if not isinstance(last, AIMessage):
            msg = (
                f"{self.name}: expected a message of a model, or a state whose last message is one, got "
                f"{type(result).__name__}"
            )
            raise BackendError(msg)
        return last

    def _side(self, names: Collection[str]) -> Author:
        return "speculative" if set(names) & set(self._small_names) else "target"

    def _record(
        self, question: Question, message: AIMessage, calls: Sequence[_Call], began: float, seconds: float
    ) -> Record:
        report = Report()
        author = self._side(calls[-1].names)
        for call in calls:
            for names, used in call.usage:
                side = self._side(names)
                kept = side == author or call is calls[-1]  # a pair that answers has kept the text of both models
                used = used if kept else replace(used, discarded_tokens=used.completion_tokens)  # noqa: PLW2901
                report.usage[side] = _sum(report.usage[side], used)
        thinking = "".join(b.get("reasoning", "") for b in message.content_blocks if b["type"] == "reasoning")
        answer = str(message.text)
        tokens = report.usage[author].completion_tokens
        kind: Kind = "escalation" if author == "target" and self.alone is None else "answer"
        report.segments = [
            *([Segment(author, "thinking", "draft", 0, len(thinking))] if thinking else []),
            Segment(author, "answer", kind, 0, len(answer), tokens, seconds=seconds),
        ]
        return Record(
            began=began,
            model={"model_name": self.name, **self.settings},
            machine={},
            policy=_POLICY,
            history=(Message("user", question.question),),
            inputs=(Input(seconds, author, "end", ("stop", tokens)),),
            decisions=(),
            thinking=thinking,
            answer=answer,
            calls=(),
            finish_reason=str(message.response_metadata.get("finish_reason") or "stop"),
            error=None,
            report=report.as_dict(),
        )


@dataclass(frozen=True)
class _Call:
    """A call of a chat model.

    Attributes:
        names: Names of the model that answered.
        usage: What each model was billed, with its names. A pair has two models.
    """

    names: tuple[str, ...]
    usage: tuple[tuple[tuple[str, ...], AuthorUsage], ...]

    @classmethod
    def of(cls, message: AIMessage, traced_name: str | None, prompt: Sequence[BaseMessage]) -> _Call:
        """Return the call that gave a message."""
        name = str(message.response_metadata.get("model_name") or traced_name or "")
        if (inner := message.response_metadata.get("speculative_thinking")) and _BOTH in name:
            both = dict(zip(("speculative", "target"), name.split(_BOTH, 1), strict=True))
            used = {side: AuthorUsage.from_dict(usage) for side, usage in inner["usage"].items()}
            last = next((s["author"] for s in reversed(inner["segments"]) if s["author"] in both), "speculative")
            return cls((both[last],), tuple(((both[side],), usage) for side, usage in used.items()))
        names = tuple({name, traced_name or name})
        return cls(names, ((names, _usage(message, prompt)),))


class _ModelCalls(BaseCallbackHandler):
    """Collects the calls of all chat models inside a runnable, including calls that run at the same time."""

    raise_error = True

    def __init__(self) -> None:
        self.calls: list[_Call] = []
        self._started: dict[UUID, tuple[str | None, list[BaseMessage]]] = {}

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002 - LangChain calls it by these names
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **further: Any,  # noqa: ARG002 - as above
    ) -> None:
        """Remember the prompt of a call."""
        self._started[run_id] = (metadata or {}).get("ls_model_name"), messages[0]

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **further: Any) -> None:  # noqa: ARG002 - as above
        """Count a call."""
        name, prompt = self._started.pop(run_id, (None, []))
        for message in _messages(response):
            self.calls.append(_Call.of(message, name, prompt))


def _messages(response: LLMResult) -> Iterator[AIMessage]:
    for generations in response.generations:
        for generation in generations:
            message = getattr(generation, "message", None)
            if isinstance(message, AIMessage):
                yield message


def _usage(message: AIMessage, prompt: Sequence[BaseMessage]) -> AuthorUsage:
    used = message.usage_metadata
    if used is None:
        return AuthorUsage(1, count_tokens_approximately(prompt), 0, count_tokens_approximately([message]))
    cached = used.get("input_token_details", {}).get("cache_read") or 0
    return AuthorUsage(1, used["input_tokens"], cached, used["output_tokens"])


def _sum(one: AuthorUsage, other: AuthorUsage) -> AuthorUsage:
    return AuthorUsage(
        one.requests + other.requests,
        one.prompt_tokens + other.prompt_tokens,
        one.cached_tokens + other.cached_tokens,
        one.completion_tokens + other.completion_tokens,
        one.discarded_tokens + other.discarded_tokens,
    )
