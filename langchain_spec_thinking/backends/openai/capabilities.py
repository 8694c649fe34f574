"""What a server can do. The sources are its identity, its answers to probes, and the errors that it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from langchain_spec_thinking.backends.openai.engines import UNKNOWN, Engine, hosted_engine
from langchain_spec_thinking.backends.openai.probes import (
    WORKS,
    ContextLength,
    ModelListing,
    Outcome,
    Probe,
    Question,
    RawProbe,
    identify,
)
from langchain_spec_thinking.backends.openai.refusals import LIMIT_FIELD
from langchain_spec_thinking.backends.openai.refused_fields import RefusedFields
from langchain_spec_thinking.backends.redaction import public_name, public_url
from langchain_spec_thinking.backends.replies.continuation import ChatMark, Raw
from langchain_spec_thinking.backends.replies.structured_answers import answer_payload
from langchain_spec_thinking.backends.replies.thought_reader import ThoughtDelivery

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

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
        output_max: Largest token limit that the server accepts. None until it refused a larger one.
        raw: Whether the completions endpoint passes prompts on unchanged. None until this was tried.
        strategy: How the server continues a turn. None until this was tried.
        outcomes: What probes showed, by the label of the strategy (`label_of`). The doctor and the turns share them.
        repeats: Whether the server repeats the given reply at the beginning of its output. None until this was tried.
        refused_fields: Fields that the server refuses.
    """

    engine: Engine | None = None
    context: int | None = None
    output_max: int | None = None
    raw: bool | None = None
    strategy: Strategy | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    repeats: bool | None = None
    refused_fields: RefusedFields = field(default_factory=RefusedFields)


@lru_cache(maxsize=256)
def capabilities(url: str, model: str, place: str = "") -> ServerCapabilities:  # noqa: ARG001 - the cache's key
    """Return what is known about a model on a server. All callers share one object, so that each fact is asked once."""
    return ServerCapabilities(hosted_engine(url))


@lru_cache(maxsize=256)
def thought_delivery(address: str, model: str, extra: str, thinking: bool | None) -> ThoughtDelivery:  # noqa: ARG001, FBT001
    """Return how the thoughts of a model on a server arrive, as far as known.

    One model may be used twice, once with its thoughts and once without them. What one use shows does not hold for the
    other one. So only callers with the same settings share the object.

    Args:
        address: A text that tells the server's address apart, with its headers and its query.
        model: The model's name on the server.
        extra: A text that tells the further fields of the requests apart. They may turn the reasoning on or off.
        thinking: What the user says about the model. None: the user does not say it.
    """
    return ThoughtDelivery(thinking)


