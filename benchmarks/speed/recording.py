"""The forward passes of a turn: the passes that were made, and the passes that its tokens need at least."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from langchain_core.messages import HumanMessage

from langchain_spec_thinking.backends.local.cache_argument import CacheArgument, cache_length
from langchain_spec_thinking.drivers import drive
from langchain_spec_thinking.report import Report
from langchain_spec_thinking.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from transformers import PreTrainedModel

    from langchain_spec_thinking import ChatSpeculativeThinking
    from langchain_spec_thinking.report import AuthorUsage
    from langchain_spec_thinking.turn import Author, Channel

AUTHORS: tuple[Author, Author] = ("speculative", "target")


@dataclass(slots=True)
class Pass:
    """A forward pass.

    Attributes:
        model: Index of the model: 0 is the speculative model, 1 the target model.
        past: Number of tokens in its cache.
        ids: Ids of the tokens that it read.
        token: Id of its most likely next token.
        kept: Whether this token was written and kept.
    """

    model: int
    past: int
    ids: list[int]
    token: int = -1
    kept: bool = True


@dataclass(frozen=True)
class Recording:
    """The recording of a turn.

    Attributes:
        passes: All passes, in order.
        needed: The passes that the kept tokens need at least. There is one pass per token, which reads everything that
            its author has not read before. So the other model's text is read in the pass of the first token after it,
            and dropped text needs no pass.
        read_again: For each hand-over, the number of tokens read again by the same model.
        tokens: Length of the turn in each model's tokens, including the prompt, as far as the model has read it.
        usage: Usage of each model in the report.
    """

    passes: list[Pass]
    needed: list[Pass]
    read_again: list[int]
    tokens: tuple[int, int]
    usage: dict[Author, AuthorUsage]

    @classmethod
    def of(cls, chat: ChatSpeculativeThinking, models: Sequence[PreTrainedModel], question: str) -> Recording:
        """Record a pair while it writes a turn."""
        run = chat.new_run([HumanMessage(question)])
        assert isinstance(run, Run)  # noqa: S101 - the policy has no rule of escalation
        with counted(models) as passes:
            run.report = _DropMarkingReport(passes)
            for _ in drive(run):
                pass
        reads_by_model = [_ModelReads.of(passes, model) for model in (0, 1)]
        return cls(
            passes,
            needed_passes(passes),
            [count for reads in reads_by_model for count in reads.read_again],
            (len(reads_by_model[0].ids), len(reads_by_model[1].ids)),
            run.report.usage,
        )


def needed_passes(passes: Sequence[Pass]) -> list[Pass]:
    """Return the passes that the kept tokens of a recorded turn need at least, in order."""
    by_number = [step for model in (0, 1) for step in _ModelReads.of(passes, model).needed()]
    return [step for _, step in sorted(by_number, key=lambda step: step[0])]


@contextmanager
def counted(models: Sequence[PreTrainedModel]) -> Iterator[list[Pass]]:
    """Record the passes of models inside this context. The models must serve one turn at a time."""
    passes: list[Pass] = []
    names = [CacheArgument.of(model).name for model in models]

    def note(index: int) -> Any:  # noqa: ANN401 - a hook
        def hook(_: torch.nn.Module, __: object, inputs: dict[str, Any], output: Any) -> None:  # noqa: ANN401
            ids = inputs["input_ids"][0].tolist()
            past = cache_length(inputs[names[index]]) - len(ids)
            passes.append(Pass(index, past, ids, int(output.logits[0, -1].argmax())))

        return hook

    handles = [model.register_forward_hook(note(i), with_kwargs=True) for i, model in enumerate(models)]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


class _DropMarkingReport(Report):
    """A report that marks passes whose tokens are dropped."""

    def __init__(self, passes: list[Pass]) -> None:
        super().__init__()
        self._passes = passes

    def drop(self, author: Author, channel: Channel, text: str, tokens: int) -> None:
        super().drop(author, channel, text, tokens)
        own = [step for step in self._passes if AUTHORS[step.model] == author]
        for step in own[len(own) - tokens :]:
            step.kept = False


@dataclass
class _ModelReads:
    """What one model has read of a turn.

    Attributes:
        model: Index of the model.
        ids: Ids of the tokens in its cache.
        writers: For each of these tokens, the number and the pass that wrote it. None if another author wrote it.
        read_again: For each hand-over, the number of tokens read again.
        last_pass: The last pass of the model, with its number.
    """

    model: int
    ids: list[int] = field(default_factory=list)
    writers: list[tuple[int, Pass] | None] = field(default_factory=list)
    read_again: list[int] = field(default_factory=list)
    last_pass: tuple[int, Pass] | None = None

    @classmethod
    def of(cls, passes: Sequence[Pass], model: int) -> _ModelReads:
        """Collect the passes of one model."""
        reads, before = cls(model), -1
        for number, step in enumerate(passes):
            if step.model == model:
                reads._add(number, step, handed_over=0 <= before < number - 1)
                before = number
        if passes and passes[-1].model == model:  # the last token of the turn, which no pass has read
            reads.ids.append(passes[-1].token)
            reads.writers.append(reads.last_pass)
        return reads

    def _add(self, number: int, step: Pass, *, handed_over: bool) -> None:
        own = self.last_pass if self.last_pass and self.last_pass[1].kept else None
        before = [*self.ids[step.past :], *([own[1].token] if own else [])]
        writers = [*self.writers[step.past :], own]
        same = next((i for i, (a, b) in enumerate(zip(before, step.ids, strict=False)) if a != b), len(before))
        same = min(same, len(step.ids))
        if handed_over:
            self.read_again.append(min(same, len(self.ids) - step.past))
        del self.ids[step.past :], self.writers[step.past :]
        self.ids += step.ids
        self.writers += [*writers[:same], *[None] * (len(step.ids) - same)]
        self.last_pass = number, step

    def needed(self) -> Iterator[tuple[int, Pass]]:
        """Yield the passes that the model's own tokens need, with their numbers."""
        unread = 0
        for place, writer in enumerate(self.writers):
            if writer:
                yield writer[0], Pass(self.model, unread, self.ids[unread:place], self.ids[place])
                unread = place


def replay(models: Sequence[PreTrainedModel], passes: Iterable[Pass]) -> Iterator[Pass]:
    """Make passes again, each with a bare call of its model. Yield each pass after it is done.

    The caches are the package's own, which grow in place. With the caches of transformers the loop would be slower.
    """
    arguments = [CacheArgument.of(model) for model in models]
    caches = [argument.empty_cache() for argument in arguments]
    for step in passes:
        cache = caches[step.model]
        if (dropped := cache_length(cache) - step.past) > 0:
            cache.crop(-dropped)
        with torch.inference_mode():
            scores, caches[step.model] = arguments[step.model].read(step.ids, cache, step.past)
            int(scores[-1].argmax())
        yield step
