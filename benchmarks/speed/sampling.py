"""`samples_2_vs_1`: two samples of one prompt that a local model draws at the same time, compared with one."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from langchain_core.messages import HumanMessage

from benchmarks.speed.figures import Figure
from benchmarks.speed.pairs import Pair
from benchmarks.speed.timing import seconds
from langchain_spec_thinking import DelegationPolicy, NoTakeovers
from langchain_spec_thinking.deadline import Deadline
from langchain_spec_thinking.drivers import drive
from langchain_spec_thinking.run import Run
from langchain_spec_thinking.samples import SampleThreads

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from tqdm import tqdm  # type: ignore[import-untyped]
    from transformers import PreTrainedModel

    from langchain_spec_thinking import ChatSpeculativeThinking

TARGET = "<= 1.4"
_ALONE = DelegationPolicy(trigger=NoTakeovers("speculative"))
_QUESTION = "Two people share a cake and want to be fair. Explain what each of them should do, and why it is fair."


def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Measure the small model of every pair.

    The value of the figure is the value of the pair with scripted text, the larger one. The details list both.
    """
    plan = [(Pair.pocket(endless=True), 20 if quick else 300, 1 if quick else 8)]
    if not quick:
        plan.append((Pair.shaped(quick=False), 150, 6))
    figures = {}
    for pair, tokens, rounds in plan:
        bar.set_postfix_str(pair.name)
        figures[pair.name] = samples_cost(pair, tokens, rounds, bar)
    name, figure = list(figures.items())[-1]
    pairs = {name: figure.as_dict() for name, figure in figures.items()}
    return {"samples_2_vs_1": replace(figure, details={**figure.details, "pair": name, "pairs": pairs})}


def samples_cost(pair: Pair, tokens: int, rounds: int, bar: tqdm[None]) -> Figure:
    """Time one sample and two samples of as many tokens each, alternately. The small model draws them.

    The samples are drawn by the threads that draw those of `Agreement`. In the details, `passes` is the number of
    forward passes of two samples / of one, and `prompt_reads` says how often two samples read the prompt. Both are
    counted in runs of their own. The second sample reads the last token of the prompt again.
    """
    draw = _Drawing(pair, tokens)
    draw.seconds(2)  # loads whatever is loaded at first use
    samples = []
    for number in range(rounds):
        order = (1, 2) if number % 2 else (2, 1)
        times = {count: draw.seconds(count) for count in order}
        samples.append(times[2] / times[1])
        bar.update()
    with read_tokens(pair.models[0]) as one:
        draw.seconds(1)
    with read_tokens(pair.models[0]) as two:
        draw.seconds(2)
    prompt = one[0]
    return Figure.of(
        samples,
        target=TARGET,
        tokens=tokens,
        passes=len(two) / len(one),
        prompt_reads=(sum(two) - 2 * (sum(one) - prompt)) / prompt,
        ms_per_token=1e3 * median(draw.times[1]) / draw.written,
    )


class _Drawing:
    """Draws samples of the small model.

    Args:
        pair: The pair. Its small model must not end before it reaches the tokens.
        tokens: Token limit of each sample.

    Attributes:
        written: Tokens of the last sample.
        times: Times in seconds, by the number of samples.
    """

    def __init__(self, pair: Pair, tokens: int) -> None:
        settings = {"policy": _ALONE, "temperature": 0.6, "max_tokens": tokens}
        self._pair = pair
        self._chats = [pair.chat(seed=seed, **settings) for seed in (0, 1)]
        self.written = 0
        self.times: dict[int, list[float]] = {1: [], 2: []}

    def seconds(self, count: int) -> float:
        """Draw samples of one question. Return the time until all are written, in seconds."""
        self._pair.forget_turns()
        runs = [_run(chat) for chat in self._chats[:count]]
        taken = seconds(lambda: _draw(runs))
        self.written = runs[0].report.usage["speculative"].completion_tokens
        self.times[count].append(taken)
        return taken


def _run(chat: ChatSpeculativeThinking) -> Run:
    run = chat.new_run([HumanMessage(_QUESTION)])
    assert isinstance(run, Run)  # noqa: S101 - the policy has no rule of escalation
    return run


def _draw(runs: list[Run]) -> None:
    with SampleThreads(runs, drive) as threads:
        for _ in runs:
            for _, error in threads.wait(Deadline()):
                if error:
                    raise error


@contextmanager
def read_tokens(model: PreTrainedModel) -> Iterator[list[int]]:
    """Record how many tokens each pass of a model reads inside this context."""
    read: list[int] = []

    def before(_: torch.nn.Module, __: object, inputs: dict[str, torch.Tensor]) -> None:
        read.append(inputs["input_ids"].numel())

    handle = model.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield read
    finally:
        handle.remove()
