"""Find out by a few short requests what a server can do. The requests change nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.base import Piece, Request
from langchain_spec_thinking.backends.diagnosis import Trial
from langchain_spec_thinking.backends.openai.engines import UNKNOWN
from langchain_spec_thinking.backends.openai.probes import LISTING_TIMEOUT, WORKS, ModelListing, Probe, RawProbe
from langchain_spec_thinking.backends.replies.continuation import ChatInstruct, ChatMark, Raw
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_spec_thinking.backends.diagnosis import Diagnosis
    from langchain_spec_thinking.backends.openai.backend import OpenAIBackend
    from langchain_spec_thinking.backends.replies.continuation import Strategy

_LONG = 400
"""Limit of the request that is cancelled, in tokens. A server that ignores a disconnect goes on writing up to it."""
_QUICK = 1.0
"""Largest delay in seconds at which a request after a disconnect counts as undisturbed."""


def diagnose_server(backend: OpenAIBackend, found: Diagnosis) -> Diagnosis:
    """Add what the server lists. If the model can be used, also add what requests show and what to change."""
    found = _listed(backend, found)
    if found.error:
        return found
    capabilities = replace(
        found.capabilities,
        top_logprobs_max=found.capabilities.top_logprobs_max if _gives_logprobs(backend) else 0,
        stops_on_cancel=_stops_on_cancel(backend, found.capabilities.stops_on_cancel),
    )
    found = replace(found, capabilities=capabilities, trials=tuple(_try_strategies(backend)))
    return replace(found, advice=(*found.advice, *_advice(backend, found)))


def _listed(backend: OpenAIBackend, found: Diagnosis) -> Diagnosis:
    listing = ModelListing()
    try:
        cards = listing.read(listing.send(backend.client, LISTING_TIMEOUT))
    except Exception as error:  # noqa: BLE001 - the listing decides what an error means
        cards = listing.failed(error) or []
    ids = tuple(str(card.id) for card in cards)
    there = backend.name in ids if ids else None
    return replace(found, model_there=there, models=() if there else ids)


def _try_strategies(backend: OpenAIBackend) -> Iterator[Trial]:
    ways: list[Strategy] = [Raw(backend.template)] if backend.template else []
    ways += [way for way in backend.profile.engine.strategies if not isinstance(way, ChatInstruct)]
    if backend.profile.engine == UNKNOWN:
        ways += [ChatMark("prefix"), ChatMark("partial")]
    for way in ways:
        probe = RawProbe(backend.name, way) if isinstance(way, Raw) else Probe(backend.name, way)
        try:
            outcome = probe.read(probe.send(backend.client, backend.timeout))
        except Exception as error:  # noqa: BLE001 - an error of the server is a result here
            try:
                outcome = probe.failed(error)
            except Exception:  # noqa: BLE001
                yield Trial(_label(way), f"failed ({type(error).__name__})", works=False)
                continue
        yield Trial(_label(way), outcome, works=outcome in WORKS)


def _label(strategy: Strategy) -> str:
    return f"{strategy.name} ({strategy.mark})" if isinstance(strategy, ChatMark) else strategy.name


def _gives_logprobs(backend: OpenAIBackend) -> bool:
    settings: dict[str, Any] = {"model": backend.name, "max_tokens": 1, "temperature": 0}
    try:
        if isinstance(backend.profile.strategy, Raw):
            answer = backend.client.completions.create(prompt="The cat", logprobs=1, **settings)
        else:
            messages: Any = [{"role": "user", "content": "Hi"}]
            answer = backend.client.chat.completions.create(messages=messages, logprobs=True, **settings)
    except Exception:  # noqa: BLE001 - an error means that there are none
        return False
    return bool(answer.choices and answer.choices[0].logprobs)


def _stops_on_cancel(backend: OpenAIBackend, known: bool | None) -> bool | None:  # noqa: FBT001 - a finding
    """Return the known behaviour of the engine. If it is unknown, test whether a cancelled request delays the next."""
    if known is not None:
        return known

    def seconds() -> float:
        began = time.monotonic()
        for _ in backend.continue_turn(turn, Request(1, temperature=0)):
            pass
        return time.monotonic() - began

    turn = Turn((Message("user", "Count to one thousand."),))
    try:
        before = seconds()
        events = backend.continue_turn(turn, Request(_LONG, temperature=0))
        next((event for event in events if isinstance(event, Piece)), None)
        events.close()
        after = seconds()
    except BackendError:
        return None
    return None if after < before + _QUICK else False  # a quick answer may come from another slot


def _advice(backend: OpenAIBackend, found: Diagnosis) -> Iterator[str]:
    engine, way = backend.profile.engine, found.capabilities.continuation or "raw"
    if found.model_there is False:
        yield f"The server does not list {found.name}. It lists {', '.join(found.models[:5])}."
    if way == "chat_instruct" and not backend.template and engine.raw is not False:
        yield (
            "Give the model's tokenizer (`tokenizer=`, on the command line #TOKENIZER after the address). The "
            "prompt is then rendered locally and replies are continued exactly."
        )
    if way not in {"raw", "chat_instruct"} and not any(t.works for t in found.trials if t.strategy.startswith(way)):
        yield "The model did not continue a partial reply. Either the model is weak or the strategy does not work."
    if not found.cached_tokens and engine.cache_flag:
        yield f"Start the server with {engine.cache_flag} to report cached tokens."
    if engine.advice and not engine.advice_followed(backend.describe()):
        yield engine.advice
