"""Find out by a few short requests what one model of a pair can do. The requests change nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.base import End, Piece, Request, Usage
from langchain_spec_thinking.backends.capabilities import IN_THIS_PROCESS
from langchain_spec_thinking.backends.diagnosis import Diagnosis
from langchain_spec_thinking.backends.thinking import opens_thought
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.hidden_reasoning import (
    ended_without_text,
    hides_reasoning,
    note_hidden_reasoning,
    note_shown_text,
)
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.backends.base import Backend
    from langchain_spec_thinking.policy.commands import EndReason

_SENTENCE = "The cat sat on the mat, and then the cat ate the rat, and that was that, said the bat. "
_SENTENCES = 24
"""Enough repetitions for a server's prefix cache: vLLM keeps blocks of 16 tokens, or of 128 tokens on a CPU."""
_TOKENS = 24
_SMALL_CONTEXT = 2048
"""The context of a server that does not tell its length, in tokens. Few servers have less."""


def examine(backend: Backend) -> Diagnosis:
    """Find out what a backend can do: two requests that every backend understands, then the backend's own."""
    found = _write(backend, Diagnosis(backend.name, thinks=backend.thinks))
    capabilities = backend.capabilities  # read after the requests, because a server is known only then
    here = capabilities.place == IN_THIS_PROCESS
    found = replace(found, capabilities=capabilities, model_there=True if here else None)
    if found.streams is False and not here:
        found = replace(found, advice=("Text arrives in one piece, so discarded text is still written and billed.",))
    return backend.diagnose(found)


def _write(backend: Backend, found: Diagnosis) -> Diagnosis:
    """Continue a turn twice, as at a hand-over. The second time, its beginning may come from a cache.

    The temperature is left to the model, because some services refuse any other.
    """
    room = (backend.capabilities.context or _SMALL_CONTEXT) // 2 // backend.count_tokens(_SENTENCE)
    story = _SENTENCE * max(1, min(_SENTENCES, room))
    turn = Turn((Message("user", f"{story}\n\nSay in one sentence who ate whom."),))
    for _ in range(2):
        began = time.monotonic()
        pieces: list[tuple[float, Piece]] = []
        usage = Usage()
        reason: EndReason = "stop"
        try:
            for event in backend.continue_turn(turn, Request(_TOKENS)):
                if isinstance(event, Piece):
                    pieces.append((time.monotonic() - began, event))
                elif isinstance(event, (Usage, End)):
                    usage = _latest(event).with_defaults_from(usage)
                    reason = event.reason if isinstance(event, End) else reason
        except BackendError as error:
            return replace(found, error=str(error))
        if ended_without_text(reason, usage, has_text=bool(pieces)):
            note_hidden_reasoning(backend)
        elif pieces:
            note_shown_text(backend, usage, _tokens(backend, [piece for _, piece in pieces]))
        known = False if pieces else found.hides_reasoning
        found = replace(_with_usage(usage, found), hides_reasoning=hides_reasoning(backend) or known)
        text = "".join(piece.text for _, piece in pieces)
        found = replace(found, thinks=found.thinks or backend.thinks or opens_thought(text))
        found = _with_times([when for when, _ in pieces], _tokens(backend, [piece for _, piece in pieces[1:]]), found)
        turn.append("inserted", text or "The cat")
    return found


def _latest(event: Usage | End) -> Usage:
    return event if isinstance(event, Usage) else event.usage or Usage()


def _with_usage(usage: Usage, found: Diagnosis) -> Diagnosis:
    tells = usage.completion_tokens is not None
    return replace(found, tells_usage=tells, cached_tokens=usage.cached_tokens, prompt_tokens=usage.prompt_tokens)


def _tokens(backend: Backend, pieces: Sequence[Piece]) -> int:
    return sum(backend.count_tokens(piece.text) if piece.tokens is None else piece.tokens for piece in pieces)


def _with_times(times: Sequence[float], tokens: int, found: Diagnosis) -> Diagnosis:
    """Record the times and the speed. A single piece of text gives no speed.

    Args:
        times: When the pieces of text arrived, in seconds after the request.
        tokens: Number of tokens of all pieces after the first one.
        found: What is known so far.
    """
    if not times:
        return found
    found = replace(found, first_text=times[0], streams=found.streams or len(times) > 1)
    if len(times) > 1 and times[-1] > times[0]:
        return replace(found, tokens_per_second=tokens / (times[-1] - times[0]))
    return found
