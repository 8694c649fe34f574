"""A gated pair with each vendor's server: every request to the large model brings an answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.pays.figures import PRICES, pair_figures
from benchmarks.pays.vendor_servers import VENDORS, Vendor
from benchmarks.pocket.problems import problems
from langchain_spec_thinking import Agreement, Backend, ChatSpeculativeThinking, DelegationPolicy, NoTakeovers
from langchain_spec_thinking.backends.base import End, Piece, Request, Usage
from langchain_spec_thinking.evaluation import Question, Variant, alone, evaluate
from langchain_spec_thinking.testing import words

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from benchmarks.pays.progress import OnTurn
    from langchain_spec_thinking.backends.base import Event
    from langchain_spec_thinking.turn import Turn

QUESTIONS, QUICK_QUESTIONS = 60, 6
GATED = "gated"
_UNSURE_EACH, _WRONG_EACH = 3, 20
"""The small model is unsure of one question in 3. To one question in 20 it is sure of a wrong answer instead."""


@dataclass(repr=False)
class ScriptedSmallModel(Backend):
    """A small model that is right, or unsure, or sure and wrong. Its samples differ from its attempt if it is unsure.

    Attributes:
        answers: By question, the answer of the attempt and the answer of each sample.
        name: The name of the model.
    """

    answers: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    name: str = "scripted"
    thinks: bool = True

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Write a thought and the answer. Only samples have the temperature of `Agreement`."""
        attempt, sample = self.answers[turn.history[-1].content]
        answer = sample if request.temperature == Agreement.temperature else attempt
        yield Usage(prompt_tokens=len(words(turn.history[-1].content)))
        for token in words(f"I work it out.\n</think>\n\n{answer}"):
            yield Piece(token, 1)
        yield End("stop")


def measure(folder: Path, on_turn: OnTurn, *, quick: bool) -> dict[str, Any]:
    """Return the figures of a scripted pair with each vendor's server, by name."""
    count = QUICK_QUESTIONS if quick else QUESTIONS
    found = {}
    for kind in VENDORS:
        # The requests are counted, so the runs always start anew.
        with TemporaryDirectory(dir=folder) as runs:
            found[f"scripted, {kind.name}"] = vendor_figures(kind, Path(runs), count)
        on_turn(kind.name, 3 * count)
    return found


def turns(*, quick: bool) -> int:
    """Return how many turns `measure` runs."""
    return 3 * len(VENDORS) * (QUICK_QUESTIONS if quick else QUESTIONS)


def vendor_figures(kind: type[Vendor], folder: Path, count: int = QUESTIONS) -> dict[str, Any]:
    """Return the figures of a gated pair whose large model is behind a vendor's server, and what its requests brought.

    `requests` counts those of the gated pair: all of them, those that were refused, and those that were answered
    without text. The models are scripts, so the accuracies say nothing about real models.
    """
    questions = vendor_questions(count)
    vendor = kind({question.question: f"\\boxed{{{question.answer}}}" for question in questions}.__getitem__)
    model = scripted_pair(questions, vendor.backend())
    gated = evaluate(questions, [Variant(GATED, model)], folder, concurrency=1)
    sent = vendor.received[:]
    small = alone(model, "speculative", "small")
    update = {"speculative": model.target, "policy": DelegationPolicy(trigger=NoTakeovers())}
    large = Variant("large", model.model_copy(update=update), "target")
    others = evaluate(questions, [small, large], folder, concurrency=1)
    found = replace(
        others, outcomes={**others.outcomes, **gated.outcomes}, alone={**others.alone, **gated.alone}, prices=PRICES
    )
    refused = sum(request.refused for request in sent)
    empty = sum(not request.refused and not request.characters for request in sent)
    return {
        **pair_figures(found, GATED),
        "scripted": True,
        "requests": {"sent": len(sent), "refused": refused, "without_text": empty},
    }


def scripted_pair(questions: Sequence[Question], target: Backend, **settings: Any) -> ChatSpeculativeThinking:
    """Return a gated pair with a scripted small model. The vendors choose temperature and top-p themselves."""
    fields: dict[str, Any] = {"temperature": None, "top_p": None, **settings}
    small = ScriptedSmallModel(_answers(questions))
    return ChatSpeculativeThinking(speculative=small, target=target, policy=DelegationPolicy.gated(), **fields)


def _answers(questions: Sequence[Question]) -> dict[str, tuple[str, str]]:
    found = {}
    for number, question in enumerate(questions):
        right, wrong, other = (f"\\boxed{{{int(question.answer) + offset}}}" for offset in (0, 1, 2))
        unsure = (wrong, other) if number % _UNSURE_EACH == 0 else (right, right)
        found[question.question] = (wrong, wrong) if number % _WRONG_EACH == 1 else unsure
    return found


def vendor_questions(count: int) -> list[Question]:
    """Return problems of the pocket kind."""
    chosen = islice(problems(1, "held_out"), count)
    return [Question(str(number), problem.text, str(problem.answer)) for number, problem in enumerate(chosen)]