class ServerProfile:
    """How one backend uses its server: how to continue a turn, and what the server supports.

    Args:
        url: The server's address.
        model: The model's name on the server.
        fixed: The only strategy that may be used. None means the best strategy that the server supports.
        template: The model's chat template. None without a tokenizer.
        place: Text that tells servers at one address apart, for example if a header decides. Empty: the address does.

    Attributes:
        key: The model and its server, without secrets, as in `Message.reply_fields`.
        raw: The strategy that renders prompts here. None without a tokenizer.
    """

    def __init__(
        self,
        url: str,
        model: str,
        fixed: Strategy | None = None,
        template: ChatTemplate | None = None,
        place: str = "",
    ) -> None:
        self._model = model
        self.key = f"{public_name(model)} at {public_url(url)}"
        self._fixed = fixed
        self.raw = Raw(template) if template else None
        self._capabilities = capabilities(url, model, place)

    @property
    def engine(self) -> Engine:
        """What the server is, as far as known."""
        return self._capabilities.engine or UNKNOWN

    @property
    def context(self) -> int | None:
        """Context length of the model in tokens. None if the server does not report it."""
        return self._capabilities.context

    @context.setter
    def context(self, tokens: int) -> None:
        self._capabilities.context = tokens

    @property
    def output_max(self) -> int | None:
        """Largest token limit that the server accepts. None if it has not refused one."""
        return self._capabilities.output_max

    @output_max.setter
    def output_max(self, tokens: int) -> None:
        self._capabilities.output_max = tokens

    @property
    def top_logprobs(self) -> int:
        """Most tokens per position for which the server returns log-probabilities, as far as known."""
        return 0 if self.refused_fields.refuses_some("logprobs") else self.engine.top_logprobs

    @property
    def refused_fields(self) -> RefusedFields:
        """The fields that the server refuses, as far as known."""
        return self._capabilities.refused_fields

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

    def is_ready(self, *, begins: bool = False) -> bool:
        """Return whether a request can be sent without asking the server anything.

        Args:
            begins: Whether the request begins a reply that nobody else continues. It then needs no strategy.
        """
        return self._capabilities.engine is not None and (self.strategy is not None or (begins and not self.raw))

    def identify(self, cards: Sequence[Any]) -> Generator[Question, Any, bool]:
        """Read the list of models if the server was too busy to send it before.

        Args:
            cards: The list.

        Yields:
            The questions to ask, as `questions` does.

        Returns:
            Whether the list shows what the server is.
        """
        if self.engine != UNKNOWN or identify(cards, self._model)[0] == UNKNOWN:
            return False
        yield from self._read_listing(cards)
        return True

    def _read_listing(self, cards: Sequence[Any]) -> Generator[Question, Any, None]:
        engine, context = identify(cards, self._model)
        if engine.reports_slot_context:
            context = (yield ContextLength()) or context
        self._capabilities.engine, self._capabilities.context = engine, context

    def questions(self, *, begins: bool = False) -> Generator[Question, Any, None]:
        """Find out what the server is and how it continues a turn.

        Args:
            begins: Whether to leave out how it continues a turn, as in `is_ready`.

        Yields:
            The questions to ask. The caller sends the result of each question back into the generator.
        """
        if self._capabilities.engine is None:
            cards = yield ModelListing()
            if cards is not None:
                yield from self._read_listing(cards)
        if self.raw and not self._fixed and self._passes_prompts is None:
            self._capabilities.raw = (yield from self.trial(self.raw)) in WORKS
        if self.strategy or (begins and not self.raw):
            return
        for strategy in self.strategies[:-1]:
            outcome = yield from self.trial(strategy)
            if outcome in WORKS:
                self.strategy = strategy
                self._capabilities.repeats = outcome == "repeated, then continued" and self.engine.streams_repeat
                return
        self.strategy = self.strategies[-1]

    def trial(self, strategy: Strategy) -> Generator[Question, Outcome, Outcome]:
        """Find out what the server does with half a reply, unless an earlier probe has shown it.

        Args:
            strategy: How to ask the server to continue it.

        Yields:
            The question, as `questions` does.

        Returns:
            What the server does.
        """
        known, label = self._capabilities.outcomes, label_of(strategy)
        if label not in known:
            probe = RawProbe(self._model, strategy) if isinstance(strategy, Raw) else Probe(self._model, strategy)
            known[label] = yield probe
        return known[label]

    def payload(self, turn: Turn, strategy: Strategy | None = None, *, native_tools: bool = True) -> Payload:
        """Return what to send so that the model continues where the turn ends.

        Args:
            turn: The turn to continue.
            strategy: How to continue it. None means the strategy in use. If none is known yet, the turn must be empty.
            native_tools: Whether tools may be in fields of the request. If not, the prompt describes them.
        """
        # A request that begins a reply has the same form with every strategy for chats.
        strategy = strategy or self.strategy or (None if turn.is_begun or self.raw else self.strategies[-1])
        if strategy is None:
            msg = "the server's strategy is not known yet"
            raise RuntimeError(msg)
        if turn.structured_answer and turn.channel == "answer":
            returned = self.engine.returned_reasoning
            payload = answer_payload(turn, strategy, native=native_tools, returned=returned, model=self.key)
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
        tokens = request.max_tokens + request.hidden_tokens
        return {
            "model": self._model,
            LIMIT_FIELD: min(tokens, self.context or tokens),  # vLLM refuses more
            "stream": True,
            "stream_options": {
                "include_usage": True,
                **({"continuous_usage_stats": True} if self.engine.counts_tokens_per_chunk else {}),
            },
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stop": list(request.stop) or None,
            "user": request.user,
            **_logprobs(payload, request.top_logprobs),
            **payload.body,
        }


def label_of(strategy: Strategy) -> str:
    """Return the name of a strategy, with its mark if it has one."""
    return f"{strategy.name} ({strategy.mark})" if isinstance(strategy, ChatMark) else strategy.name


def _logprobs(payload: Payload, count: int) -> dict[str, Any]:
    """Return the fields that ask the endpoint for log-probabilities."""
    if not count:
        return {}
    return {"logprobs": count} if payload.endpoint == "completions" else {"logprobs": True, "top_logprobs": count}
