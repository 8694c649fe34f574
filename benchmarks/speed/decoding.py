"""`decode_vs_generate`: one model that decodes one text, through the backend and by `generate` of transformers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.speed.figures import Figure
from benchmarks.speed.overhead import QWEN
from benchmarks.speed.pairs import Pair
from benchmarks.speed.timing import generate, seconds
from langchain_spec_thinking.backends.base import Request
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tqdm import tqdm  # type: ignore[import-untyped]
    from transformers import PreTrainedModel

    from langchain_spec_thinking import HuggingFaceBackend

TARGET = ">= 1.3"
"""Target of the pocket pair. The larger a model is, the less of its time is left to save."""
NAMES = ("small model", "large model")


def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Measure every available pair. The value of the figure is that of the pocket pair; the details list the others."""
    figures = {}
    for pair, tokens, rounds in _plan(quick=quick):
        bar.set_postfix_str(pair.name)
        figures[pair.name] = decode_gain(pair, tokens, rounds, bar)
    pocket = next(iter(figures.values()))
    pairs = {name: figure.as_dict() for name, figure in figures.items()}
    return {"decode_vs_generate": replace(pocket, details={**pocket.details, "pair": "pocket", "pairs": pairs})}


def _plan(*, quick: bool) -> Iterator[tuple[Pair, int, int]]:
    """Yield pairs with their tokens and rounds, the pocket pair first. No model ends before it reaches its tokens."""
    yield Pair.pocket(endless=True), 20 if quick else 200, 1 if quick else 8
    if quick:
        return
    yield Pair.shaped(quick=False), 100, 6
    if qwen := Pair.paced(*QWEN):
        yield qwen, 30, 3


def decode_gain(pair: Pair, tokens: int, rounds: int, bar: tqdm[None]) -> Figure:
    """Time the decoding of the same tokens by `generate` and by the backend, alternately.

    A sample is the geometric mean of the ratios of the two models. Both programs render the prompt, tokenize it, read
    it and decode the tokens to text. The backend also yields the text of each token as soon as it is there.
    """
    by_model = [_Timed(pair, index, tokens) for index in (0, 1)]
    samples = []
    for number in range(rounds):
        ratios = [timed.round(number) for timed in by_model]
        samples.append(prod(ratios) ** 0.5)
        bar.update()
    models = {name: timed.figure.as_dict() for name, timed in zip(NAMES, by_model, strict=True)}
    return Figure.of(samples, target=TARGET if pair.name == "pocket" else None, tokens=tokens, models=models)


class _Timed:
    """One model whose decoding is timed.

    Args:
        pair: The pair.
        index: 0 is the small model, 1 the large one.
        tokens: How many tokens a text has.
    """

    def __init__(self, pair: Pair, index: int, tokens: int) -> None:
        self._model, self._tokenizer = pair.models[index], pair.tokenizers[index]
        self._pair, self._backend = pair, pair.backends[index]
        self._tokens = tokens
        self._ratios: list[float] = []
        self._times: dict[str, list[float]] = {"generate": [], "backend": []}
        self._same = 0
        self._both("Warm up.", ["generate", "backend"])

    def round(self, number: int) -> float:
        """Decode the answer to a question of its own with both programs. Return the ratio of their times.

        The backend has to read each prompt, because the turns before are forgotten.
        """
        self._pair.forget_turns()
        order = list(self._times) if number % 2 else list(self._times)[::-1]
        texts, times = self._both(f"{number + 1} things to do. Go on.", order)
        self._same += texts["generate"] == texts["backend"]
        for name, value in times.items():
            self._times[name].append(value)
        self._ratios.append(times["generate"] / times["backend"])
        return self._ratios[-1]

    def _both(self, question: str, order: list[str]) -> tuple[dict[str, str], dict[str, float]]:
        texts: dict[str, str] = {}
        programs: dict[str, Callable[[], str]] = {
            "generate": partial(generate, self._model, self._tokenizer, question, "", self._tokens),
            "backend": partial(_write, self._backend, question, self._tokens),
        }

        def run(name: str) -> None:
            texts[name] = programs[name]()

        times = {name: seconds(partial(run, name)) for name in order}
        return texts, times

    @property
    def figure(self) -> Figure:
        """The model's own figure, with the time of a token in milliseconds.

        `same_text` is the share of rounds in which both programs wrote the same text. In 16-bit arithmetic they may
        differ, because two tokens can be almost equally likely.
        """
        per_token = {name: 1e3 * median(times) / self._tokens for name, times in self._times.items()}
        return Figure.of(
            self._ratios,
            ms_per_token=per_token,
            weights_gigabytes=weight_bytes(self._model) / 1e9,
            same_text=self._same / len(self._ratios),
        )


def _write(backend: HuggingFaceBackend, question: str, tokens: int) -> str:
    """Write an answer with the backend, and return its text."""
    turn = Turn((Message("user", question),), thinks=backend.thinks)
    pieces = backend.continue_turn(turn, Request(tokens, temperature=0.0))
    return "".join(getattr(piece, "text", "") for piece in pieces)


def weight_bytes(model: PreTrainedModel) -> int:
    """Return the size of the weights that a pass reads, in bytes. The matrix of the input tokens counts if it is tied.

    A pass over one token cannot be faster than the memory delivers these bytes.
    """
    config = model.config
    unread = [] if config.tie_word_embeddings else list(model.get_input_embeddings().parameters())
    return sum(weight.nbytes for weight in model.parameters()) - sum(weight.nbytes for weight in unread)
