"""Measure how well the doubt of the small model and the scores of the large model predict wrong steps.

`python -m benchmarks.pocket.doubt` also measures how hard the problems are, and how much samples differ. docs/pocket.md
shows the figures.
"""

from __future__ import annotations

import argparse
import random
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import bootstrap, mannwhitneyu  # type: ignore[import-untyped]
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.pocket.alone import LIMIT, asked, evaluate, load
from benchmarks.pocket.problems import Problem, problems
from benchmarks.pocket.written_steps import BOUNDARY, WrittenStep, written_steps
from langchain_spec_thinking.evaluation.statistics import Interval, mean, ratio, wilson
from langchain_spec_thinking.pocket import boxed
from langchain_spec_thinking.policy.scored_step import SCORE_TOKENS
from langchain_spec_thinking.policy.triggers.score import QUESTION, ScoreAndAccept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

BATCH = 50
"""Texts that a model reads at a time."""
SAMPLES = 8
"""Samples of each question."""
SAMPLED_QUESTIONS = 100
TEMPERATURE, TOP_P = 0.8, 0.95
RESAMPLES = 1000
"""Resamples of the questions for the interval of an area."""


@dataclass(frozen=True)
class Prediction:
    """What a predictor said about one step. A higher value should mean that the step is wrong."""

    value: float
    wrong: bool


@dataclass(frozen=True)
class Row:
    """A row of the table. `form` is the format of its numbers."""

    name: str
    found: Interval
    form: str
    cases: str


@dataclass(frozen=True)
class Written:
    """A problem, the output of the small model, and the steps in the output."""

    problem: Problem
    output: str
    steps: tuple[WrittenStep, ...]

    @property
    def right(self) -> bool:
        """Whether the answer is correct."""
        return boxed(self.output) == self.problem.answer


def area(questions: Sequence[Sequence[Prediction]]) -> Interval:
    """Return the area under the ROC curve. Its interval treats questions as the sample, not steps.

    The area is the share of pairs of a wrong and a right step in which the wrong step has the higher value. A pair with
    equal values counts as a half. 0.5 is chance.

    Args:
        questions: The predictions about the steps of each question. At least one step is wrong and one is right.
    """

    def resampled(chosen: np.ndarray) -> float:
        return _area([prediction for index in chosen for prediction in questions[index]])

    indices = np.arange(len(questions))
    found = bootstrap(
        (indices,), resampled, n_resamples=RESAMPLES, vectorized=False, method="percentile", rng=0
    ).confidence_interval
    return Interval(resampled(indices), float(found.low), float(found.high))


def _area(predictions: Sequence[Prediction]) -> float:
    wrong = [prediction.value for prediction in predictions if prediction.wrong]
    right = [prediction.value for prediction in predictions if not prediction.wrong]
    if not wrong or not right:
        return 0.5  # a resample without wrong steps says nothing
    return float(mannwhitneyu(wrong, right).statistic) / (len(wrong) * len(right))


def share(name: str, questions: Sequence[Sequence[bool]]) -> Row:
    """Return the row of a share of steps or samples, which are grouped by question."""
    total = sum(map(len, questions))
    hits = sum(map(sum, questions))
    return Row(name, ratio([sum(one) for one in questions], [len(one) for one in questions]), ".1%", f"{hits}/{total}")


def step_rows(written: Sequence[Written]) -> list[Row]:
    """Return how often steps are wrong, by what follows them."""
    names = {"check": "a check follows", "paragraph": "another paragraph follows", "end": "the thought ends"}
    return [
        share(f"wrong steps if {name}", [[step.wrong for step in one.steps if step.follows == kind] for one in written])
        for kind, name in names.items()
    ]


def area_row(name: str, questions: Sequence[Sequence[Prediction]]) -> Row:
    """Return the row of an area under the ROC curve."""
    wrong = sum(prediction.wrong for one in questions for prediction in one)
    total = sum(map(len, questions))
    return Row(f"AUC of {name}", area(questions), ".2f", f"{wrong} wrong, {total - wrong} right steps")


def difficulty_rows(written: Sequence[Written]) -> list[Row]:
    """Return the accuracy on the easiest and on the hardest third of the problems."""
    ordered = sorted(written, key=lambda one: one.problem.difficulty)
    third = len(ordered) // 3
    return [_third("easiest", ordered[:third]), _third("hardest", ordered[-third:])]


def _third(name: str, written: Sequence[Written]) -> Row:
    right = sum(one.right for one in written)
    low, high = written[0].problem.difficulty, written[-1].problem.difficulty
    return Row(
        f"right in the {name} third, difficulty {low} to {high}",
        wilson(right, len(written)),
        ".1%",
        f"{right}/{len(written)}",
    )


def sample_rows(chosen: Sequence[Problem], outputs: Sequence[Sequence[str]]) -> list[Row]:
    """Return how many different answers the samples of a problem have, and how many samples are right."""
    answers = [[boxed(output) for output in samples] for samples in outputs]
    right = [[one == problem.answer for one in found] for problem, found in zip(chosen, answers, strict=True)]
    different = mean([len(set(found)) for found in answers])
    return [
        Row("different answers in eight samples", different, ".2f", f"{len(chosen)} questions"),
        share("right samples", right),
    ]


def score_rows(predictions: Sequence[Sequence[Prediction]]) -> list[Row]:
    """Return how well low digits predict wrong steps, and how many steps `ScoreAndAccept` rejects by default."""
    rejected = -ScoreAndAccept.threshold
    return [
        area_row("a low score", predictions),
        *(
            share(
                f"{name} steps rejected", [[p.value > rejected for p in one if p.wrong == wrong] for one in predictions]
            )
            for name, wrong in {"wrong": True, "right": False}.items()
        ),
    ]


