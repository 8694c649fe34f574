"""Cue words. They classify a sentence as an affirmation, a reflection or a statement."""

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
    """A reason for a takeover: a cue that was found in a sentence, or another reason.

    A trigger that does not search for words returns `TAKE_OVER`.

    Attributes:
        text: The cue in lower case, with single spaces. The report shows it. It is empty if no word is the reason.
        kind: The kind of takeover that the cue causes, which the report shows: `"affirmation"` or `"reflection"` for
            the cues of a lexicon, `"trigger"` for any other reason. After these three, the draft is dropped.
            `"relay"` keeps the draft up to `end` and drops the rest. It is for triggers with `lead = "target"`.
        end: Where the cue ends, in characters from the start of the draft. Of several cues, `AnyOf` takes the one that
            ends first. 0 if the decision needs no text.
        lookahead: How many characters after the cue were necessary to recognize it.
    """

    text: str
    kind: Literal["affirmation", "reflection", "trigger", "relay"]
    end: int
    lookahead: int = 0


@dataclass(frozen=True)
class Lexicon:
    """The three sets of cues of the method (arXiv:2504.12329, appendix A.2). Matching ignores case.

    Attributes:
        affirmation: Cues that agree with the text before them.
        reflection: Cues that doubt the text before them.
        verification: Cues after which the target model writes a longer passage.
        substrings: Whether cues also match inside words, as in the reference implementation: "eyes" then contains
            "yes". Use it only to reproduce the reference implementation. Off by default.
    """

    affirmation: tuple[str, ...] = AFFIRMATION
    reflection: tuple[str, ...] = REFLECTION
    verification: tuple[str, ...] = VERIFICATION
    substrings: bool = False

    def __post_init__(self) -> None:
        """Refuse invalid values, with the name of the field in the error. An empty cue would match everywhere."""
        for name in ("affirmation", "reflection", "verification"):
            require_cues(name, getattr(self, name))
        if not isinstance(self.substrings, bool):
            msg = f"substrings: expected True or False, got {self.substrings!r}"
            raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting

    def first(self, sentence: str, limit: int, *, final: bool) -> Cue | None:
        """Return the cue that ends first; None if there is no cue, or if the word may still become another word.

        Args:
            sentence: The text so far. More text may follow.
            limit: The last position at which a cue may end, in characters.
            final: Whether no more text follows `sentence`. If more text may follow, a cue at the end of `sentence` is
                uncertain: "wait" may become "waiting".
        """
        found = None
        for kind, pattern in self._patterns:
            match = pattern.search(sentence)
            if match and match.end() <= limit and (found is None or match.end() < found.end):
                found = Cue(_normalized(match.group()), kind, match.end(), int(not self.substrings))
        if found is None or final or self.substrings or found.end < len(sentence):
            return found
        return None

    def classify(self, sentence: str) -> SentenceClass:
        """Classify a whole sentence by the more frequent kind of cue (appendix A.2).

        A sentence with as many reflection cues as affirmation cues is a reflection.
        """
        counts = {kind: len(pattern.findall(sentence)) for kind, pattern in self._patterns}
        if not any(counts.values()):
            return "statement"
        return "affirmation" if counts["affirmation"] > counts["reflection"] else "reflection"

    def verifies(self, sentence: str, limit: int | None = None) -> str | None:
        """Return the first verification cue within the first `limit` characters of `sentence`, or None."""
        match = _pattern(self.verification, substrings=self.substrings).search(sentence)
        return _normalized(match.group()) if match and (limit is None or match.end() <= limit) else None

    @cached_property
    def _patterns(self) -> tuple[tuple[Literal["affirmation", "reflection"], re.Pattern[str]], ...]:
        return (
            ("reflection", _pattern(self.reflection, substrings=self.substrings)),
            ("affirmation", _pattern(self.affirmation, substrings=self.substrings)),
        )


def leading_cue(cues: tuple[str, ...], sentence: str, limit: int, *, final: bool) -> Cue | None:
    """Return the cue at the beginning of a sentence; None if there is none, or if the word may become another word.

    Args:
        cues: The cues. They match whole words, in upper or lower case.
        sentence: The text so far. More text may follow.
        limit: The last position at which the cue may end, in characters.
        final: Whether no more text follows `sentence`.
    """
    start = len(sentence) - len(sentence.lstrip())
    match = _pattern(cues, substrings=False).match(sentence, start)
    if match is None or match.end() > limit or (match.end() == len(sentence) and not final):
        return None
    return Cue(_normalized(match.group()), "relay", match.end(), 1)


def require_cues(name: str, cues: object) -> None:
    """Check that `cues` is a tuple or a list of cues.

    Raises:
        ValueError: `cues` is not a tuple or a list, or a cue is empty or not a string.
    """
    if not isinstance(cues, (tuple, list)) or not all(isinstance(cue, str) and cue.strip() for cue in cues):
        msg = f"{name}: expected a tuple of non-empty cues, got {cues!r}"
        raise ValueError(msg)


@lru_cache(maxsize=64)
def _pattern(cues: tuple[str, ...], *, substrings: bool) -> re.Pattern[str]:
    if not cues:
        return re.compile(r"(?!)")
    # Shortest first: if one cue is the beginning of another, the shorter one decides. Then the result does not depend
    # on how the text is split into chunks.
    alternatives = "|".join(r"\s+".join(map(re.escape, cue.split())) for cue in sorted(cues, key=len))
    return re.compile(f"(?:{alternatives})" if substrings else rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE)


def _normalized(found: str) -> str:
    return " ".join(found.lower().split())
