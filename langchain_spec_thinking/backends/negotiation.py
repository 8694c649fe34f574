"""What a server can do: from who it is, from asking it, and from what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from langchain_spec_thinking.backends.continuation import (
    ChatFlag,
    ChatInstruct,
    ChatMark,
    ChatTrailing,
    Payload,
    Strategy,
)
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from langchain_spec_thinking.backends.base import Request

OPTIONAL_FIELDS = ("stream_options", "seed", "top_p")
"""Fields a request can do without, should a server refuse unknown ones (transformers serve: 422)."""
TOO_LONG = ("context length", "context window", "maximum context", "context_length")
"""How servers say that a conversation does not fit."""
REFUSALS = {400, 422}

_UNPROCESSABLE = 422
_WORDS_MAX = 300
_BY_HOST: tuple[tuple[str, Strategy], ...] = (
    ("api.deepseek.com", ChatMark("prefix", reasoning=True)),
    ("api.mistral.ai", ChatMark("prefix")),
    ("api.moonshot.ai", ChatMark("partial")),
    ("api.moonshot.cn", ChatMark("partial")),
    ("aliyuncs.com", ChatMark("partial")),
    ("openrouter.ai", ChatTrailing()),
    ("api.groq.com", ChatTrailing()),
    ("api.anthropic.com", ChatTrailing()),  # from Claude 4.6 on refused
    ("api.openai.com", ChatInstruct()),
    ("openai.azure.com", ChatInstruct()),
)
"""Hosted services by what their documents say; a host may stand for its subdomains."""
_PROBE = Turn(
    (Message("user", "Write these words, in this order: one two three four five six seven eight nine."),),
)
_PROBE.append("inserted", "one two three four five six sev")
_PROBE_REST = "en"
"""The probe is a reply cut in mid-word. Who goes on from there writes this; a new reply begins otherwise."""


def candidates(url: str) -> tuple[list[Strategy], bool]:
    """Return the ways to continue a turn that a server may know, best first, and whether the first is known to work.

    The last is the emulation, which needs nothing of a server.
    """
    host = urlsplit(url).hostname or ""
    for known, strategy in _BY_HOST:
        if host == known or host.endswith(f".{known}"):
            return [strategy, *([] if isinstance(strategy, ChatInstruct) else [ChatInstruct()])], True
    return [ChatFlag(), ChatTrailing(), ChatInstruct()], False


class Dialect:
    """What one server was found to understand: how a turn is continued, and which fields it refuses.

    Args:
        model: The model's name there.
        strategies: Ways to continue a turn, best first.
        settled: The first is to be taken without a probe.

    Attributes:
        strategy: The way that is used; None before it was found out.
    """

    def __init__(self, model: str, strategies: Sequence[Strategy], settled: bool) -> None:  # noqa: FBT001 - a pair of findings
        self._model = model
        self._strategies = list(strategies)
        self._refused: frozenset[str] = frozenset()
        self.strategy: Strategy | None = self._strategies[0] if settled or len(self._strategies) == 1 else None

    def probes(self) -> Generator[dict[str, Any], str | None, None]:
        """Find out the strategy: yields chat requests, wants the text of each reply, or None where it was refused."""
        for strategy in self._strategies[:-1]:
            payload = strategy.payload(_PROBE)
            said = yield {"model": self._model, "max_tokens": 4, "temperature": 0, **payload.body}
            if said is not None and said.removeprefix(payload.prefills[0]).startswith(_PROBE_REST):
                self.strategy = strategy
                return
        self.strategy = self._strategies[-1]

    def payload(self, turn: Turn) -> Payload:
        """Say what to send so that the model goes on where the turn ends."""
        if self.strategy is None:
            msg = "the server was not asked yet how it continues a turn"
            raise RuntimeError(msg)
        return self.strategy.payload(turn)

    def body(self, payload: Payload, request: Request) -> dict[str, Any]:
        """Return the arguments of the SDK's call."""
        body: dict[str, Any] = {
            "model": self._model,
            "max_tokens": request.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stop": list(request.stop) or None,
            "timeout": request.timeout,
            **payload.body,
        }
        if request.top_k is not None:
            body["extra_body"] = {**body.get("extra_body", {}), "top_k": request.top_k}
        return {key: value for key, value in body.items() if value is not None and key not in self._refused}

    def mend(self, error: Exception, body: dict[str, Any], used: Strategy | None, stepped_from: list[Strategy]) -> None:
        """Make of a refusal a request that may be taken; raise the error where there is nothing to change.

        Fields that the server can do without are left out from then on. Otherwise the next strategy is tried, once; it
        is kept where it helps.

        Args:
            error: What the SDK raised.
            body: What was sent.
            used: The strategy by which it was made.
            stepped_from: Empty at first; notes the strategy that was refused.
        """
        refused = refused_fields(error, [name for name in OPTIONAL_FIELDS if name in body])
        if refused:
            self._refused |= refused
            return
        too_long = any(words in server_words(error).lower() for words in TOO_LONG)
        refusal = getattr(error, "status_code", None) in REFUSALS and not too_long
        if refusal and used != self.strategy and not stepped_from:
            stepped_from.append(self._strategies[-1])  # another turn has stepped down meanwhile: try what it found
            return
        below = self._strategies[self._strategies.index(used) + 1 :] if used else []
        if refusal and used and below and not stepped_from:
            stepped_from.append(used)
            self.strategy = below[0]
            return
        if stepped_from and stepped_from[0] != self._strategies[-1]:
            self.strategy = stepped_from[0]
        raise error


def server_words(error: BaseException, secret: str = "") -> str:
    """Return what a server said about an error; the SDK tells it only where it has the form of OpenAI's.

    Args:
        error: What the SDK raised.
        secret: What must not be told.
    """
    said = str(error) or type(error).__name__
    body = getattr(error, "body", None)
    said = said if body is None or str(body) in said else f"{said} {body}"
    return (said.replace(secret, "***") if secret else said)[:_WORDS_MAX]


def tells(error: BaseException | None, secret: str) -> bool:
    """Return whether an error, or what led to it, quotes a secret."""
    while error is not None:
        if secret and (secret in server_words(error) or secret in repr(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def refused_fields(error: Exception, optional: list[str]) -> frozenset[str]:
    """Return which of the optional fields in a request made a server refuse it.

    Args:
        error: What the SDK raised.
        optional: Names of optional fields that were sent.
    """
    status = getattr(error, "status_code", None)
    if status not in REFUSALS:
        return frozenset()
    named = frozenset(name for name in optional if name in server_words(error))
    return named or frozenset(optional if status == _UNPROCESSABLE else ())
