"""`compile_speedup`: the passes of one turn as usual, compared with recorded ones (`compile=True`)."""

from __future__ import annotations

import re
from collections import OrderedDict
from contextlib import contextmanager
from math import prod
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.speed.decoding import NAMES, weight_bytes
from benchmarks.speed.figures import Figure
from benchmarks.speed.timing import clock
from langchain_spec_thinking.backends.local.batched_forward import BatchedForward
from langchain_spec_thinking.backends.local.cache_argument import CacheArgument
from langchain_spec_thinking.backends.local.kv_cache import TurnCache
from langchain_spec_thinking.backends.local.recorded_pass import recorder_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from tqdm import tqdm  # type: ignore[import-untyped]
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from benchmarks.speed.pairs import Pair
    from langchain_spec_thinking.backends.local.recorded_pass import Recorder

_PROMPT = 40
"""Length of the prompt, in tokens. The ids are those of the first tokens of the vocabulary."""


def compile_gain(
    pair: Pair,
    tokens: int,
    rounds: int,
    bar: tqdm[None],
    recorder: Callable[[torch.device], Recorder] = recorder_for,
) -> Figure:
    """Time how long each model of a pair takes to write a text, alternately as usual and with recorded passes.

    The time in which CUDA graphs are recorded counts. The time of `torch.compile` does not, because it is spent
    when the model is loaded. A sample is the geometric mean of the ratios of the two models.
    """
    samples, models = [], {}
    by_model = [
        _Timed(model, tokenizer, tokens, recorder(model.device))
        for model, tokenizer in zip(pair.models, pair.tokenizers, strict=True)
    ]
    for number in range(rounds):
        samples.append(prod(timed.round(number) for timed in by_model) ** 0.5)
        bar.update()
    models = {name: timed.figure.as_dict() for name, timed in zip(NAMES, by_model, strict=True)}
    return Figure.of(samples, tokens=tokens, models=models)


class _Timed:
    """One model whose passes are timed.

    Args:
        model: The model. Its hooks do not run meanwhile, because a recorded pass would not run them.
        tokenizer: Its tokenizer.
        tokens: How many tokens a text has.
        recorder: Records the passes.

    Raises:
        RuntimeError: The model cannot be recorded.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: int, recorder: Recorder
    ) -> None:
        self._model, self._tokenizer, self._tokens = model, tokenizer, tokens
        self._argument = CacheArgument.of(model)
        self._times: dict[str, list[float]] = {"usual": [], "recorded": []}
        self._same = 0
        with _without_hooks(model):
            self._forwards = {name: BatchedForward(self._argument) for name in self._times}
            if problem := self._forwards["recorded"].record_passes(recorder):
                raise RuntimeError(problem)
            for forward in self._forwards.values():  # loads whatever is loaded at first use
                self._write(forward, 3)

    def round(self, number: int) -> float:
        """Write a text both ways. Return the ratio of the times."""
        order = list(self._times) if number % 2 else list(self._times)[::-1]
        texts = {}
        with _without_hooks(self._model):
            for name in order:
                began = clock()
                texts[name] = self._write(self._forwards[name], self._tokens)
                self._times[name].append(clock() - began)
        self._same += texts["usual"] == texts["recorded"]
        return self._times["usual"][-1] / self._times["recorded"][-1]

    def _write(self, forward: BatchedForward, tokens: int) -> list[int]:
        cache = TurnCache(self._tokenizer, self._argument, list(range(_PROMPT)), {}, re.compile(r"(?!)"))
        for _ in range(tokens):  # not `append`, because the tokenizer may not know all tokens of the model
            cache.ids.append(int(forward.read(cache)[0].argmax()))
        forward.leave(cache)
        return cache.ids

    @property
    def figure(self) -> Figure:
        """The model's own figure. `same_text` is the share of rounds in which both texts were the same."""
        times = self._times
        return Figure.of(
            [usual / recorded for usual, recorded in zip(times["usual"], times["recorded"], strict=True)],
            ms_per_token={name: 1e3 * median(seconds) / self._tokens for name, seconds in times.items()},
            weights_gigabytes=weight_bytes(self._model) / 1e9,
            same_text=self._same / len(times["usual"]),
        )


@contextmanager
def _without_hooks(model: PreTrainedModel) -> Iterator[None]:
    hooks, model._forward_hooks = model._forward_hooks, OrderedDict()  # noqa: SLF001 - the script of a pair
    try:
        yield
    finally:
        model._forward_hooks = hooks  # noqa: SLF001
