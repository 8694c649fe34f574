"""What a server can do. The sources are its identity, its answers to probes, and the errors that it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from langchain_spec_thinking.backends.openai.engines import UNKNOWN, Engine, hosted_engine
from langchain_spec_thinking.backends.openai.probes import (
    WORKS,
    ModelListing,
    Probe,
    Question,
    RawProbe,
    identify,
)
from langchain_spec_thinking.backends.openai.refusals import LIMIT_FIELD
from langchain_spec_thinking.backends.openai.refused_fields import RefusedFields
from langchain_spec_thinking.backends.replies.continuation import Raw
from langchain_spec_thinking.backends.replies.reasoning_field import ReasoningFieldUse
from langchain_spec_thinking.backends.replies.structured_answers import answer_payload

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_spec_thinking.backends.base import Request
    from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
    from langchain_spec_thinking.backends.replies.continuation import Payload, Strategy
    from langchain_spec_thinking.turn import Turn


@dataclass
class ServerCapabilities:
    """What is known about a model on a server. All backends that use this model share it.

    Attributes:
        engine: What the server is. None until the server was asked.
        context: Context length of the model in tokens. None if the server does not report it.
        raw: Whether the completions endpoint passes prompts on unchanged. None until this was tried.
        strategy: How the server continues a turn. None until this was tried.
        repeats: Whether the server repeats the given reply at the beginning of its output. None until this was tried.
        refused_fields: Fields that the server refuses.
        reasoning_use: How the server uses the reasoning field.
    """

    engine: Engine | None = None
    context: int | None = None
    raw: bool | None = None
    strategy: Strategy | None = None
    repeats: bool | None = None
    refused_fields: RefusedFields = field(default_factory=RefusedFields)
    reasoning_use: ReasoningFieldUse = field(default_factory=ReasoningFieldUse)


@lru_cache(maxsize=256)
def capabilities(url: str, model: str) -> ServerCapabilities:  # noqa: ARG001 - part of the cache's key
    """Return what is known about a model on a server. All callers share one object, so that each fact is asked once."""
    return ServerCapabilities(hosted_engine(url))


class ServerProfile:
    """How one backend uses its server: how to continue a turn, and what the server supports.

    Args:
        url: The server's address.
        model: The model's name on the server.
        fixed: The only strategy that may be used. None means the best strategy that the server supports.
        template: The model's chat template. None without a tokenizer.

    Attributes:
        raw: The strategy that renders prompts here. None without a tokenizer.
    """

    def __init__(
        self, url: str, model: str, fixed: Strategy | None = None, template: ChatTemplate | None = None
    ) -> None:
        self._model = model
        self._fixed = fixed
        self.raw = Raw(template) if template else None
        self._capabilities = capabilities(url, model)

    @property
    def engine(self) -> Engine:
        """What the server is, as far as known."""
        return self._capabilities.engine or UNKNOWN

    @property
    def context(self) -> int | None:
        """Context length of the model in tokens. None if the server does not report it."""
        return self._capabilities.context

    @property
    def top_logprobs(self) -> int:
        """Most tokens per position for which the server returns log-probabilities, as far as known."""
        return 0 if self.refused_fields.refuses_some("logprobs") else self.engine.top_logprobs

    @property
    def refused_fields(self) -> RefusedFields:
        """The fields that the server refuses, as far as known."""
        return self._capabilities.refused_fields

    @property
    def reasoning_use(self) -> ReasoningFieldUse:
        """How the server uses the reasoning field, as far as known."""
        return self._capabilities.reasoning_use

    @property
    def tool_calls(self) -> Literal["native", "text"]:
        """How tools are given to the model, as far as known: in fields of the request or in the prompt."""
        strategy = self.strategy
        in_prompt = isinstance(strategy, Raw) and strategy.template.writes_calls_as_text
        return "text" if in_prompt or self.refused_fields.refuses_some("tools") else "native"

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """Strategies to continue a turn, best first."""
        if self._fixed:
            return (self._fixed,)
        return (
            (self.raw, *self.engine.strategies)
            if self.raw and self._passes_prompts is not False
            else self.engine.strategies
        )

    @property
    def strategy(self) -> Strategy | None:
        """The strategy in use. None until it is known."""
        if self._fixed:
            return self._fixed
        if self.raw and self._passes_prompts is not False:
            return self.raw if self._passes_prompts else None
        found, known = self._capabilities.strategy, self.engine.strategies
        if found in known:
            return found
        return known[0] if self.engine.first_strategy_works or len(known) == 1 else None

    @strategy.setter
    def strategy(self, found: Strategy) -> None:
        if self.raw:
            self._capabilities.raw = found == self.raw
        if not isinstance(found, Raw):  # other backends of this server may have no tokenizer
            self._capabilities.strategy = found

    @property
    def _passes_prompts(self) -> bool | None:
        return self.engine.raw if self._capabilities.raw is None else self._capabilities.raw

    @property
    def ready(self) -> bool:
        """Whether the first turn can start without asking the server anything."""
        return self._capabilities.engine is not None and self.strategy is not None

    def questions(self) -> Generator[Question, Any, None]:
        """Find out what the server is and how it continues a turn.

        Yields:
            The questions to ask. The caller sends the result of each question back into the generator.
        """
        if self._capabilities.engine is None:
            cards = yield ModelListing()
            if cards is not None:
                self._capabilities.engine, self._capabilities.context = identify(cards, self._model)
        if self.raw and not self._fixed and self._passes_prompts is None:
            self._capabilities.raw = (yield RawProbe(self._model, self.raw)) in WORKS
        if self.strategy:
            return
        for strategy in self.strategies[:-1]:
            outcome = yield Probe(self._model, strategy)
            if outcome in WORKS:
                self.strategy = strategy
                self._capabilities.repeats = outcome == "repeated, then continued"
                return
        self.strategy = self.strategies[-1]

    def payload(self, turn: Turn, strategy: Strategy | None = None, *, native_tools: bool = True) -> Payload:
        """Return what to send so that the model continues where the turn ends.

        Args:
            turn: The turn to continue.
            strategy: How to continue it. None means the strategy in use.
            native_tools: Whether tools may be in fields of the request. If not, the prompt describes them.
        """
        strategy = strategy or self.strategy
        if strategy is None:
            msg = "the server's strategy is not known yet"
            raise RuntimeError(msg)
        if turn.structured_answer and turn.channel == "answer":
            payload = answer_payload(turn, strategy, native=native_tools)
        else:
            payload = strategy.payload(turn)
        repeats = self._capabilities.repeats
        return payload.for_server(repeats=self.engine.repeats if repeats is None else repeats)

    def body(self, payload: Payload, request: Request) -> dict[str, Any]:
        """Return the arguments of the SDK's call. A field that is None is not sent.

        Args:
            payload: What to continue.
            request: Token limit, stop strings and sampling.
        """
        return {
            "model": self._model,
            LIMIT_FIELD: min(request.max_tokens, self.context or request.max_tokens),  # vLLM refuses more
            "stream": True,
            "stream_options": {
                "include_usage": True,
                **({"continuous_usage_stats": True} if self.engine.counts_tokens_per_chunk else {}),
            },
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stop": list(request.stop) or None,
            **_logprobs(payload, request.top_logprobs),
            **payload.body,
        }


def _logprobs(payload: Payload, count: int) -> dict[str, Any]:
    """Return the fields that ask the endpoint for log-probabilities."""
    if not count:
        return {}
    return {"logprobs": count} if payload.endpoint == "completions" else {"logprobs": True, "top_logprobs": count}
