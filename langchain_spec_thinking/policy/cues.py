"""Cue words, and what a sentence that holds them is: an affirmation, a reflection, or just a statement."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

SentenceClass = Literal["affirmation", "reflection", "statement"]

AFFIRMATION = ("yeah", "yes", "final answer", "confident")
REFLECTION = ("wait", "alternatively", "hold on", "another", "verify", "think again", "recap", "check")
VERIFICATION = ("verify", "think again", "recap", "check")


@dataclass(frozen=True, slots=True)
class Cue:
    """A cue found in a sentence.

    Attributes:
        text: The cue as the lexicon spells it; empty where no words were the reason.
        kind: What it speaks for: `"relay"` for a small model that goes on from the cue, in a target's text.
        end: Where it ends, in characters from the start of the sentence.
        lookahead: How many characters after it had to be seen.
    """

    text: str
    kind: Literal["affirmation", "reflection", "trigger", "relay"]
    end: int
    lookahead: int = 0


@dataclass(frozen=True)
class Lexicon:
    """The three cue sets of the method (arXiv:2504.12329, appendix A.2), matched without regard to case.

    Attributes:
        affirmation: Cues that agree with what was written.
        reflection: Cues that doubt it.
        verification: Cues after which the target model writes a longer passage.
        substrings: Match inside words too, as the reference implementation does: "eyes" counts as "yes". Off by
            default; a switch for fidelity only.
    """

    affirmation: tuple[str, ...] = AFFIRMATION
    reflection: tuple[str, ...] = REFLECTION
    verification: tuple[str, ...] = VERIFICATION
    substrings: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the field; an empty cue would match everywhere."""
        for name in ("affirmation", "reflection", "verification"):
            require_cues(name, getattr(self, name))
        if not isinstance(self.substrings, bool):
            msg = f"substrings: expected True or False, got {self.substrings!r}"
            raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting

    def first(self, sentence: str, limit: int, *, final: bool) -> Cue | None:
        """Find the cue that ends first, if it is certain that it is one.

        Args:
            sentence: The text so far. More may follow it.
            limit: A cue must end at or before this many characters.
            final: Nothing follows `sentence`. Otherwise a cue at its very end is not one yet: "wait" may still
                become "waiting".
        """
        found = None
        for kind, pattern in self._decisive:
            match = pattern.search(sentence)
            if match and match.end() <= limit and (found is None or match.end() < found.end):
                found = Cue(_spelling(match.group()), kind, match.end(), int(not self.substrings))
        if found is None or final or self.substrings or found.end < len(sentence):
            return found
        return None

    def classify(self, sentence: str) -> SentenceClass:
        """Classify a whole sentence: the more frequent kind of cue wins, a tie goes to reflection (appendix A.2)."""
        counts = {kind: len(pattern.findall(sentence)) for kind, pattern in self._decisive}
        if not any(counts.values()):
            return "statement"
        return "affirmation" if counts["affirmation"] > counts["reflection"] else "reflection"

    def verifies(self, sentence: str, limit: int | None = None) -> str | None:
        """Return the verification cue that the first `limit` characters of `sentence` hold, if any."""
        match = _pattern(self.verification, substrings=self.substrings).search(sentence)
        return _spelling(match.group()) if match and (limit is None or match.end() <= limit) else None

    @cached_property
    def _decisive(self) -> tuple[tuple[Literal["affirmation", "reflection"], re.Pattern[str]], ...]:
        return (
            ("reflection", _pattern(self.reflection, substrings=self.substrings)),
            ("affirmation", _pattern(self.affirmation, substrings=self.substrings)),
        )


def leading_cue(cues: tuple[str, ...], sentence: str, limit: int, *, final: bool) -> Cue | None:
    """Return the cue that a sentence begins with, if it is certain that it is one.

    Args:
        cues: The cues, matched as whole words without regard to case.
        sentence: The text so far. More may follow it.
        limit: A cue must end at or before this many characters.
        final: Nothing follows `sentence`.
    """
    begun = len(sentence) - len(sentence.lstrip())
    match = _pattern(cues, substrings=False).match(sentence, begun)
    if match is None or match.end() > limit or (match.end() == len(sentence) and not final):
        return None
    return Cue(_spelling(match.group()), "relay", match.end(), 1)


def require_cues(name: str, cues: object) -> None:
    """Refuse what is no tuple of cues.

    Raises:
        ValueError: One is empty, or no text.
    """
    if not isinstance(cues, (tuple, list)) or not all(isinstance(cue, str) and cue.strip() for cue in cues):
        msg = f"{name}: expected a tuple of non-empty cues, got {cues!r}"
        raise ValueError(msg)


@lru_cache(maxsize=64)
def _pattern(cues: tuple[str, ...], *, substrings: bool) -> re.Pattern[str]:
    if not cues:
        return re.compile(r"(?!)")
    # Shortest first: where one cue begins another, the one that is complete first decides, however the text arrives.
    spelled = "|".join(r"\s+".join(map(re.escape, cue.split())) for cue in sorted(cues, key=len))
    return re.compile(f"(?:{spelled})" if substrings else rf"(?<!\w)(?:{spelled})(?!\w)", re.IGNORECASE)


def _spelling(found: str) -> str:
    return " ".join(found.lower().split())
