"""Runs turns with scripted servers: on all cores, without a model, without sockets, and in no real time."""

from __future__ import annotations

import asyncio
import faulthandler
import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.faults.cases import (
    MAX_TOKENS,
    TAKEOVER_TOKENS,
    Case,
    Outcome,
    combinations,
    judged,
    shown_text,
    with_faults,
)
from benchmarks.faults.scripted_server import HungError, ScriptedServer
from benchmarks.faults.server import MODEL
from benchmarks.faults.verdict import TurnResult
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, OpenAIBackend
from langchain_spec_thinking.backends.local.loading import load_tokenizer
from langchain_spec_thinking.errors import BackendError
from tests.unit_tests.fake_time import FakeTime, FakeTimeLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from langchain_core.messages import BaseMessage
    from transformers import PreTrainedTokenizerBase

_QUESTION = "What are two and two?"
_CASES_AT_ONCE = 200
"""Number of cases that a process runs before it reports them."""
_STUCK_SECONDS = 300
"""Real seconds after which a process that runs some cases ends, with the stacks of its threads."""
_LOST_TARGET = "the large model failed"
_SHOWN_MAX = 50
"""Most wrong cases of which the file contains the reason."""


class _Loop(FakeTimeLoop):
    """An event loop without threads: time would pass while it waits for a thread."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # noqa: ANN401, ARG002
        """Call a function at once. The SDK asks for the platform in a thread."""
        future = self.create_future()
        future.set_result(func(*args))
        return future


class Runner:
    """Runs cases in this process, one after the other.

    Args:
        kind: The class of the clients.
    """

    def __init__(self, kind: type[OpenAIBackend] = OpenAIBackend) -> None:
        self._kind = kind
        self._time = FakeTime()
        self._loop = asyncio.Runner(loop_factory=lambda: _Loop(self._time))
        self._unhandled: list[str] = []

    def __enter__(self) -> Runner:  # noqa: PYI034 - no subclass
        """Begin to run cases."""
        self._loop.get_loop().set_exception_handler(lambda _, context: self._unhandled.append(str(context)))
        return self

    def __exit__(self, *_: object) -> None:
        """Close the event loop."""
        self._loop.close()

    def without_fault(self, case: Case) -> ScriptedServer:
        """Run a case without a fault. Return its server.

        Raises:
            RuntimeError: The turn is not as it must be, so no case with a fault says anything.
        """
        server = ScriptedServer(case.spoken, case.script(), self._time)
        outcome, authors = self._outcome(case, server)
        if outcome.why or "target" not in authors:
            msg = f"{case}: a turn without faults failed: {outcome.why or 'the large model wrote no part of it'}"
            raise RuntimeError(msg)
        return server

    def run(self, case: Case) -> Outcome:
        """Run a case."""
        return self._outcome(case, ScriptedServer(case.spoken, case.script(), self._time))[0]

    def _outcome(self, case: Case, server: ScriptedServer) -> tuple[Outcome, set[str]]:
        began, authors, tokens = self._time.seconds, set[str](), 0
        self._unhandled.clear()
        try:
            message = self._ask(self._pair(case, server), asynchronous=case.asynchronous)
            result, authors, tokens = _read(message)
        except BackendError as error:
            result = TurnResult(shown_text(error.thinking, error.answer), (), f"{type(error).__name__}: {error}")
        except HungError:
            return Outcome(case, hung=True, why="the client reads a stream that does not end"), authors
        except Exception as error:  # noqa: BLE001 - it is what the case looks for
            return Outcome(case, untyped=True, why=f"{type(error).__name__}: {error}"[:300]), authors
        if self._unhandled:
            return Outcome(case, untyped=True, why=self._unhandled[0][:300]), authors
        return judged(case, server, result, tokens, self._time.seconds - began), authors

    def _ask(self, pair: ChatSpeculativeThinking, *, asynchronous: bool) -> BaseMessage:
        return self._loop.run(pair.ainvoke(_QUESTION)) if asynchronous else pair.invoke(_QUESTION)

    def _pair(self, case: Case, server: ScriptedServer) -> ChatSpeculativeThinking:
        small, large = (self._backend(case, server) for _ in range(2))
        policy = DelegationPolicy(takeover_tokens=TAKEOVER_TOKENS, recap_sentence="")
        pair = ChatSpeculativeThinking(
            speculative=small, target=large, policy=policy, max_tokens=MAX_TOKENS, timeout=case.timeout
        )
        return self._time.of(pair)

    def _backend(self, case: Case, server: ScriptedServer) -> OpenAIBackend:
        transport, atransport = httpx2.MockTransport(server), httpx2.MockTransport(server.acall)
        return self._kind(
            "big",
            base_url=server.address,
            api_key="no key",
            continuation=case.strategy,  # type: ignore[arg-type]
            tokenizer=_tokenizer() if case.strategy == "raw" else None,
            thinking=case.spoken.thinks,
            http_client=httpx2.Client(transport=transport, trust_env=False),
            http_async_client=httpx2.AsyncClient(transport=atransport, trust_env=False),
        )


def _read(message: BaseMessage) -> tuple[TurnResult, set[str], int]:
    """Return the result of a turn, the authors of its parts, and the number of its tokens."""
    report: dict[str, Any] = message.response_metadata["speculative_thinking"]
    thought = "".join(block["reasoning"] for block in message.content_blocks if block["type"] == "reasoning")
    lost = [note for note in report["degraded"] if note.startswith(_LOST_TARGET)]
    authors = {segment["author"] for segment in report["segments"]}
    tokens = sum(segment["tokens"] for segment in report["segments"])
    return TurnResult(shown_text(thought, message.text), (), "; ".join(lost) or None), authors, tokens


@cache
def _tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer(MODEL)


def all_cases() -> list[Case]:
    """Return all cases. Each dialect and strategy runs once without a fault, which tells how much the server sends."""
    cases: list[Case] = []
    with Runner() as runner:
        for case in combinations():
            server = runner.without_fault(case)
            cases += with_faults(case, server.script.sent, server.script.events)
    return cases


def run_batch(cases: Iterable[Case]) -> list[Outcome]:
    """Run some cases in this process."""
    faulthandler.dump_traceback_later(_STUCK_SECONDS, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        with Runner() as runner:
            return [runner.run(case) for case in cases]
    finally:
        faulthandler.cancel_dump_traceback_later()


def run_on_all_cores(cases: list[Case]) -> Iterator[Outcome]:
    """Run cases on all cores. Yield what comes of them as they end."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context) as pool:
        starts = range(0, len(cases), _CASES_AT_ONCE)
        batches = [pool.submit(run_batch, cases[start : start + _CASES_AT_ONCE]) for start in starts]
        for batch in as_completed(batches):
            yield from batch.result()


