"""`make faults`: injects faults between a small and a large model's clients, and scripted servers and a real one.

No text may be lost or doubled. Scripted servers break, repeat, hide or delay their text in every way (`scripts.py`).
They also send more than they were asked for. What must come of each case follows from its script.

Then a real server is disturbed. First, the server answers each question greedily without faults. Then the same
questions are asked repeatedly through proxies, one for each model, which inject faults into nearly every request. Each
turn must be the same as without faults: the same text, and the same author of each part.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from rich.console import Console
from rich.table import Table
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.faults.faults import STREAK_MAX, Kind, Schedule
from benchmarks.faults.proxy import FaultProxy
from benchmarks.faults.scripted import ScriptedRun, all_cases
from benchmarks.faults.server import MODEL, serving_pocket
from benchmarks.faults.verdict import TurnResult, Verdict, compare
from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend, pocket
from langchain_spec_thinking.backends.local.loading import load_tokenizer
from langchain_spec_thinking.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import AIMessageChunk, BaseMessage
    from transformers import PreTrainedTokenizerBase

QUESTIONS = 5
"""Number of problems to ask. It is no multiple of `len(WAYS)`, so that each problem is asked in all ways."""
MAX_TOKENS = 700
"""Most tokens of a turn."""
AT_ONCE = 4
"""Number of turns that run at the same time. The server itself writes one at a time."""
TIMEOUT = 1.0
"""Timeout of the client in seconds. A stall lasts this long."""
_RETRIES = STREAK_MAX + 7
"""More retries than faults in a row, because a busy machine may be late. The client then times out as for a stall."""
_PROGRESS_EVERY = 0.5
_MUST_BE_NONE = ("lost", "doubled", "wrong_turns", "hung", "over_limit", "untyped", "wrong_cases")
_FAULTS_A_TURN = 5
"""Faults per turn to expect. A lower average means that something is wrong with the run."""


def _invoke(model: ChatSpeculativeThinking, question: str) -> Awaitable[BaseMessage]:
    return asyncio.to_thread(model.invoke, question)


def _ainvoke(model: ChatSpeculativeThinking, question: str) -> Awaitable[BaseMessage]:
    return model.ainvoke(question)


def _stream(model: ChatSpeculativeThinking, question: str) -> Awaitable[BaseMessage]:
    return asyncio.to_thread(lambda: _joined(list(model.stream(question))))


async def _astream(model: ChatSpeculativeThinking, question: str) -> BaseMessage:
    return _joined([chunk async for chunk in model.astream(question)])


def _joined(chunks: Sequence[AIMessageChunk]) -> BaseMessage:
    return chunks[0] + list(chunks[1:])


Way = Callable[[ChatSpeculativeThinking, str], Awaitable["BaseMessage"]]
WAYS: tuple[Way, ...] = (_invoke, _ainvoke, _stream, _astream)
"""The ways to ask for a turn, used in rotation."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn with faults.

    Attributes:
        number: The turn's number. It determines the schedules of faults, the question, and the way to ask.
        faults: Number of faults of each kind that hit the turn.
        verdict: How the turn differs from the turn without faults.
    """

    number: int
    faults: Counter[Kind]
    verdict: Verdict


@dataclass
class Run:
    """Runs turns with faults until enough faults occurred.

    Args:
        server: The server's address.
        faults_min: Number of faults that must occur.
        seed: Seed of the schedules.
        backend: Makes a client for an address.
        progress: Called with the number of faults so far.
        questions: Number of different questions, asked in rotation.
        at_once: Number of turns that run at the same time.

    Attributes:
        turns: The turns with faults, in the order in which they ended.
    """

    server: str
    faults_min: int
    seed: int
    backend: Callable[[str], OpenAIBackend]
    progress: Callable[[int], Any] = lambda _: None
    questions: int = QUESTIONS
    at_once: int = AT_ONCE
    turns: list[Turn] = field(default_factory=list)
    _injected: list[Counter[Kind]] = field(default_factory=list)  # one counter for each proxy, which the proxy updates

    async def run(self) -> None:
        """Run all turns."""
        references = await self._references()
        numbers = itertools.takewhile(lambda _: self._unfinished, itertools.count())
        async with httpx2.AsyncClient(base_url=self.server.removesuffix("/v1"), timeout=60, trust_env=False) as server:

            async def work() -> None:
                for number in numbers:
                    self.turns.append(await self._run_with_faults(number, server, *references[number % self.questions]))

            at_work = asyncio.gather(*(work() for _ in range(self.at_once)))
            while not at_work.done():
                await asyncio.wait([at_work], timeout=_PROGRESS_EVERY)
                self.progress(self.faults.total())
            await at_work

    @property
    def faults(self) -> Counter[Kind]:
        """Number of faults of each kind that occurred."""
        return sum(self._injected, Counter())

    @property
    def _unfinished(self) -> bool:
        return self.faults.total() < self.faults_min and len(self.turns) * _FAULTS_A_TURN < max(self.faults_min, 20)

    async def _references(self) -> list[tuple[str, TurnResult]]:
        """Return questions in whose turns the large model takes over, each with its turn without faults."""
        found: list[tuple[str, TurnResult]] = []
        for problem in pocket.problems():
            result = await self._run_turn(_invoke, problem.question, self.server, self.server)
            if result.failure:
                msg = f"a turn without faults cannot serve as the reference: {result.failure}"
                raise RuntimeError(msg)
            if "target" in {author for author, _, _ in result.authors}:
                found.append((problem.question, result))
            if len(found) == self.questions:
                return found
        msg = f"the large model took over in {len(found)} turns without faults, expected {self.questions}"
        raise RuntimeError(msg)

    async def _run_with_faults(
        self, number: int, server: httpx2.AsyncClient, question: str, without_faults: TurnResult
    ) -> Turn:
        small, large = (
            FaultProxy(server, Schedule(f"{self.seed}/{number}/{side}"), stall=TIMEOUT * 0.9)
            for side in ("speculative", "target")
        )
        self._injected += [small.injected, large.injected]
        async with small.listening() as speculative, large.listening() as target:
            result = await self._run_turn(WAYS[number % len(WAYS)], question, speculative, target)
        return Turn(number, small.injected + large.injected, compare(without_faults, result))

    async def _run_turn(self, way: Way, question: str, speculative: str, target: str) -> TurnResult:
        model = ChatSpeculativeThinking(
            speculative=self.backend(speculative), target=self.backend(target), temperature=0, max_tokens=MAX_TOKENS
        )
        try:
            return TurnResult.from_message(await way(model, question))
        except BackendError as error:
            return TurnResult.from_error(error)


def client(url: str) -> OpenAIBackend:
    """Return a client for a server with the small pocket model."""
    return OpenAIBackend(MODEL, base_url=url, tokenizer=_tokenizer(), timeout=TIMEOUT, max_retries=_RETRIES)


@cache
def _tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer(MODEL)


def report(run: Run, seconds: float) -> dict[str, Any]:
    """Return all results for a JSON file."""
    wrong = [turn for turn in run.turns if not turn.verdict.right]
    by_kind = {
        str(kind): {
            "faults": run.faults[kind],
            "turns": sum(turn.faults[kind] > 0 for turn in run.turns),
            "wrong_turns": sum(turn.faults[kind] > 0 for turn in wrong),
        }
        for kind in Kind
    }
    return {
        "faults": run.faults.total(),
        "lost": sum(turn.verdict.lost for turn in run.turns),
        "doubled": sum(turn.verdict.doubled for turn in run.turns),
        "by_kind": by_kind,
        "turns": len(run.turns),
        "wrong_turns": {str(turn.number): turn.verdict.why for turn in wrong},
        "wanted": run.faults_min,
        "seed": run.seed,
        "seconds": round(seconds, 1),
    }


def with_cases(found: dict[str, Any], scripted: ScriptedRun) -> dict[str, Any]:
    """Return the results with those of the scripted servers. Characters that were lost or doubled are added up."""
    figures = scripted.figures()
    return {**found, **figures, **{key: found[key] + figures[f"cases_{key}"] for key in ("lost", "doubled")}}


def passed(found: dict[str, Any]) -> bool:
    """Return whether enough faults occurred, and none of them changed a turn or exceeded a limit."""
    return found["faults"] >= found["wanted"] and not any(found.get(key) for key in _MUST_BE_NONE)


def show(found: dict[str, Any], console: Console) -> None:
    """Print the results."""
    table = Table(title=f"{found['turns']} turns with faults, {found['seconds']:.0f} s, seed {found['seed']}")
    for heading in ("fault", "injected", "turns", "wrong turns"):
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    for kind, figures in found["by_kind"].items():
        table.add_row(kind, str(figures["faults"]), str(figures["turns"]), str(figures["wrong_turns"]))
    table.add_section()
    table.add_row("all", str(found["faults"]), str(found["turns"]), str(len(found["wrong_turns"])))
    console.print(table)
    console.print(
        f"{found['faults']} faults (at least {found['wanted']} expected): "
        f"{found['lost']} characters lost, {found['doubled']} doubled."
    )
    console.print(
        "The proxy numbered the events, because this server does not. "
        "Without numbers, repeated events cannot be detected."
    )
    for number, why in found["wrong_turns"].items():
        console.print(f"turn {number}: {why}")


def show_cases(found: dict[str, Any], console: Console) -> None:
    """Print the results of the scripted servers."""
    table = Table(title=f"{found['cases']} cases with scripted servers, {found['cases_seconds']:.0f} s")
    for heading in ("what the server does", "cases", "wrong"):
        table.add_column(heading, justify="left" if heading == "what the server does" else "right")
    for behaviour, figures in found["by_behaviour"].items():
        table.add_row(behaviour, str(figures["cases"]), str(figures["wrong"]))
    table.add_section()
    table.add_row("all", str(found["cases"]), str(found["wrong_cases_count"]))
    console.print(table)
    console.print(
        f"{found['cases_lost']} characters lost, {found['cases_doubled']} doubled, {found['hung']} turns hung, "
        f"{found['over_limit']} exceeded a limit, {found['untyped']} untyped errors."
    )
    for case, why in found["wrong_cases"].items():
        console.print(f"{case}: {why}")


def run_cases(only: str = "", most: int | None = None, seed: int = 0) -> ScriptedRun:
    """Run the cases with scripted servers whose name contains `only`.

    Args:
        only: A part of the name.
        most: How many of these cases to run. They are drawn at random. None: all.
        seed: Seed of the choice.
    """
    cases = [case for case in all_cases() if only in str(case)]
    if most is not None and most < len(cases):
        # A fixed step would not do: whether the number of a byte is even decides how the stream breaks.
        cases = random.Random(seed).sample(cases, most)  # noqa: S311 - repeatable, not secret
    with tqdm(total=len(cases), desc="cases", unit="") as bar:
        return ScriptedRun.of(cases, bar.update)


def run_turns(faults: int, seed: int) -> Run:
    """Run the turns with faults between the client and a real server."""
    with serving_pocket() as server, tqdm(total=faults, desc="faults", unit="") as bar:
        run = Run(server, faults, seed, client, lambda found: bar.update(found - bar.n))
        asyncio.run(run.run())
    return run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Inject faults between the client and scripted and real servers.")
    parser.add_argument("--out", type=Path, default=Path("build/faults.json"), help="JSON file")
    parser.add_argument(
        "--faults", type=int, default=1000, help="number of faults of the real server; 0: do not start it"
    )
    parser.add_argument("--cases", type=int, help="number of scripted cases, drawn at random; default: all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the schedules and of the drawn cases")
    parser.add_argument("--only", default="", help="run only cases whose name contains this, and no real server")
    options = parser.parse_args(arguments)
    faults = 0 if options.only else options.faults
    scripted = run_cases(options.only, options.cases, options.seed)
    began = time.monotonic()
    run = run_turns(faults, options.seed) if faults else Run("", 0, options.seed, client)
    found = with_cases(report(run, time.monotonic() - began), scripted)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    console = Console(highlight=False)
    show_cases(found, console)
    if faults:
        show(found, console)
    return 0 if passed(found) else 1


if __name__ == "__main__":
    sys.exit(main())
