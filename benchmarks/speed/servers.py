"""Pairs on real servers, compared with the work that the servers report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.speed.figures import Figure, Skipped
from benchmarks.speed.timing import clock
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tqdm import tqdm  # type: ignore[import-untyped]

    from benchmarks.speed.server_halves import Half, Work

TARGET: Final = "<= 1.1"
TOKENS: Final = 200
QUESTIONS: Final = (
    "Explain how a hash table works, what it costs, and when to use a tree instead.",
    "Write a Python function that merges two sorted lists, and explain it step by step.",
    "Explain how a bicycle stays upright, and why it is hard to ride slowly.",
)
_WARM_UP: Final = "Name three rivers."
SMOLLM, QWEN = "smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"


class Timed(NamedTuple):
    """One timed turn.

    Attributes:
        seconds: Time of the turn.
        works: What the engines did for the speculative model and for the target model.
        takeovers: Number of takeovers.
    """

    seconds: float
    works: tuple[Work, Work]
    takeovers: int


@dataclass(frozen=True)
class Paired:
    """A pair of models on real servers.

    Attributes:
        name: Name in the figures.
        halves: The speculative model and the target model.
    """

    name: str
    halves: tuple[Half, Half]

    def timed(self, question: str, tokens: int) -> Timed:
        """Time a turn in non-reasoning mode."""
        small, large = self.halves
        pair = ChatSpeculativeThinking(
            speculative=small.backend,
            target=large.backend,
            policy=DelegationPolicy.non_reasoning(),
            temperature=0,
            max_tokens=tokens,
            draft_verification="off",
        )
        with small.watched(), large.watched():
            began = clock()
            message = pair.invoke(question)
            seconds = clock() - began
        report = message.response_metadata["speculative_thinking"]
        works = [
            half.work(report["usage"][author], read_texts(str(message.text), report["segments"], author))
            for half, author in zip(self.halves, ("speculative", "target"), strict=True)
        ]
        return Timed(seconds, (works[0], works[1]), report["takeovers"])


def read_texts(text: str, segments: Sequence[dict[str, Any]], author: str) -> list[str]:
    """Return the texts that a model had to read: those of the other model before its own last text.

    Args:
        text: The answer. The turn has no thought.
        segments: The segments of the report.
        author: The model.
    """
    answer = [segment for segment in segments if segment["channel"] == "answer"]
    own = [place for place, segment in enumerate(answer) if segment["author"] == author]
    before = answer[: own[-1]] if own else []
    return [text[segment["start"] : segment["end"]] for segment in before if segment["author"] != author]


def measured(name: str, pairs: Iterator[Paired], bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Measure pairs. The value of the figure is that of the last pair; the details list all."""
    figures = {}
    for pair in pairs:
        bar.set_postfix_str(pair.name)
        tokens, questions = (40, QUESTIONS[:1]) if quick else (TOKENS, QUESTIONS)
        figures[pair.name] = overhead(pair, tokens, questions, bar.update)
    last = list(figures.values())[-1]
    listed = {name: figure.as_dict() for name, figure in figures.items()}
    return {name: replace(last, details={**last.details, "pairs": listed})}


def overhead(pair: Paired, tokens: int, questions: Sequence[str], advance: Callable[[], object]) -> Figure:
    """Time one turn per question. Each turn is compared with the work of the engines in the same turn."""
    pair.timed(_WARM_UP, tokens)  # finds out what the servers support, and opens connections
    turns = []
    for question in questions:
        turns.append(pair.timed(question, tokens))
        advance()
    return versus(turns)


def versus(turns: Sequence[Timed]) -> Figure:
    """Return the figure.

    `by_code` is the time of a turn / the time that the engines worked. `by_dropped_and_read_again` is the time that
    they worked / the time that the kept tokens need at the same speed.
    """
    made = [sum(work.seconds for work in turn.works) for turn in turns]
    ideal = [sum(work.ideal_seconds for work in turn.works) for turn in turns]
    requests = sum(work.requests for turn in turns for work in turn.works)
    hand_overs = requests - 2 * len(turns)  # the first request of a model is no hand-over back to it
    again = sum(work.read_again for turn in turns for work in turn.works)
    return Figure.of(
        [turn.seconds / least for turn, least in zip(turns, ideal, strict=True)],
        target=TARGET,
        by_code=median(turn.seconds / done for turn, done in zip(turns, made, strict=True)),
        by_dropped_and_read_again=median(done / least for done, least in zip(made, ideal, strict=True)),
        takeovers=sum(turn.takeovers for turn in turns),
        requests=requests,
        read_again_per_hand_over=again / max(1, hand_overs),
    )


def require(file: Path, advice: str) -> Path:
    """Return a file that must exist.

    Raises:
        Skipped: It does not exist. The message says what to do.
    """
    if not file.exists():
        msg = f"{file}: no such file. {advice}"
        raise Skipped(msg)
    return file