@dataclass
class ScriptedRun:
    """What came of all cases.

    Attributes:
        outcomes: The outcomes.
        seconds: How long the cases took.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def of(cls, cases: list[Case], progress: Callable[[int], Any]) -> ScriptedRun:
        """Run cases on all cores.

        Args:
            cases: The cases.
            progress: Called with a number of further cases that have ended.
        """
        began, run = time.monotonic(), cls()
        for outcome in run_on_all_cores(cases):
            run.outcomes.append(outcome)
            progress(1)
        run.seconds = time.monotonic() - began
        return run

    @property
    def wrong(self) -> list[Outcome]:
        """The outcomes that are not as they must be."""
        return sorted((outcome for outcome in self.outcomes if outcome.why), key=lambda outcome: str(outcome.case))

    def figures(self) -> dict[str, Any]:
        """Return the figures for the file."""
        behaviours = Counter(str(outcome.case.behaviour) for outcome in self.outcomes)
        wrong = Counter(str(outcome.case.behaviour) for outcome in self.wrong)
        return {
            "cases": len(self.outcomes),
            "hung": sum(outcome.hung for outcome in self.outcomes),
            "over_limit": sum(outcome.over_limit for outcome in self.outcomes),
            "untyped": sum(outcome.untyped for outcome in self.outcomes),
            "by_behaviour": {name: {"cases": count, "wrong": wrong[name]} for name, count in behaviours.items()},
            "wrong_cases_count": len(self.wrong),
            "wrong_cases": {str(outcome.case): outcome.why for outcome in self.wrong[:_SHOWN_MAX]},
            "cases_lost": sum(outcome.lost for outcome in self.outcomes),
            "cases_doubled": sum(outcome.doubled for outcome in self.outcomes),
            "cases_seconds": round(self.seconds, 1),
        }
