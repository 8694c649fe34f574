"""Requests that find out what a server is and what it supports."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Protocol

from langchain_spec_thinking.backends.openai.engines import UNKNOWN, Engine, engine_by_owner
from langchain_spec_thinking.backends.openai.fields import field
from langchain_spec_thinking.backends.openai.refusals import REFUSALS
from langchain_spec_thinking.backends.openai.stream_events import message_parts
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.backends.replies.continuation import Raw, Strategy

LISTING_TIMEOUT = 5.0
"""Longest wait for the list of models, in seconds. The list is useful but not necessary."""

Outcome = Literal[
    "continued", "repeated, then continued", "started again", "wrapped the prompt", "doubled BOS", "refused"
]
WORKS: tuple[Outcome, ...] = ("continued", "repeated, then continued")

NO_ENDPOINT = {404, 405, 501}
_CONTEXT = ("max_model_len", "context_length", "context_window", "max_context_length")
"""Names for the context length: vLLM and SGLang, OpenRouter, Groq, Mistral."""
_HALF_REPLY = Turn((Message("user", "Write this sentence again and again: The banana is yellow."),))
_HALF_REPLY.append("inserted", "The banana is yellow. The banana is yellow. The banana is yellow. The banana is")
_EXPECTED = "yellow"
"""What a server writes if it continues the probe, which is a reply cut in mid-sentence. A new reply begins otherwise.

Weak models continue this probe correctly too. They fail at a reply cut in mid-word: SmolLM2-135M continues "six sev"
with "ethi".
"""


def is_timeout(error: Exception) -> bool:
    """Return whether a server did not answer in time."""
    import openai  # noqa: PLC0415 - heavy

    return isinstance(error, openai.APITimeoutError)


class Question(Protocol):
    """A question to a server, and how to read the answer.

    Attributes:
        retries: How often to repeat the request if it fails. None means the backend's `max_retries`.
        seconds: Longest time for the request. The timeout of the backend may be shorter.
    """

    retries: int | None
    seconds: float

    def send(self, client: Any, timeout: float) -> Any:  # noqa: ANN401 - either of the SDK's clients
        """Send the request. If the client is asynchronous, the result must be awaited."""

    def read(self, response: Any) -> Any:  # noqa: ANN401 - each question has its own type
        """Read the answer."""

    def failed(self, error: Exception) -> Any:  # noqa: ANN401
        """Return the answer that an error stands for, or raise the error."""


class ModelListing:
    """Asks for the list of models, which identifies the server."""

    retries: int | None = 0
    seconds: float = LISTING_TIMEOUT

    def send(self, client: Any, timeout: float) -> Any:  # noqa: ANN401
        """Send the request."""
        return client.models.list(timeout=timeout)

    def read(self, response: Any) -> list[Any]:  # noqa: ANN401
        """Return the models' cards."""
        return list(getattr(response, "data", None) or [])

    def failed(self, error: Exception) -> list[Any] | None:
        """Return an empty list if the server lists no models, and None if no server answers."""
        import openai  # noqa: PLC0415 - heavy

        return None if isinstance(error, openai.APIConnectionError) and not is_timeout(error) else []


class ContextLength:
    """Asks llama.cpp's server for the context of one of its slots. Its list of models only tells how it was trained."""

    retries: int | None = 0
    seconds: float = LISTING_TIMEOUT

    def send(self, client: Any, timeout: float) -> Any:  # noqa: ANN401
        """Send the request."""
        return client.get(str(client.base_url.join("../props")), cast_to=object, options={"timeout": timeout})

    def read(self, response: Any) -> int | None:  # noqa: ANN401
        """Return the length in tokens. None if the server does not tell it."""
        length = field(field(response, "default_generation_settings"), "n_ctx")
        return length if _is_length(length) else None

    def failed(self, error: Exception) -> None:
        """Return None, because the length is useful but not necessary."""


class Probe:
    """Sends half a reply to see whether the server continues it.

    Args:
        model: The model's name on the server.
        strategy: The strategy to test.
    """

    retries: int | None = None
    seconds: float = math.inf

    def __init__(self, model: str, strategy: Strategy) -> None:
        payload = strategy.payload(_HALF_REPLY)
        self._prefill = payload.prefills[0]
        self._body = {"model": model, "max_tokens": 4, "temperature": 0, **payload.body}

    def send(self, client: Any, timeout: float) -> Any:  # noqa: ANN401
        """Send the request."""
        return client.chat.completions.create(**self._body, timeout=timeout)

    def read(self, response: Any) -> Outcome:  # noqa: ANN401
        """Return what the server did with the half reply."""
        try:
            # A reasoning parser may return all text as reasoning.
            said = "".join(message_parts(response.choices[0].message)[:2])
        except (AttributeError, IndexError, KeyError, TypeError):  # the SDK returns a page of HTML as a string
            said = ""
        rest = said.removeprefix(self._prefill)
        if not rest.lstrip().startswith(_EXPECTED):
            return "started again"
        return "continued" if rest == said else "repeated, then continued"

    def failed(self, error: Exception) -> Outcome:
        """Return "refused" if the server refuses the request. Raise any other error."""
        if getattr(error, "status_code", None) not in REFUSALS:
            raise error
        return "refused"


class RawProbe:
    """Sends a prompt to see whether the server passes it on unchanged.

    The server's count of prompt tokens shows this.

    Args:
        model: The model's name on the server.
        raw: The strategy that renders the prompt.
    """

    retries: int | None = None
    seconds: float = math.inf

    def __init__(self, model: str, raw: Raw) -> None:
        payload = raw.payload(_HALF_REPLY)
        self._tokens = len(raw.template.tokenizer(payload.body["prompt"])["input_ids"])
        self._body = {"model": model, "max_tokens": 1, "temperature": 0, **payload.body}

    def send(self, client: Any, timeout: float) -> Any:  # noqa: ANN401
        """Send the request."""
        return client.completions.create(**self._body, timeout=timeout)

    def read(self, response: Any) -> Outcome:  # noqa: ANN401
        """Return what the server did with the prompt. A server that does not count tokens passes."""
        counted = getattr(getattr(response, "usage", None), "prompt_tokens", None)
        if not isinstance(counted, int):
            return "continued"
        if counted > self._tokens + 1:
            return "wrapped the prompt"
        return "doubled BOS" if counted == self._tokens + 1 else "continued"

    def failed(self, error: Exception) -> Outcome:
        """Return "refused" if the server refuses the request. Raise any other error."""
        if getattr(error, "status_code", None) not in REFUSALS | NO_ENDPOINT:
            raise error
        return "refused"


def identify(cards: Sequence[Any], model: str) -> tuple[Engine, int | None]:
    """Return the engine and the model's context length in tokens, as the list of models shows them."""
    card = next((card for card in cards if getattr(card, "id", None) == model), cards[0] if len(cards) == 1 else None)
    engine = engine_by_owner(str(getattr(cards[0], "owned_by", ""))) if cards else UNKNOWN
    reported = [getattr(card, name, None) for name in _CONTEXT]
    meta = getattr(card, "meta", None) or {}  # llama.cpp
    reported.append(meta.get("n_ctx") if isinstance(meta, dict) else None)
    return engine, next(filter(_is_length, reported), None)


def _is_length(value: object) -> bool:
    return isinstance(value, int) and value > 1
