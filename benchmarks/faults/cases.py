"""The cases of scripted servers, and what must come of each. Pure.

What is expected follows from the script: from the text of the model, and from what the server does wrong.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.faults.dialects import DIALECTS, Dialect
from benchmarks.faults.model_text import FURTHER, ModelText, token_limit
from benchmarks.faults.scripts import (
    AT_EVENTS,
    FAILING,
    HOSTILE_LINES,
    NUMBERED_ONLY,
    REPEATING,
    UNORDERED,
    Behaviour,
    Script,
)
from benchmarks.faults.verdict import TurnResult, compare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.faults.dialects import Endpoint
    from benchmarks.faults.scripted_server import ScriptedServer

TIMEOUT = 60.0
"""Timeout of a turn, in seconds."""
LATE_MAX = 1.0
"""By how much a turn may exceed its timeout, in seconds."""
MAX_TOKENS = 200
"""Most tokens of a turn."""
TAKEOVER_TOKENS = 3
"""Most tokens of a takeover."""
REQUESTS_MAX = 8
"""Most requests of a turn with one fault. Without a fault, a turn has three or four."""
FAILING_REQUESTS_MAX = 2 * (16 + 4) + 2
"""Most requests of a turn whose server never does right: for each model, the 16 that may end early, and its own."""
_GARBAGE_EVERY = 5
"""Garbage comes before each fifth event."""
_UNREAD_TEXTS = 4
"""How many events with text a client may read more than the limit of its request: two with repeated white space, and
two before it notices that the limit is exceeded."""
_DIALECTS = {dialect.name: dialect for dialect in DIALECTS}


@dataclass(frozen=True, slots=True)
class Case:
    """One turn with one scripted server.

    Attributes:
        dialect: The name of the dialect.
        strategy: How the client asks the server to continue a turn.
        asynchronous: Whether the client runs on an event loop.
        behaviour: What the server does wrong.
        at: Where it begins, in bytes or events. For garbage, it also selects the line.
    """

    dialect: str
    strategy: str
    asynchronous: bool
    behaviour: Behaviour = Behaviour.NOTHING
    at: int = 0

    def __str__(self) -> str:
        """Return the name of the case."""
        way = "async" if self.asynchronous else "sync"
        return f"{self.dialect}, {self.strategy}, {way}, {self.behaviour} {self.at}"

    @property
    def spoken(self) -> Dialect:
        """The dialect of the server."""
        return _DIALECTS[self.dialect]

    @property
    def model(self) -> ModelText:
        """The text of the model."""
        return ModelText(self.spoken.thinks)

    @property
    def timeout(self) -> float | None:
        """Timeout of the turn, in seconds. None if its requests must end it."""
        return None if self.behaviour is Behaviour.CRUMBS else TIMEOUT

    def script(self) -> Script:
        """Return what the server does."""
        dialect = self.spoken
        endpoint: Endpoint = "completions" if self.strategy == "raw" else "chat"
        comment = b": ping" + dialect.line_end * 2
        politely = (self.at + self.asynchronous) % 2 == 1
        empty = dialect.event(endpoint, "text", "", None)
        return Script(self.behaviour, self.at, politely, comment, empty)

    @property
    def may_fail(self) -> bool:
        """Whether the turn may end with an error."""
        return self.behaviour in FAILING


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case.

    Attributes:
        case: The case.
        lost: Number of characters that are missing.
        doubled: Number of characters that are extra.
        hung: Whether the turn did not end in time.
        over_limit: Whether there were too many tokens or requests.
        untyped: Whether an error came that is none of the package.
        why: What is wrong, in words. Empty if nothing is.
    """

    case: Case
    lost: int = 0
    doubled: int = 0
    hung: bool = False
    over_limit: bool = False
    untyped: bool = False
    why: str = ""


