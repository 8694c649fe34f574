"""The base class of triggers. A trigger examines the beginning of a step and decides which model continues."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from langchain_spec_thinking.policy.cues import Cue, Lexicon

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Author

NO_CUES = Lexicon((), (), ())
TakeoverTokens = int | Literal["rest"] | None
"""The length of a takeover: a number of tokens, None for the whole step, or `"rest"` for the rest of the thought."""
NO_LOGPROBS = (
    "the server of the small model returned no log-probabilities for the first token of a step, so the trigger skipped "
    "the step. Check that the server supports log-probabilities."
)


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The first token of a step.

    The first word of the step begins in this token. A token that contains both the end of the boundary and the first
    word does not count, because the model chose it to end the previous step. The next token then counts.

    Attributes:
        at: Where the token begins, in characters from the start of the draft.
        top_logprobs: Log-probabilities of the most likely tokens at this position, the most likely first.
    """

    at: int
    top_logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """The text that a trigger examines: everything since a boundary that was received so far.

    Attributes:
        text: The text. More text may follow.
        limit: Number of characters at the start of `text` that certainly belong to the first sentence. When the
            sentence is complete, this is its length.
        final: Whether no more text follows.
        index: How many drafts of the turn were decided before this one. A draft knows no other position: it contains
            no earlier text, and no number of characters or tokens.
        first_token: The first token of the step. None if it was not received yet, or if its log-probabilities are
            unknown. A trigger requests them with its `top_logprobs`.
    """

    text: str
    limit: int
    final: bool = False
    index: int = 0
    first_token: FirstToken | None = None

    @property
    def sentence(self) -> str:
        """The first sentence, as far as it is known.

        It has at most `takeover_tokens` tokens, or 20 if takeovers are whole steps or the rest. Here words and
        punctuation marks are counted as tokens, so that every tokenizer leads to the same decision.
        """
        return self.text[: self.limit]


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """A decision: wait for the end of the step, then let the target model score it with one digit.

    Attributes:
        question: The question about the step. It follows the step directly. The answer is not part of the turn.
        threshold: The minimum digit at which the step is kept. If the digit is lower, the target model rewrites the
            step.
    """

    question: str
    threshold: int


Decision = Cue | ScoreRequest | Literal["keep"]
"""What a trigger decides about a draft.

A `Cue` lets the other model take over. Return `TAKE_OVER` if no word is the reason. A `ScoreRequest` lets the target
model score the step first. `"keep"` keeps the draft, whatever text follows.
"""
TAKE_OVER: Final = Cue("", "trigger", 0)
"""The decision that the other model takes over, for a reason other than a word."""


@dataclass(frozen=True)
class TunableParameter:
    """A numeric parameter of a trigger or its policy. The target's share changes with it in one direction.

    Attributes:
        field: Name of the field: a field of the trigger, or `takeover_tokens` of the policy.
        at_lowest_share: Value at which the target's share is lowest. It may be the larger one of the two values.
        at_highest_share: Value at which the target's share is highest.
        integer: Whether the value is an integer.
        zero_at_lowest: Whether the trigger never fires at `at_lowest_share`. The target's share is then 0.
    """

    field: str
    at_lowest_share: float
    at_highest_share: float
    integer: bool = False
    zero_at_lowest: bool = True


class Trigger(ABC):
    """Decides at a boundary whether the other model takes over.

    To write your own trigger, override `examine`, and the attributes that need another value. Decorate the class with
    `register_trigger` if saved policies, recorded runs and command lines should be able to name it.

    If a trigger has a field with the name `seed`, `spec-thinking evaluate` replaces its value for each question.

    Attributes:
        lexicon: The cues that classify sentences. Reflecting sentences of takeovers are counted. After a sentence that
            verifies, in a takeover or in a draft that is kept, the other model writes a longer passage. By default
            there are no cues.
        top_logprobs: For how many of the most likely tokens the trigger needs log-probabilities at the first token of a
            step.
        takeover_tokens: The length of a takeover if the policy does not set one, in tokens. None: the whole step.
            `"rest"`: the rest of the thought.
        lead: The model that writes until the other model takes over.
        tunable: The parameter that `spec-thinking calibrate` tunes. None: there is none. A registered trigger must
            define this attribute.
    """

    lexicon: Lexicon = NO_CUES
    top_logprobs: int = 0
    takeover_tokens: TakeoverTokens = 20
    lead: Author = "speculative"
    tunable: ClassVar[TunableParameter | None]

    @abstractmethod
    def examine(self, draft: Draft) -> Decision | None:
        """Return the decision about a draft; None if it needs more text.

        The policy calls this method again whenever the draft has grown, until it decides or the sentence ends. If it
        has not decided by then, the draft is kept. Decisions must be monotonic: every longer draft gets the same
        decision. Otherwise the result would depend on how the text is split into chunks.
        """


def decision_of(trigger: Trigger, draft: Draft) -> Decision | None:
    """Return what a trigger decides about a draft; None if it needs more text.

    Raises:
        TypeError: `examine` returned something else. Without this check, the draft would be kept.
    """
    decision = trigger.examine(draft)
    if decision is None or decision == "keep" or isinstance(decision, (Cue, ScoreRequest)):
        return decision
    msg = (
        f"{type(trigger).__name__}: expected `examine` to return a Cue (TAKE_OVER if no word is the reason), a "
        f"ScoreRequest, 'keep' or None, got {decision!r}"
    )
    raise TypeError(msg)
