"""What a trigger is: it looks at the beginning of a step and says who goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from langchain_spec_thinking.policy.cues import Cue, Lexicon

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Author

NO_CUES = Lexicon((), (), ())
NO_LOGPROBS = (
    "no log-probabilities came for the first token of a step, so the trigger, which needs them, did not look at it; "
    "does the server of the speculative model give them?"
)


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The first token of a step.

    It is the one in which the step's first word begins. A token that began before the boundary had ended (it holds the
    boundary and the word) was chosen as the end of the step before; then it is the next one.

    Attributes:
        at: Where it begins, in characters from the start of the draft.
        top_logprobs: Log-probabilities of the likeliest tokens in its place, the likeliest first.
    """

    at: int
    top_logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a trigger looks at: the text since a boundary, as far as it has come.

    Attributes:
        text: All of it; more may follow.
        limit: Where the first sentence ends, or where what is known of it ends, in characters.
        final: The text is all there is.
        index: How many drafts of the turn were decided before this one.
        first_token: None where it has not come yet, or its numbers have not; they come where `top_logprobs` of the
            trigger asks for them.
    """

    text: str
    limit: int
    final: bool = False
    index: int = 0
    first_token: FirstToken | None = None

    @property
    def sentence(self) -> str:
        """The first sentence, as far as it is known: at most as many tokens as a takeover has."""
        return self.text[: self.limit]


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Let the step be written to its end, then ask the target for one digit about it.

    Attributes:
        question: What the target is asked, right after the step. Its answer is not part of the turn.
        threshold: The least digit with which the step is kept; with less the target writes it anew.
    """

    question: str
    threshold: int


Decision = Cue | ScoreRequest | Literal["keep"]
"""A reason to hand over; a question to the target first; or that the draft goes on, whatever follows."""


class Trigger(ABC):
    """Decides at a boundary whether the other model takes over.

    A trigger of your own overrides `examine`, and of the attributes those that are to differ.

    Attributes:
        lexicon: The cues by which sentences are classified: those that reflect are counted, and after those that
            verify the target writes a longer passage. By default none are.
        top_logprobs: Log-probabilities of how many of the likeliest tokens it needs at the first token of a step.
        takeover_tokens: How long a takeover is where the policy does not say, in tokens; None: the whole step.
        lead: Who writes where nobody has taken over.
    """

    lexicon: Lexicon = NO_CUES
    top_logprobs: int = 0
    takeover_tokens: int | None = 20
    lead: Author = "speculative"

    @abstractmethod
    def examine(self, draft: Draft) -> Decision | None:
        """Say what is to become of a draft; None where that cannot be said yet.

        It is asked again whenever the draft has grown, until it has decided or the sentence has ended; a draft with
        nothing against it goes on. However the draft grows, in the end it must have said the same: what it says of a
        draft it must say of every longer one.
        """
