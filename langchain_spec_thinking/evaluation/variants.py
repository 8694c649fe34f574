"""Variants of an evaluation: each model alone, and the pair with any number of policies."""

from __future__ import annotations

import zlib
from contextlib import closing
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage

from langchain_spec_thinking.drivers import drive
from langchain_spec_thinking.policy import DelegationPolicy, NoTakeovers
from langchain_spec_thinking.policy.data import as_data
from langchain_spec_thinking.recording.recorder import recording

if TYPE_CHECKING:
    from threading import Event

    from langchain_spec_thinking.chat_models import ChatSpeculativeThinking
    from langchain_spec_thinking.evaluation.questions import Question
    from langchain_spec_thinking.recording.record import Record
    from langchain_spec_thinking.turn import Author

_DISCOVERED = {"continuation"}
"""What a backend learns about its server at the first request. These entries are not settings."""
_REPEATED = {"stop_strings"}
"""Entries for LangChain's caches, which repeat another entry. Settings that an older version stored lack them."""


@dataclass(frozen=True)
class Variant:
    """One way to answer questions.

    Attributes:
        name: Name in the tables.
        model: The pair.
        alone: The side that answers alone. None for a pair of two models.
    """

    name: str
    model: ChatSpeculativeThinking
    alone: Author | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that change the answers."""
        params = self.model._identifying_params  # noqa: SLF001 - LangChain chose the name
        settings = {name: value for name, value in params.items() if name not in _REPEATED}
        for side in ("speculative", "target"):
            settings[side] = {name: value for name, value in settings[side].items() if name not in _DISCOVERED}
        return {**settings, "policy": as_data(self.model.policy), "alone": self.alone}

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of each of `settings` that has one. Settings that an older version stored may lack some."""
        fields = type(self.model).model_fields
        return {
            name: fields[name].default
            for name in self.settings
            if name in fields and not fields[name].is_required() and not fields[name].default_factory
        }

    def solve(self, question: Question, stopped: Event) -> Record:
        """Answer a question.

        Args:
            question: The question.
            stopped: Ends the turn early when it is set.

        Returns:
            The record of the turn. It holds the error if there was one.

        Raises:
            Exception: The turn failed before it began.
        """
        # Each question gets its own seed. With one seed for all, random takeovers would fall on the same places in
        # every turn.
        seed = zlib.crc32(question.id.encode()) ^ (self.model.seed or 0)
        policy = replace(self.model.policy, trigger=reseeded(self.model.policy.trigger, seed))
        model = self.model.model_copy(update={"policy": policy})
        records: list[Record] = []
        try:
            with recording(records.append):
                run = model.new_run([HumanMessage(question.question)])
                with closing(drive(run)) as events:
                    while not stopped.is_set() and next(events, None):
                        pass
        except Exception as e:
            if not records:
                raise
            return replace(records[0], error=f"{type(e).__name__}: {e}")
        return records[0]


def alone(model: ChatSpeculativeThinking, side: Author, name: str) -> Variant:
    """Return a variant in which one model answers alone, without takeovers. The pair uses it on both sides."""
    backend = model.speculative if side == "speculative" else model.target
    no_takeovers = DelegationPolicy(trigger=NoTakeovers(), boundary=model.policy.boundary)
    update = {"speculative": backend, "target": backend, "policy": no_takeovers, "answer_by": "speculative"}
    return Variant(name, model.model_copy(update=update), side)


def reseeded(trigger: Any, seed: int) -> Any:  # noqa: ANN401 - any trigger or part of one
    """Return a trigger with another seed, also in the triggers it is composed of. Keep a trigger that has no seed."""
    if isinstance(trigger, tuple):
        return tuple(reseeded(one, seed) for one in trigger)
    if not is_dataclass(trigger) or isinstance(trigger, type):
        return trigger
    values = {field.name: getattr(trigger, field.name) for field in fields(trigger)}
    changed = {name: seed if name == "seed" else reseeded(value, seed) for name, value in values.items()}
    if changed == values:
        return trigger
    parts: Any = changed.get("triggers")  # composed triggers take their triggers as positional arguments
    return type(trigger)(*parts) if parts else replace(trigger, **changed)
