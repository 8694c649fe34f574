"""Who takes part in an evaluation: each model alone, and the pair under any number of policies."""

from __future__ import annotations

import zlib
from contextlib import closing
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage

from langchain_spec_thinking.drivers import drive
from langchain_spec_thinking.policy import DelegationPolicy, RandomTrigger
from langchain_spec_thinking.policy.data import as_data
from langchain_spec_thinking.recording.recorder import recording

if TYPE_CHECKING:
    from threading import Event

    from langchain_spec_thinking.chat_models import ChatSpeculativeThinking
    from langchain_spec_thinking.evaluation.questions import Question
    from langchain_spec_thinking.recording.record import Record
    from langchain_spec_thinking.turn import Author

_FOUND_OUT = {"continuation"}
"""What a backend learns of its server when it is first used. It is no setting."""


@dataclass(frozen=True)
class Variant:
    """A way to answer questions.

    Attributes:
        name: What tables call it.
        model: The pair.
        alone: The side that is the whole of it; None for a pair of two.
    """

    name: str
    model: ChatSpeculativeThinking
    alone: Author | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting that changes the answers."""
        told = dict(self.model._identifying_params)  # noqa: SLF001 - LangChain's name for it
        for side in ("speculative", "target"):
            told[side] = {name: value for name, value in told[side].items() if name not in _FOUND_OUT}
        return {**told, "policy": as_data(self.model.policy), "alone": self.alone}

    def solve(self, question: Question, stopped: Event) -> Record:
        """Answer a question.

        Args:
            question: The question.
            stopped: Breaks the turn off when it is set.

        Returns:
            The record, which tells the error where there was one.

        Raises:
            Exception: The turn could not even begin.
        """
        # A coin that fell alike in every turn would be a rule about places.
        seed = zlib.crc32(question.id.encode()) ^ (self.model.seed or 0)
        policy = replace(self.model.policy, trigger=reseeded(self.model.policy.trigger, seed))
        model = self.model.model_copy(update={"policy": policy})
        records: list[Record] = []
        try:
            with recording(records.append):
                run = model.new_run([HumanMessage(question.question)])
                with closing(drive(run)) as happenings:
                    while not stopped.is_set() and next(happenings, None):
                        pass
        except Exception as e:
            if not records:
                raise
            return replace(records[0], error=f"{type(e).__name__}: {e}")
        return records[0]


def alone(model: ChatSpeculativeThinking, side: Author, name: str) -> Variant:
    """Let one model of a pair answer by itself: a pair of it with itself whose coin never falls."""
    backend = model.speculative if side == "speculative" else model.target
    never = DelegationPolicy(trigger=RandomTrigger(0), boundary=model.policy.boundary)
    update = {"speculative": backend, "target": backend, "policy": never, "answer_by": "speculative"}
    return Variant(name, model.model_copy(update=update), side)


def reseeded(trigger: Any, seed: int) -> Any:  # noqa: ANN401 - any trigger, or what one is made of
    """Return a trigger with another seed, in it and in the triggers it is made of; one that has none as it is."""
    if isinstance(trigger, tuple):
        return tuple(reseeded(one, seed) for one in trigger)
    if not is_dataclass(trigger) or isinstance(trigger, type):
        return trigger
    held = {field.name: getattr(trigger, field.name) for field in fields(trigger)}
    changed = {name: seed if name == "seed" else reseeded(value, seed) for name, value in held.items()}
    if changed == held:
        return trigger
    parts: Any = changed.get("triggers")  # of what is made of others
    return type(trigger)(*parts) if parts else replace(trigger, **changed)