def to_score(written: Sequence[Written]) -> list[list[WrittenStep]]:
    """Return all wrong steps and equally many right steps, drawn at random, for each problem."""
    places = [(index, step) for index, one in enumerate(written) for step in one.steps]
    wrong = [place for place in places if place[1].wrong]
    right = [place for place in places if not place[1].wrong]
    rng = random.Random(0)  # noqa: S311 - repeatable, not secret
    drawn: list[list[WrittenStep]] = [[] for _ in written]
    for index, step in [*wrong, *rng.sample(right, min(len(wrong), len(right)))]:
        drawn[index].append(step)
    return drawn


def first_digit(reply: str) -> int:
    """Return the digit of a score. `ScoreAndAccept` keeps a step without a digit, so no digit counts as 9."""
    digit = re.search("[0-9]", reply)
    return int(digit[0]) if digit else 9


@torch.inference_mode()
def entropies(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, written: Sequence[Written]
) -> list[list[Prediction]]:
    """Return the entropy of the first token after each step that a paragraph follows, in nats, for each problem."""
    found: list[list[Prediction]] = []
    for start in tqdm(range(0, len(written), BATCH), desc="entropies", unit="batch"):
        rows = written[start : start + BATCH]
        prompts = [asked(tokenizer, one.problem) for one in rows]
        texts = [prompt + one.output for prompt, one in zip(prompts, rows, strict=True)]
        encoded = tokenizer(texts, return_tensors="pt", padding=True)
        logits = model(**encoded.to(model.device)).logits.float()
        entropy = torch.special.entr(logits.softmax(-1)).sum(-1)
        for row, (prompt, one) in enumerate(zip(prompts, rows, strict=True)):
            steps = [step for step in one.steps if step.follows != "end"]
            tokens = [encoded.char_to_token(row, len(prompt) + step.end + len(BOUNDARY)) for step in steps]
            values = [float(entropy[row, token - 1]) for token in tokens]
            found.append([Prediction(value, step.wrong) for value, step in zip(values, steps, strict=True)])
    return found


def replies(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], batch: int, **settings: object
) -> Iterator[str]:
    """Yield what a model writes after each text. `settings` are those of `generate`."""
    for start in tqdm(range(0, len(texts), batch), desc="replies", unit="batch"):
        encoded = tokenizer(list(texts[start : start + batch]), return_tensors="pt", padding=True).to(model.device)
        ids = model.generate(**encoded, pad_token_id=tokenizer.pad_token_id, **settings)
        yield from tokenizer.batch_decode(ids[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)


def samples(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, chosen: Sequence[Problem]) -> list[list[str]]:
    """Return samples of the output for each problem."""
    torch.manual_seed(0)
    texts = [asked(tokenizer, problem) for problem in chosen for _ in range(SAMPLES)]
    drawn = replies(
        model,
        tokenizer,
        texts,
        batch=BATCH * SAMPLES,
        do_sample=True,
        temperature=TEMPERATURE,
        top_p=TOP_P,
        top_k=0,
        max_new_tokens=LIMIT,
    )
    return [list(islice(drawn, SAMPLES)) for _ in chosen]


def scores(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, written: Sequence[Written]
) -> list[list[Prediction]]:
    """Return the predictions of the scores, which are requested as `ScoreAndAccept` requests them."""
    drawn = to_score(written)
    texts = [
        asked(tokenizer, one.problem) + one.output[: step.end] + QUESTION
        for one, steps in zip(written, drawn, strict=True)
        for step in steps
    ]
    answers = replies(model, tokenizer, texts, batch=BATCH, do_sample=False, max_new_tokens=SCORE_TOKENS)
    return scored(drawn, answers)


def scored(drawn: Sequence[Sequence[WrittenStep]], answers: Iterator[str]) -> list[list[Prediction]]:
    """Return the negative score of each step, so that a higher value means a wrong step."""
    return [[Prediction(-first_digit(next(answers)), step.wrong) for step in steps] for steps in drawn]


def measure(folder: Path, count: int) -> list[Row]:
    """Measure the pair in a folder on held-out problems."""
    model, tokenizer = load(folder / "pocket-small")
    chosen = list(islice(problems(0, "held_out"), count))
    outputs = evaluate(model, tokenizer, count).outputs
    written = [
        Written(problem, output, tuple(written_steps(problem, output)))
        for problem, output in zip(chosen, outputs, strict=True)
    ]
    checks = [
        [Prediction(step.follows == "check", step.wrong) for step in one.steps if step.follows != "end"]
        for one in written
    ]
    sampled = chosen[:SAMPLED_QUESTIONS]
    return [
        *step_rows(written),
        area_row("a check", checks),
        area_row("the entropy", entropies(model, tokenizer, written)),
        *difficulty_rows(written),
        *sample_rows(sampled, samples(model, tokenizer, sampled)),
        *score_rows(scores(*load(folder / "pocket-large"), written)),
    ]


def table(rows: Sequence[Row]) -> Table:
    """Return the table of the command."""
    drawn = Table("figure", "value", "95% interval", "cases", title="Doubt of the pocket pair")
    for row in rows:
        value, low, high = (format(number, row.form) for number in (row.found.value, row.found.low, row.found.high))
        drawn.add_row(row.name, value, f"{low} to {high}", row.cases)
    return drawn


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Measure the doubt and the scores of the pocket pair.")
    parser.add_argument(
        "--models",
        type=Path,
        default=Path("langchain_spec_thinking/pocket"),
        help="folder that holds pocket-small/ and pocket-large/",
    )
    parser.add_argument("--problems", type=int, default=500, help="held-out problems")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    Console().print(table(measure(options.models, options.problems)))


if __name__ == "__main__":
    main()
