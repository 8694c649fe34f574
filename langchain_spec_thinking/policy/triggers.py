"""What makes the target model take over at a boundary."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from langchain_spec_thinking.policy.cues import Cue, Lexicon

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD = re.compile(r"[A-Za-z0-9]{1,8}|\S")
"""About one token of a common vocabulary: a short word, a piece of a long one, a sign, a character of other scripts."""


@runtime_checkable  # settings are checked with isinstance
class Trigger(Protocol):
    """Decides at a boundary whether the target takes over.

    Attributes:
        lexicon: The cues by which sentences are classified: those that reflect are counted, and after those that
            verify the target writes a longer passage.
    """

    @property
    def lexicon(self) -> Lexicon:
        """The cues by which sentences are classified."""

    def examine(self, draft: str, limit: int, *, final: bool, index: int) -> Cue | None:
        """Return the reason to take over, or None where there is none yet.

        It is asked again whenever the draft has grown, until it gives a reason or the sentence has ended. However the
        draft grows, in the end it must have said the same.

        Args:
            draft: What the speculative model wrote since the boundary; more may follow.
            limit: Where the looked-at sentence ends at the latest, in characters.
            final: The draft is all there is.
            index: How many drafts of the turn were decided before this one.
        """


@dataclass(frozen=True)
class CueTrigger:
    """The rule of the paper: a cue in the first sentence after a boundary (section 3, appendix A.2).

    Any cue decides, so the first one does, without waiting for the rest of the sentence.

    Attributes:
        lexicon: The cues.
    """

    lexicon: Lexicon = field(default_factory=Lexicon)

    def examine(self, draft: str, limit: int, *, final: bool, index: int) -> Cue | None:  # noqa: ARG002 - of the protocol
        """Look for a cue in a draft."""
        return self.lexicon.first(draft, limit, final=final)


@dataclass(frozen=True)
class RandomTrigger:
    """A coin: the control that every other trigger has to beat at the same share of the target.

    Attributes:
        probability: Of a takeover at a boundary, from 0 to 1.
        seed: The same seed decides the same at the same place of a turn.
        lexicon: Without cues, so that nothing but the coin decides.
    """

    probability: float
    seed: int = 0
    lexicon: Lexicon = field(default_factory=lambda: Lexicon((), (), ()))

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        if not 0 <= self.probability <= 1:
            msg = f"probability: expected a number from 0 to 1, got {self.probability!r}"
            raise ValueError(msg)

    def examine(self, draft: str, limit: int, *, final: bool, index: int) -> Cue | None:  # noqa: ARG002 - of the protocol
        """Toss the coin, whatever the draft says."""
        coin = random.Random(f"{self.seed}-{index}")  # noqa: S311 - repeatable, not secret
        return Cue("", "trigger", 0) if coin.random() < self.probability else None


def sentence_end(draft: str, tokens: int) -> int | None:
    """Return where the first `tokens` tokens of a draft end, in characters, or None where it is not that long yet.

    The policy counts tokens as words and signs in the text. No tokenizer is asked, so the same text decides alike
    whatever vocabulary its author has and however a server packs tokens into chunks.
    """
    words: Iterator[re.Match[str]] = _WORD.finditer(draft)
    for count, word in enumerate(words, start=1):
        if count == tokens:
            return word.end() if word.end() < len(draft) else None
    return None