def judged(case: Case, server: ScriptedServer, result: TurnResult, tokens: int, seconds: float) -> Outcome:
    """Compare a turn with what its script allows.

    Args:
        case: The case.
        server: The server after the turn.
        result: The result of the turn.
        tokens: Number of tokens that the turn reports.
        seconds: How long the turn took.
    """
    unordered = case.behaviour in UNORDERED
    any_text = unordered and (result.failure or not server.script.told)
    verdict = compare(result if any_text else _expected(case, result), result)
    hung = case.timeout is not None and seconds > case.timeout + LATE_MAX
    exceeded = _exceeded(case, server, tokens)
    why = [] if verdict.right else [verdict.why]
    why += [f"the turn took {seconds:.1f} s"] if hung else []
    why += [exceeded] if exceeded else []
    why += [] if server.script.occurred else ["the fault did not occur"]
    why += [f"{server.elsewhere} requests went to another host"] if server.elsewhere else []
    return Outcome(case, verdict.lost, verdict.doubled, hung, bool(exceeded), why="; ".join(why))


def shown_text(thought: str, answer: str) -> str:
    """Return a thought and an answer as one text, without white space around them."""
    return f"{thought.strip()}</think>{answer.strip()}"


def _expected(case: Case, result: TurnResult) -> TurnResult:
    """Return what must be shown. If the turn may fail, this is the beginning of it, and any failure is expected."""
    thought, answer = case.model.shown
    if not case.may_fail:
        return TurnResult(shown_text(thought, answer))
    found_thought, _, found_answer = result.text.partition("</think>")
    answer += FURTHER * len(found_answer)
    if not found_answer:
        return TurnResult(shown_text(thought[: len(found_thought)], ""), (), result.failure)
    return TurnResult(shown_text(thought, answer[: len(found_answer)]), (), result.failure)


def _exceeded(case: Case, server: ScriptedServer, tokens: int) -> str:
    """Return the limit that is exceeded, in words."""
    most = FAILING_REQUESTS_MAX if case.may_fail else REQUESTS_MAX
    if len(server.bodies) > most:
        return f"{len(server.bodies)} requests instead of at most {most}"
    if tokens > MAX_TOKENS:
        return f"{tokens} tokens instead of at most {MAX_TOKENS}"
    for body, texts in zip(server.bodies, server.texts, strict=True):
        limit = token_limit(body)
        if limit > MAX_TOKENS:
            return f"a request asked for {limit} tokens"
        if texts > limit + _UNREAD_TEXTS:
            return f"{texts} tokens were read of a request for {limit}"
    return ""


def _repetitions(case: Case) -> tuple[Behaviour, ...]:
    """Return the repetitions that a client can tell from new text of the model."""
    if case.strategy == "raw":  # the client knows the prompt, which is not trimmed
        return (Behaviour.ECHO,)
    told = case.strategy == "chat_instruct"  # it tells the model not to repeat the reply
    return REPEATING if told or case.spoken.repeats else (Behaviour.TRIM,)


def combinations() -> Iterator[Case]:
    """Yield a case without a fault for each dialect and strategy, synchronous and asynchronous."""
    for dialect in DIALECTS:
        for strategy in dialect.strategies:
            for asynchronous in (False, True):
                yield Case(dialect.name, strategy, asynchronous)


def with_faults(case: Case, sent: int, events: int) -> Iterator[Case]:
    """Yield all cases with faults of one dialect and strategy.

    Args:
        case: The case without a fault.
        sent: How many bytes the server sends in it.
        events: How many events the server sends in it.
    """

    def case_with(behaviour: Behaviour, at: int = 0) -> Case:
        return Case(case.dialect, case.strategy, case.asynchronous, behaviour, at)

    yield case
    yield from (case_with(Behaviour.BREAK, at) for at in range(sent))
    for behaviour in Behaviour:
        if behaviour in NUMBERED_ONLY and not case.spoken.counts_on_request:
            continue
        if behaviour in REPEATING and behaviour not in _repetitions(case):
            continue
        if behaviour is Behaviour.GARBAGE:
            places = itertools.product(range(0, events, _GARBAGE_EVERY), range(len(HOSTILE_LINES)))
            yield from (case_with(behaviour, event * len(HOSTILE_LINES) + line) for event, line in places)
        elif behaviour in AT_EVENTS:
            yield from (case_with(behaviour, at) for at in range(events))
        elif behaviour not in {Behaviour.NOTHING, Behaviour.BREAK}:
            yield from (case_with(behaviour, politely) for politely in range(2))
