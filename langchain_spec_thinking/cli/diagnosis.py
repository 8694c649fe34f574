"""Find out by a few short requests what one model of a pair can do. The requests change nothing."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.base import Backend, End, Piece, Request, Usage
from langchain_spec_thinking.backends.openai.backend import OpenAIBackend
from langchain_spec_thinking.backends.openai.engines import UNKNOWN
from langchain_spec_thinking.backends.openai.probes import WORKS, ModelListing, Probe, RawProbe
from langchain_spec_thinking.backends.replies.continuation import ChatInstruct, ChatMark, Raw
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_spec_thinking.backends.replies.continuation import Strategy

_SENTENCE = "The cat sat on the mat, and then the cat ate the rat, and that was that, said the bat. "
_SENTENCES = 24
"""Enough repetitions for a server's prefix cache: vLLM keeps blocks of 16 tokens, or of 128 tokens on a CPU."""
_TOKENS = 24
_LONG = 400
"""Limit of the request that is cancelled, in tokens. A server that ignores a disconnect goes on writing up to it."""
_QUICK = 1.0
"""Largest delay in seconds at which a request after a disconnect counts as undisturbed."""


@dataclass(frozen=True)
class Trial:
    """A way to continue a turn that was tried, and its result on the server."""

    strategy: str
    outcome: str
    works: bool


