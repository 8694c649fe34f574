"""Cue words. They classify a sentence as an affirmation, a reflection or a statement."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from langchain_spec_thinking.policy import cue_lists
from langchain_spec_thinking.policy.words import first_letters, is_whole_word, spelling

if TYPE_CHECKING:
    from collections.abc import Iterator

SentenceClass = Literal["affirmation", "reflection", "statement"]
_KINDS: tuple[Literal["reflection"], Literal["affirmation"]] = ("reflection", "affirmation")


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
    """The three sets of cues of the method (arXiv:2504.12329, appendix A.2). By default, English and Chinese words.

    Cues may be of any script. Matching ignores case, and whether accents are composed or decomposed (NFC, NFD).

    Attributes:
        affirmation: Cues that agree with the text before them.
        reflection: Cues that doubt the text before them.
        verification: Cues after which the target model writes a longer passage.
        substrings: Whether cues also match inside words, as in the reference implementation: "eyes" then contains
            "yes". The default cues are then those of the paper, which are English. Use it only to reproduce the
            reference implementation. Off by default: a cue is a whole word, or any part of a text in a script that does
            not separate words by spaces.
    """

    affirmation: tuple[str, ...] = cue_lists.AFFIRMATION
    reflection: tuple[str, ...] = cue_lists.REFLECTION
    verification: tuple[str, ...] = cue_lists.VERIFICATION
    substrings: bool = False

    def __post_init__(self) -> None:
        """Refuse invalid values, with the name of the field in the error. An empty cue would match everywhere."""
        for name in ("affirmation", "reflection", "verification"):
            require_cues(name, getattr(self, name))
            if self.substrings is True and getattr(self, name) == getattr(cue_lists, name.upper()):
                object.__setattr__(self, name, getattr(cue_lists, f"ENGLISH_{name.upper()}"))
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
        for kind in _KINDS:
            match = self._first(getattr(self, kind), sentence)
            if match and match.end() <= limit and (found is None or match.end() < found.end):
                found = Cue(_normalized(match.group()), kind, match.end(), int(not self.substrings))
        if found is None or final or self.substrings or found.end < len(sentence):
            return found
        return None

    def classify(self, sentence: str) -> SentenceClass:
        """Classify a whole sentence by the more frequent kind of cue (appendix A.2).

        A sentence with as many reflection cues as affirmation cues is a reflection.
        """
        reflections, affirmations = (self._count(getattr(self, kind), sentence) for kind in _KINDS)
        if not reflections + affirmations:
            return "statement"
        return "affirmation" if affirmations > reflections else "reflection"

    def verifies(self, sentence: str, limit: int | None = None) -> str | None:
        """Return the first verification cue within the first `limit` characters of `sentence`, or None."""
        match = self._first(self.verification, sentence)
        return _normalized(match.group()) if match and (limit is None or match.end() <= limit) else None

    def _first(self, cues: tuple[str, ...], sentence: str) -> re.Match[str] | None:
        """Return the cue that ends first. If a cue is a part of another one, the result does not depend on chunks."""
        found = _matches(cues, sentence, substrings=self.substrings)
        return min(found, key=lambda match: (match.end(), match.start()), default=None)

    def _count(self, cues: tuple[str, ...], sentence: str) -> int:
        """Return the number of cues that do not overlap."""
        found = _matches(cues, sentence, substrings=self.substrings)
        count = end = 0
        for match in sorted(found, key=lambda match: (match.start(), match.end())):
            if match.start() >= end:
                count, end = count + 1, match.end()
        return count


def leading_cue(cues: tuple[str, ...], sentence: str, limit: int, *, final: bool) -> Cue | None:
    """Return the cue at the beginning of a sentence; None if there is none, or if the word may become another word.

    Args:
        cues: The cues. They match whole words, in upper or lower case.
        sentence: The text so far. More text may follow.
        limit: The last position at which the cue may end, in characters.
        final: Whether no more text follows `sentence`.
    """
    start = len(sentence) - len(sentence.lstrip())
    found = [match for match in _matches(cues, sentence, start, substrings=False) if match.start() == start]
    match = min(found, key=re.Match.end, default=None)
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


def _matches(cues: tuple[str, ...], text: str, start: int = 0, *, substrings: bool) -> Iterator[re.Match[str]]:
    """Yield where each cue is found from `start` on."""
    if not cues or not _pattern(cues).search(text, start):  # the fast path: true for nearly every text
        return
    for cue in cues:
        for match in _pattern((cue,)).finditer(text, start):
            if substrings or (is_whole_word(text, *match.span()) and _stands_well(cue, text, match.start())):
                yield match


def _stands_well(cue: str, text: str, start: int) -> bool:
    """Return whether a cue is at the beginning of a clause, if it counts only there."""
    return cue not in cue_lists.CLAUSE_BEGINNINGS or not (start and text[start - 1].isalnum())


@lru_cache(maxsize=512)
def _pattern(cues: tuple[str, ...]) -> re.Pattern[str]:
    cues = tuple(cue.strip() for cue in cues)
    first = "".join(sorted(set[str]().union(*map(first_letters, cues))))
    alternatives = "|".join(r"\s+".join(map(spelling, cue.split())) for cue in cues)
    return re.compile(f"(?=[{first}])(?:{alternatives})", re.IGNORECASE)  # with the first letters, it is twice as fast


def _normalized(found: str) -> str:
    return unicodedata.normalize("NFC", " ".join(found.lower().split()))
