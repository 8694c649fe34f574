"""What makes the target model take over at a boundary."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_spec_thinking.policy.cues import Cue, Lexicon

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD = re.compile(r"[A-Za-z0-9]{1,8}|\S")
"""About one token of a common vocabulary: a short word, a piece of a long one, a sign, a character of other scripts."""


@dataclass(frozen=True)
class CueTrigger:
    """The rule of the paper: a cue in the first sentence after a boundary (section 3, appendix A.2).

    Any cue decides, so the first one does, without waiting for the rest of the sentence.

    Attributes:
        lexicon: The cues.
    """

    lexicon: Lexicon = field(default_factory=Lexicon)

    def examine(self, draft: str, limit: int, *, final: bool) -> Cue | None:
        """Look for a cue in a draft.

        Args:
            draft: What the speculative model wrote since the boundary; more may follow.
            limit: Where the looked-at sentence ends at the latest, in characters.
            final: The draft is all there is.
        """
        return self.lexicon.first(draft, limit, final=final)


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
