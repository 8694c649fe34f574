"""Find out by a few short requests what a server can do. The requests change nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_spec_thinking.backends.base import Piece, Request
from langchain_spec_thinking.backends.diagnosis import Trial
from langchain_spec_thinking.backends.openai.capabilities import label_of
from langchain_spec_thinking.backends.openai.engines import UNKNOWN
from langchain_spec_thinking.backends.openai.fields import field
from langchain_spec_thinking.backends.openai.probes import NO_ENDPOINT, WORKS, ModelListing, is_timeout
from langchain_spec_thinking.backends.openai.refusals import REFUSALS
from langchain_spec_thinking.backends.replies.continuation import ChatInstruct, ChatMark, Raw
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import openai

    from langchain_spec_thinking.backends.base import Backend
    from langchain_spec_thinking.backends.diagnosis import Diagnosis
    from langchain_spec_thinking.backends.openai.capabilities import ServerProfile
    from langchain_spec_thinking.backends.openai.probes import Question
    from langchain_spec_thinking.backends.replies.continuation import Strategy

_Found = TypeVar("_Found")
_LONG = 400
"""Limit of the request that is cancelled, in tokens. A server that ignores a disconnect goes on writing up to it."""
_LISTING_PATIENCE = 60.0
"""Longest wait for the list of models, in seconds."""
_QUICK = 1.0
"""Largest delay in seconds at which a request after a disconnect counts as undisturbed."""


@dataclass(frozen=True)
class ServedModel:
    """A model on a server, with what is needed to test it.

    Attributes:
        name: The model's name on the server.
        backend: The backend that uses the model.
        client: The SDK's client for the server.
        profile: What is known about the server.
        timeout: Longest time for a request, in seconds.
    """

    name: str
    backend: Backend
    client: openai.OpenAI
    profile: ServerProfile
    timeout: float


def diagnose_server(model: ServedModel, found: Diagnosis) -> Diagnosis:
    """Add what the server lists. If the model can be used, also add what requests show and what to change."""
    found = _listed(model, found)
    if found.error:
        return found
    gives_logprobs = _gives_logprobs(model)
    capabilities = replace(
        found.capabilities,
        top_logprobs_max=0 if gives_logprobs is False else found.capabilities.top_logprobs_max,
        stops_on_cancel=_stops_on_cancel(model, found.capabilities.stops_on_cancel),
    )
    found = replace(found, capabilities=capabilities, logprobs_asked=gives_logprobs is not None)
    found = replace(found, trials=tuple(_try_strategies(model)))
    return replace(found, advice=(*found.advice, *_advice(model, found)))


def _listed(model: ServedModel, found: Diagnosis) -> Diagnosis:
    """Add what the server lists. A busy server gets more time than before a turn."""
    listing = ModelListing()
    try:
        cards = listing.read(listing.send(model.client, min(model.timeout, _LISTING_PATIENCE)))
    except Exception as error:  # noqa: BLE001 - the listing decides what an error means
        if is_timeout(error):  # nothing is known then
            return replace(found, capabilities=replace(found.capabilities, engine=None))
        cards = listing.failed(error) or []
    if cards and not found.error and _ask(model, model.profile.identify(cards)):
        found = replace(found, capabilities=model.backend.capabilities)
    ids = tuple(str(getattr(card, "id", "")) for card in cards)
    there = model.name in ids if ids else None
    return replace(found, model_there=there, models=() if there else ids)


def _try_strategies(model: ServedModel) -> Iterator[Trial]:
    ways: list[Strategy] = [model.profile.raw] if model.profile.raw else []
    ways += [way for way in model.profile.engine.strategies if not isinstance(way, ChatInstruct)]
    if model.profile.engine == UNKNOWN:
        ways += [ChatMark("prefix"), ChatMark("partial")]
    for way in ways:
        try:
            outcome = _ask(model, model.profile.trial(way))
        except Exception as error:  # noqa: BLE001 - an error of the server is a result here
            yield Trial(label_of(way), f"failed ({type(error).__name__})", works=False)
            continue
        yield Trial(label_of(way), outcome, works=outcome in WORKS)


def _ask(model: ServedModel, questions: Generator[Question, Any, _Found]) -> _Found:
    """Send the questions that are not answered yet, and return what they show."""
    answer: Any = None
    while True:
        try:
            question = questions.send(answer)
        except StopIteration as end:
            found: _Found = end.value
            return found
        try:
            answer = question.read(question.send(model.client, model.timeout))
        except Exception as error:  # noqa: BLE001 - the question decides which errors are answers
            answer = question.failed(error)


def _gives_logprobs(model: ServedModel) -> bool | None:
    """Return whether the server returns log-probabilities. None if it does not answer the question."""
    settings: dict[str, Any] = {"model": model.name, "max_tokens": 1, "temperature": 0}
    try:
        if isinstance(model.profile.strategy, Raw):
            answer = model.client.completions.create(prompt="The cat", logprobs=1, **settings)
        else:
            messages: Any = [{"role": "user", "content": "Hi"}]
            answer = model.client.chat.completions.create(messages=messages, logprobs=True, **settings)
    except Exception as error:  # noqa: BLE001 - a refusal means that there are none
        return False if getattr(error, "status_code", None) in REFUSALS | NO_ENDPOINT else None
    choices = field(answer, "choices")  # the SDK returns a page of HTML as a string
    return bool(choices and field(choices[0], "logprobs"))


def _stops_on_cancel(model: ServedModel, known: bool | None) -> bool | None:  # noqa: FBT001 - a finding
    """Return the known behaviour of the engine. If it is unknown, test whether a cancelled request delays the next."""
    if known is not None:
        return known

    def seconds() -> float:
        began = time.monotonic()
        for _ in model.backend.continue_turn(turn, Request(1, temperature=0)):
            pass
        return time.monotonic() - began

    turn = Turn((Message("user", "Count to one thousand."),))
    try:
        before = seconds()
        events = model.backend.continue_turn(turn, Request(_LONG, temperature=0))
        next((event for event in events if isinstance(event, Piece)), None)
        events.close()
        after = seconds()
    except BackendError:
        return None
    return None if after < before + _QUICK else False  # a quick answer may come from another slot


def _advice(model: ServedModel, found: Diagnosis) -> Iterator[str]:
    engine, way = model.profile.engine, found.capabilities.continuation or "raw"
    if found.model_there is False:
        yield f"The server does not list {found.name}. It lists {', '.join(found.models[:5])}."
    if way == "chat_instruct" and not model.profile.raw and engine.raw is not False:
        yield (
            "Give the model's tokenizer (`tokenizer=`, on the command line #TOKENIZER after the address). The "
            "prompt is then rendered locally and replies are continued exactly."
        )
    if way not in {"raw", "chat_instruct"} and not any(t.works for t in found.trials if t.strategy.startswith(way)):
        yield "The model did not continue a partial reply. Either the model is weak or the strategy does not work."
    if not found.cached_tokens and engine.cache_flag:
        yield f"Start the server with {engine.cache_flag} to report cached tokens."
    if engine.advice and not engine.advice_followed(model.backend.describe()):
        yield engine.advice
