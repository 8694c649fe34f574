"""A rule that finds a small model that goes round in circles."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from langchain_spec_thinking.policy.cues import Lexicon
from langchain_spec_thinking.policy.endings import count_words, sentence_end
from langchain_spec_thinking.policy.escalation.base import Escalate, Escalation
from langchain_spec_thinking.policy.escalation.registry import register_escalation

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.escalation.base import Evidence, Verdict

_SENTENCE_TOKENS = 20


@register_escalation
@dataclass(frozen=True)
class Stall(Escalation):
    """Escalates if the small model goes round in circles (arXiv:2604.14847, arXiv:2512.12895).

    The rule needs no samples. It stops the attempt where it finds the stall. An attempt that ends by itself before that
    is accepted.

    Attributes:
        reflections: How many steps in a row must begin with a reflecting sentence. None: this sign is not used.
        repeats: How often the same passage must occur. None: this sign is not used.
        passage_words: The length of such a passage, in words.
        tokens: The longest attempt. Words and punctuation marks are counted as tokens. None: no limit. Set it to a
            length that nearly all right answers of your small model stay below.
        lexicon: The cues of reflecting sentences.
    """

    reflections: int | None = 6
    repeats: int | None = 4
    passage_words: int = 12
    tokens: int | None = None
    lexicon: Lexicon = field(default_factory=Lexicon)

    def __post_init__(self) -> None:
        """Refuse invalid values, with the name of the field in the error."""
        for name, minimum in (("reflections", 1), ("repeats", 2), ("passage_words", 1), ("tokens", 1)):
            value = getattr(self, name)
            if value is None and name != "passage_words":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                msg = f"{name}: expected a whole number of at least {minimum}, got {value!r}"
                raise ValueError(msg)

    def examine(self, evidence: Evidence) -> Verdict | None:
        """Look for the three signs in the attempt so far."""
        finished = evidence.answer is not None
        if self.tokens is not None and count_words(evidence.text) > self.tokens:
            return Escalate(f"the attempt of the small model is longer than {self.tokens} tokens")
        if self.repeats is not None and self._repeats(evidence.text, finished=finished):
            return Escalate("the small model repeats itself")
        if self.reflections is not None and self._reflects(evidence, finished=finished):
            return Escalate(f"the small model reflects {self.reflections} times in a row")
        return "accept" if finished else None

    def _repeats(self, text: str, *, finished: bool) -> bool:
        words = text.casefold().split()
        if not finished and not text[-1:].isspace():
            del words[-1:]  # it may become another word
        seen: dict[tuple[str, ...], tuple[int, int]] = {}  # how often, and where the last one ended
        for start in range(len(words) - self.passage_words + 1):
            passage = tuple(words[start : start + self.passage_words])
            count, end = seen.get(passage, (0, 0))
            if start >= end:
                seen[passage] = count + 1, start + self.passage_words
                if count + 1 == self.repeats:
                    return True
        return False

    def _reflects(self, evidence: Evidence, *, finished: bool) -> bool:
        steps = evidence.text.split(evidence.boundary)
        complete = steps if finished else steps[:-1]
        reflecting = (self._is_reflection(step) for step in complete if step.strip())
        return any(yes and len(list(run)) >= (self.reflections or 0) for yes, run in groupby(reflecting))

    def _is_reflection(self, step: str) -> bool:
        step = step.strip()
        return self.lexicon.classify(step[: sentence_end(step, _SENTENCE_TOKENS)]) == "reflection"