@dataclass
class Diagnosis:
    """The findings about one model. None means that a finding is not known.

    Attributes:
        name: Name of the model.
        place: Address of the server, or "in this process".
        engine: Inference engine that runs the model.
        error: Why the model cannot be used.
        models: Models that the server lists, if this model is not among them.
        model_there: Whether the server lists this model.
        thinks: Whether the model reasons between think tags.
        trials: Ways to continue a turn that were tried.
        continues_by: The way that is used.
        streams: Whether text arrives in more than one piece.
        tells_usage: Whether the server counts tokens, also in streams.
        cached_tokens: Number of prompt tokens that came from a cache when the prompt was sent a second time.
        prompt_tokens: Number of tokens of that prompt.
        logprobs: Whether the server gives log-probabilities.
        stops_on_hangup: Whether the server stops writing if the client disconnects.
        context: Limit of prompt and output together, in tokens.
        first_text: Seconds until the first text.
        tokens_per_second: Speed after the first text.
        advice: Facts to know and changes to make.
    """

    name: str
    place: str = "in this process"
    engine: str = "transformers"
    error: str | None = None
    models: list[str] = field(default_factory=list)
    model_there: bool | None = None
    thinks: bool = False
    trials: list[Trial] = field(default_factory=list)
    continues_by: str | None = None
    streams: bool | None = None
    tells_usage: bool | None = None
    cached_tokens: int | None = None
    prompt_tokens: int | None = None
    logprobs: bool | None = None
    stops_on_hangup: bool | None = None
    context: int | None = None
    first_text: float | None = None
    tokens_per_second: float | None = None
    advice: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the findings for JSON."""
        return asdict(self)


def examine(backend: Backend) -> Diagnosis:
    """Find out what a backend can do."""
    if not isinstance(backend, OpenAIBackend):
        found = Diagnosis(backend.name, thinks=backend.thinks, continues_by="its own tokens", context=backend.context)
        found.logprobs = found.stops_on_hangup = found.model_there = True
        _write(backend, found)
        return found
    where = backend.describe()["base_url"]
    found = Diagnosis(backend.name, where, UNKNOWN.name, thinks=backend.thinks)
    _list(backend, found)
    _write(backend, found)
    if found.error is None:
        found.engine = backend.profile.engine.name
        found.context = backend.context
        found.trials = list(_try_strategies(backend))
        found.continues_by = backend.describe()["continuation"]
        found.logprobs = _gives_logprobs(backend)
        found.stops_on_hangup = _stops_on_hangup(backend)
        found.advice = list(_advice(backend, found))
    return found


def _list(backend: OpenAIBackend, found: Diagnosis) -> None:
    listing = ModelListing()
    try:
        cards = listing.read(listing.send(backend.client))
    except Exception as error:  # noqa: BLE001 - the listing decides what an error means
        cards = listing.failed(error) or []
    ids = [str(card.id) for card in cards]
    found.model_there = backend.name in ids if ids else None
    found.models = [] if found.model_there else ids


def _write(backend: Backend, found: Diagnosis) -> None:
    """Continue a turn twice, as at a hand-over. The second time, its beginning may come from a cache."""
    room = (backend.context or sys.maxsize) // 2 // backend.count_tokens(_SENTENCE)
    story = _SENTENCE * max(1, min(_SENTENCES, room))
    turn = Turn((Message("user", f"{story}\n\nSay in one sentence who ate whom."),))
    for _ in range(2):
        began = time.monotonic()
        pieces: list[tuple[float, str]] = []
        try:
            for event in backend.continue_turn(turn, Request(_TOKENS, temperature=0)):
                if isinstance(event, Piece):
                    pieces.append((time.monotonic(), event.text))
                elif isinstance(event, End):
                    _note_usage(event.usage or Usage(), found)
        except BackendError as error:
            found.error = str(error)
            return
        _note_times([when - began for when, _ in pieces], found)
        turn.append("inserted", "".join(text for _, text in pieces) or "The cat")


def _note_usage(usage: Usage, found: Diagnosis) -> None:
    found.tells_usage = usage.completion_tokens is not None
    found.cached_tokens, found.prompt_tokens = usage.cached_tokens, usage.prompt_tokens


def _note_times(times: list[float], found: Diagnosis) -> None:
    """Record when text arrived, in seconds after the request. A single piece of text gives no speed."""
    if not times:
        return
    found.first_text = times[0]
    found.streams = found.streams or len(times) > 1
    if len(times) > 1 and times[-1] > times[0]:
        found.tokens_per_second = (len(times) - 1) / (times[-1] - times[0])


def _try_strategies(backend: OpenAIBackend) -> Iterator[Trial]:
    ways: list[Strategy] = [Raw(backend.template)] if backend.template else []
    ways += [way for way in backend.profile.engine.strategies if not isinstance(way, ChatInstruct)]
    if backend.profile.engine == UNKNOWN:
        ways += [ChatMark("prefix"), ChatMark("partial")]
    for way in ways:
        probe = RawProbe(backend.name, way) if isinstance(way, Raw) else Probe(backend.name, way)
        try:
            outcome = probe.read(probe.send(backend.client))
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


def _stops_on_hangup(backend: OpenAIBackend) -> bool | None:
    """Return the known behaviour of the engine. If it is unknown, test whether a cancelled request delays the next."""
    if backend.profile.engine.stops_on_disconnect is not None:
        return backend.profile.engine.stops_on_disconnect

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
    engine = backend.profile.engine
    if found.model_there is False:
        yield f"The server does not list {found.name}. It lists {', '.join(found.models[:5])}."
    if found.continues_by == "chat_instruct" and not backend.template and engine.raw is not False:
        yield (
            "Give the model's tokenizer (`tokenizer=`, on the command line #TOKENIZER after the address). The "
            "prompt is then rendered locally and replies are continued exactly."
        )
    way = found.continues_by or "raw"
    if way not in {"raw", "chat_instruct"} and not any(t.works for t in found.trials if t.strategy.startswith(way)):
        yield "The model did not continue a partial reply. Either the model is weak or the strategy does not work."
    if found.streams is False:
        yield "Text arrives in one piece, so discarded text is still written and billed."
    if not found.cached_tokens and engine.cache_flag:
        yield f"Start the server with {engine.cache_flag} to report cached tokens."
    if engine.advice and not engine.advice_followed(backend.describe()):
        yield engine.advice
