"""What a server can do. The sources are its identity, its answers to probes, and the errors that it returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from langchain_spec_thinking.backends.openai.engines import UNKNOWN, Engine, hosted_engine
from langchain_spec_thinking.backends.openai.probes import (
    REFUSALS,
    WORKS,
    ModelListing,
    Probe,
    Question,
    RawProbe,
    identify,
)
from langchain_spec_thinking.backends.replies.continuation import Raw
from langchain_spec_thinking.backends.replies.structured_answers import answer_payload

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_spec_thinking.backends.base import Request
    from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
    from langchain_spec_thinking.backends.replies.continuation import Payload, Strategy
    from langchain_spec_thinking.turn import Turn

OPTIONAL_FIELDS = (
    *("stream_options", "seed", "top_p", "temperature", "parallel_tool_calls", "response_format"),
    *("logprobs", "top_logprobs"),
)
"""Fields that a request can omit if a server refuses unknown fields (transformers serve: status 422)."""
CONTEXT_TOO_LONG_PHRASES = ("context length", "context window", "maximum context", "context_length")
"""Words in servers' errors which say that the conversation is longer than the context."""

_FIELDS_WITH_CHECKED_VALUES = {"temperature", "response_format"}
"""Optional fields whose value may be wrong, for example an invalid schema. The user must see such an error."""
_UNSUPPORTED_FIELD_WORDS = ("support", "unexpected", "unknown", "unrecognized", "extra")
"""Words in servers' errors which say that the server does not support a field."""
_NEW_LIMIT_FIELD = "max_completion_tokens"
"""Name of the token limit for OpenAI's newer models. They refuse `max_tokens` and name this field in the error."""
_UNPROCESSABLE = 422
_MESSAGE_MAX = 300


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
        accepts_tools: Whether the server accepts `tools`. True until the server refuses them.
        limit_field: Name of the field that limits the tokens of the output.
    """

    engine: Engine | None = None
    context: int | None = None
    raw: bool | None = None
    strategy: Strategy | None = None
    repeats: bool | None = None
    refused_fields: frozenset[str] = frozenset()
    accepts_tools: bool = True
    limit_field: str = "max_tokens"


@lru_cache(maxsize=256)
def capabilities(url: str, model: str) -> ServerCapabilities:  # noqa: ARG001 - part of the cache's key
    """Return what is known about a model on a server. All callers share one object, so that each fact is asked once."""
    return ServerCapabilities(hosted_engine(url))


class ServerProfile:
    """How one backend uses its server: how to continue a turn, and which fields to omit.

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
        return 0 if "logprobs" in self._capabilities.refused_fields else self.engine.top_logprobs

    @property
    def tool_calls(self) -> Literal["native", "text"]:
        """How tools are given to the model, as far as known: in fields of the request or in the prompt."""
        strategy = self.strategy
        in_prompt = isinstance(strategy, Raw) and strategy.template.writes_calls_as_text
        return "native" if self._capabilities.accepts_tools and not in_prompt else "text"

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

    def payload(self, turn: Turn) -> Payload:
        """Return what to send so that the model continues where the turn ends."""
        if self.strategy is None:
            msg = "the server's strategy is not known yet"
            raise RuntimeError(msg)
        if turn.structured_answer and turn.channel == "answer":
            payload = answer_payload(turn, self.strategy, native=self._capabilities.accepts_tools)
        else:
            payload = self.strategy.payload(turn)
        repeats = self._capabilities.repeats
        return payload.for_server(repeats=self.engine.repeats if repeats is None else repeats)

    def body(self, payload: Payload, request: Request, extra: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the arguments of the SDK's call.

        Args:
            payload: What to continue.
            request: Token limit, stop strings and sampling.
            extra: Further fields of the body.
        """
        body: dict[str, Any] = {
            "model": self._model,
            self._capabilities.limit_field: min(
                request.max_tokens, self.context or request.max_tokens
            ),  # vLLM refuses more
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
        own = {
            key: value
            for key, value in body.pop("extra_body", {}).items()
            if key not in self._capabilities.refused_fields
        }
        further = {**(extra or {}), **own, **({"top_k": k} if (k := request.top_k) else {})}
        if further:
            body["extra_body"] = further
        return {
            key: value
            for key, value in body.items()
            if value is not None and key not in self._capabilities.refused_fields
        }

    def adapt_after_error(
        self, error: Exception, body: dict[str, Any], used: Strategy | None, refused_strategies: list[Strategy]
    ) -> None:
        """Change the profile so that the server may accept the next request. Raise the error if nothing can be changed.

        If the server refuses optional fields, all later requests omit them. Otherwise the next strategy is tried once,
        and it is kept if it works.

        Args:
            error: What the SDK raised.
            body: What was sent.
            used: The strategy that made the request.
            refused_strategies: An empty list at first. The method adds the strategy that was refused.
        """
        if _NEW_LIMIT_FIELD in server_message(error) and _NEW_LIMIT_FIELD not in body:
            self._capabilities.limit_field = _NEW_LIMIT_FIELD
            return
        sent = {**body, **body.get("extra_body", {})}
        refused = refused_fields(error, [name for name in OPTIONAL_FIELDS if name in sent])
        if refused:
            self._capabilities.refused_fields |= refused
            return
        if "tools" in body and _refuses_tools(error):
            self._capabilities.accepts_tools = False  # later requests describe the tools in the prompt
            return
        too_long = any(words in server_message(error).lower() for words in CONTEXT_TOO_LONG_PHRASES)
        refusal = getattr(error, "status_code", None) in REFUSALS and not too_long
        if refusal and used != self.strategy and not refused_strategies:
            refused_strategies.append(self.strategies[-1])  # another turn changed the strategy meanwhile: try that one
            return
        below = self.strategies[self.strategies.index(used) + 1 :] if used in self.strategies else ()
        if refusal and used and below and not refused_strategies:
            refused_strategies.append(used)
            self.strategy = below[0]
            return
        if refused_strategies and refused_strategies[0] != self.strategies[-1]:
            self.strategy = refused_strategies[0]
        raise error


def _logprobs(payload: Payload, count: int) -> dict[str, Any]:
    """Return the fields that ask the endpoint for log-probabilities."""
    if not count:
        return {}
    return {"logprobs": count} if payload.endpoint == "completions" else {"logprobs": True, "top_logprobs": count}


def _refuses_tools(error: Exception) -> bool:
    """Return whether the server refuses the request because of its tools. vLLM does if it has no tool-call parser."""
    return getattr(error, "status_code", None) in REFUSALS and "tool" in server_message(error).lower()


def server_message(error: BaseException) -> str:
    """Return what the server said about an error.

    The SDK's message contains the server's words only if the error has OpenAI's form. Otherwise they are added here.

    Args:
        error: What the SDK raised.
    """
    said = str(error) or type(error).__name__
    body = getattr(error, "body", None)
    said = said if body is None or str(body) in said else f"{said} {body}"
    return said[:_MESSAGE_MAX]


def refused_fields(error: Exception, optional: list[str]) -> frozenset[str]:
    """Return the optional fields that made the server refuse a request.

    Args:
        error: What the SDK raised.
        optional: Names of the optional fields that were sent.
    """
    status = getattr(error, "status_code", None)
    if status not in REFUSALS:
        return frozenset()
    words = server_message(error)
    unknown = any(word in words.lower() for word in _UNSUPPORTED_FIELD_WORDS)
    named = frozenset(
        name for name in optional if name in words and (unknown or name not in _FIELDS_WITH_CHECKED_VALUES)
    )
    unnamed = set(optional) - _FIELDS_WITH_CHECKED_VALUES if status == _UNPROCESSABLE else ()
    return named or frozenset(unnamed)
