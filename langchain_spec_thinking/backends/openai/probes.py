"""What a server is asked to find out what it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from langchain_spec_thinking.backends.openai.engines import UNKNOWN, Engine, owned_by
from langchain_spec_thinking.backends.openai.stream_events import texts
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.backends.replies.continuation import Raw, Strategy

LISTING_TIMEOUT = 5.0
"""How long a server may take to list its models, in seconds: nice to know, not needed."""
REFUSALS = {400, 422}

Outcome = Literal["continued", "repeated, then continued", "began anew", "wrapped the prompt", "doubled BOS", "refused"]
WORKS: tuple[Outcome, ...] = ("continued", "repeated, then continued")

_NO_ENDPOINT = {404, 405, 501}
_CONTEXT = ("max_model_len", "context_length", "context_window", "max_context_length")
"""What servers call the length of a model's context: vLLM and SGLang, OpenRouter, Groq, Mistral."""
_HALF_REPLY = Turn((Message("user", "Write this sentence again and again: The banana is yellow."),))
_HALF_REPLY.append("inserted", "The banana is yellow. The banana is yellow. The banana is yellow. The banana is")
_REST = "yellow"
"""The probe is a reply cut in mid-sentence. Who goes on from there writes this; a new reply begins otherwise.

Weak models get that right too. A reply cut in mid-word they fail at: SmolLM2-135M goes on from "six sev" with "ethi".
"""


class Question(Protocol):
    """Something to ask a server, and how to understand what it says.

    Attributes:
        retries: How often it is asked again; None: as often as anything.
    """

    retries: int | None

    def put(self, client: Any) -> Any:  # noqa: ANN401 - either of the SDK's clients
        """Ask; the result is to be awaited where the client is asynchronous."""

    def read(self, response: Any) -> Any:  # noqa: ANN401 - the question's own
        """Understand the answer."""

    def failed(self, error: Exception) -> Any:  # noqa: ANN401
        """Take an error for an answer, or raise it."""


class Listing:
    """Asks for the models, by which a server can be told."""

    retries: int | None = 0

    def put(self, client: Any) -> Any:  # noqa: ANN401
        """Ask."""
        return client.models.list(timeout=LISTING_TIMEOUT)

    def read(self, response: Any) -> list[Any]:  # noqa: ANN401
        """Return the models' cards."""
        return list(getattr(response, "data", None) or [])

    def failed(self, error: Exception) -> list[Any] | None:
        """Return no cards from a server that has none to give; None where there was no server."""
        import openai  # noqa: PLC0415 - heavy

        silent = isinstance(error, openai.APIConnectionError) and not isinstance(error, openai.APITimeoutError)
        return None if silent else []


class Probe:
    """Sends half a reply, to see whether the server goes on with it.

    Args:
        model: The model's name there.
        strategy: How it is asked to.
    """

    retries: int | None = None

    def __init__(self, model: str, strategy: Strategy) -> None:
        payload = strategy.payload(_HALF_REPLY)
        self._prefill = payload.prefills[0]
        self._body = {"model": model, "max_tokens": 4, "temperature": 0, **payload.body}

    def put(self, client: Any) -> Any:  # noqa: ANN401
        """Ask."""
        return client.chat.completions.create(**self._body)

    def read(self, response: Any) -> Outcome:  # noqa: ANN401
        """Tell what the server made of it."""
        try:
            said = "".join(texts(response.choices[0].message))  # a parser of reasoning may take all for thought
        except (AttributeError, IndexError, KeyError, TypeError):  # a page of HTML is a string to the SDK
            said = ""
        rest = said.removeprefix(self._prefill)
        if not rest.lstrip().startswith(_REST):
            return "began anew"
        return "continued" if rest == said else "repeated, then continued"

    def failed(self, error: Exception) -> Outcome:
        """Take a refusal for an answer; raise anything else."""
        if getattr(error, "status_code", None) not in REFUSALS:
            raise error
        return "refused"


class RawProbe:
    """Sends a prompt, to see from the number of tokens that the server counts whether it passes prompts on as they are.

    Args:
        model: The model's name there.
        raw: Renders the prompt.
    """

    retries: int | None = None

    def __init__(self, model: str, raw: Raw) -> None:
        payload = raw.payload(_HALF_REPLY)
        self._tokens = len(raw.template.tokenizer(payload.body["prompt"])["input_ids"])
        self._body = {"model": model, "max_tokens": 1, "temperature": 0, **payload.body}

    def put(self, client: Any) -> Any:  # noqa: ANN401
        """Ask."""
        return client.completions.create(**self._body)

    def read(self, response: Any) -> Outcome:  # noqa: ANN401
        """Tell what the server made of it; one that does not count is believed."""
        counted = getattr(getattr(response, "usage", None), "prompt_tokens", None)
        if counted and counted > self._tokens + 1:
            return "wrapped the prompt"
        return "doubled BOS" if counted == self._tokens + 1 else "continued"

    def failed(self, error: Exception) -> Outcome:
        """Take a refusal for an answer; raise anything else."""
        if getattr(error, "status_code", None) not in REFUSALS | _NO_ENDPOINT:
            raise error
        return "refused"


def identified(cards: Sequence[Any], model: str) -> tuple[Engine, int | None]:
    """Tell from the models that a server lists what it is, and how many tokens a model can read."""
    card = next((card for card in cards if card.id == model), cards[0] if len(cards) == 1 else None)
    engine = owned_by(str(getattr(cards[0], "owned_by", ""))) if cards else UNKNOWN
    told = [getattr(card, name, None) for name in _CONTEXT]
    meta = getattr(card, "meta", None) or {}  # llama.cpp
    told += [meta.get("n_ctx"), meta.get("n_ctx_train")] if isinstance(meta, dict) else []
    return engine, next((length for length in told if isinstance(length, int)), None)
