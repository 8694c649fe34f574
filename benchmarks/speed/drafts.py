"""`takeover_speedup` (target segments with drafts and without) and `prefetch_saves` (time until a takeover begins)."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage

from benchmarks.speed.figures import Figure
from benchmarks.speed.overhead import QWEN
from benchmarks.speed.pairs import TAKEOVER, Pair
from langchain_spec_thinking import DelegationPolicy, pocket
from langchain_spec_thinking.drivers import drive
from langchain_spec_thinking.policy.cues import Cue
from langchain_spec_thinking.policy.triggers import Draft, Trigger
from langchain_spec_thinking.report import TakeoverStart
from langchain_spec_thinking.turn_events import Delta

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tqdm import tqdm  # type: ignore[import-untyped]

    from langchain_spec_thinking.backends.local.drafts import DraftPace
    from langchain_spec_thinking.turn_runs import AnyRun

TARGET = ">= 1.5"
_WORDS = 8
_PARAGRAPHS = DelegationPolicy.non_reasoning(opening_tokens=40, takeover_tokens=60)
"""The policy of non-reasoning mode, because neither Qwen model reasons. The target begins every paragraph, so the
default of 20 tokens would be too few."""


class EightWords(Trigger):
    """Takes over after eight words of a draft, whatever they are. This is as late as a cue may come."""

    def examine(self, draft: Draft) -> Cue | None:
        """Return a cue if the draft has eight words."""
        return Cue("", "trigger", 0) if len(draft.sentence.split()) >= _WORDS else None


def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Measure both figures. `takeover_speedup` uses real models of one family if they are available."""
    pair = (None if quick else Pair.real(*QWEN)) or Pair.pocket()
    return {
        "takeover_speedup": takeover_speedup(pair, 1 if quick else 3, 60 if quick else 100, bar),
        "prefetch_saves": prefetch_gain(Pair.shaped(quick=quick), 1 if quick else 4, 150 if quick else 300, bar),
    }


def takeover_speedup(pair: Pair, questions: int, tokens: int, bar: tqdm[None]) -> Figure:
    """Time the target's tokens without drafts and with them, in turns of `tokens` tokens.

    In the details, `accepted_share` is the share of the target's tokens that come from drafts, and `same_text` the
    share of the questions for which both turns have the same text. `paces` holds what each turn measured to decide
    whether its drafts pay.
    """
    ratios, shares, same, paces = [], [], [], []
    for number, question in enumerate(problem.question for problem in pocket.problems()[:questions]):
        order: Sequence[Any] = ("off", "ahead") if number % 2 else ("ahead", "off")
        runs = {}
        for which in order:
            chat = pair.chat(policy=_PARAGRAPHS, draft_verification=which, max_tokens=tokens)
            runs[which] = _run(chat.new_run([HumanMessage(question)]))
            bar.update()
        ratios.append(_seconds_per_token(runs["off"]) / _seconds_per_token(runs["ahead"]))
        shares.append(runs["ahead"].report.drafts.accepted_tokens / max(1, _target_tokens(runs["ahead"])))
        target = pair.backends[1]
        paces.append(_described(target._model.turn_cache(runs["ahead"].turn, target._template).draft_pace))  # noqa: SLF001
        same.append(runs["off"].turn.body() == runs["ahead"].turn.body())
    return Figure.of(
        ratios,
        target=TARGET,
        pair=pair.name,
        accepted_share=median(shares),
        same_text=sum(same) / len(same),
        paces=paces,
    )


def _described(pace: DraftPace) -> dict[str, float]:
    """Return the terms of the formula in `backends/local/drafts.py`: means of a draft, with times in target tokens.

    Drafts pay if the large model is more than `break_even` times slower per token than the small one. This key is
    missing if no small model is fast enough.
    """
    if not (pace.drafts and pace.drafted and pace.pass_seconds):
        return {}
    token = median(pace.pass_seconds)
    drafted, written, check = (n / pace.drafts for n in (pace.drafted, pace.written, pace.check_seconds / token))
    return {
        "drafts": pace.drafts,
        "drafted": drafted,
        "written": written,
        "drafted_token": pace.draft_seconds / pace.drafted / token,
        "check": check,
        "speedup": pace.speedup,
        **({"break_even": drafted / (written - check)} if written > check else {}),
    }


def _run(run: AnyRun) -> AnyRun:
    for _ in drive(run):
        pass
    return run


def _target_tokens(run: AnyRun) -> int:
    return sum(segment.tokens for segment in run.report.segments if segment.author == "target")


def _seconds_per_token(run: AnyRun) -> float:
    """Return the seconds per token of the target's segments, including the speculative model's drafts inside them."""
    seconds = sum(segment.seconds for segment in run.report.segments if segment.author == "target")
    return seconds / max(1, _target_tokens(run))


def prefetch_gain(pair: Pair, rounds: int, tokens: int, bar: tqdm[None]) -> Figure:
    """Measure the time from a takeover to its first text, without prefetching / with prefetching.

    The detail `whole_turn` is the same ratio for the time of the whole turn. Both models share one device here, so
    prefetching slows down the model that writes at the same time.
    """
    policy = DelegationPolicy(trigger=EightWords(), takeover_tokens=TAKEOVER)
    waits, whole = [], []
    for number in range(rounds):
        order: Sequence[Any] = ("off", "on") if number % 2 else ("on", "off")
        measured = {}
        for which in order:
            chat = pair.chat(policy=policy, prefetch=which, max_tokens=tokens)
            run = chat.new_run([HumanMessage("Go on.")])
            measured[which] = median(_waits(run)), run.report.seconds
            bar.update()
        waits.append(measured["off"][0] / measured["on"][0])
        whole.append(measured["off"][1] / measured["on"][1])
    return Figure.of(waits, pair=pair.name, whole_turn=median(whole))


def _waits(run: AnyRun) -> Iterator[float]:
    """Write a turn. Yield the time from the start of each takeover to its first text, in seconds."""
    began: float | None = None
    for event in drive(run):
        if isinstance(event, TakeoverStart):
            began = time.perf_counter()
        elif began is not None and isinstance(event, Delta):
            yield time.perf_counter() - began
            began = None
