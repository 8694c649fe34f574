"""What the policy tells the driver to do. Small frozen classes, named for what happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Author

Kind = Literal[
    "draft",
    "opening",
    "affirmation",
    "reflection",
    "verification",
    "excessive_reflection",
    "trigger",
    "score",
    "lead",
    "relay",
    "answer",
]
EndReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Generate:
    """Let `author` continue the turn by at most `max_tokens` tokens. Ends the stream that ran before.

    Attributes:
        prompt_suffix: Text that stands after the turn's in this request alone: what is asked about, and a question.
        top_logprobs: Of how many of the likeliest tokens the policy wants the log-probabilities.
    """

    author: Author
    max_tokens: int
    kind: Kind
    cue: str | None = None
    prompt_suffix: str = ""
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class Commit:
    """`text`, which `author` was asked for, is final: append it to the turn and show it."""

    text: str
    tokens: int
    kind: Kind
    author: Author


@dataclass(frozen=True, slots=True)
class Drop:
    """`text` was written, by whom `author` was asked for it, but is not part of the turn."""

    text: str
    tokens: int
    author: Author


@dataclass(frozen=True, slots=True)
class Insert:
    """Append `text`, which no model wrote."""

    text: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class OpenThinking:
    """The turn has a thinking part, and it begins here."""


@dataclass(frozen=True, slots=True)
class CloseThinking:
    """The thought ends here; `markup` is the tag with the white space around it."""

    markup: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something did not work as set up: tell it, in these words."""

    words: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The turn is over, because a model (or a stop string) ended it or because its tokens are used up."""

    reason: EndReason


Command = Generate | Commit | Drop | Insert | OpenThinking | CloseThinking | Note | Finish
