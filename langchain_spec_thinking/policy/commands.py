"""The commands that the policy returns to the driver. Each command is a small frozen class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

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
    "escalation",
]
SENTENCE_KINDS: Final[tuple[Kind, ...]] = ("affirmation", "reflection", "trigger", "relay")
"""The kinds of takeovers that write the sentence after a boundary. That sentence is then classified."""
LEADING_KINDS: Final[tuple[Kind, ...]] = ("draft", "lead")
"""The kinds of text that the leading model writes."""
EndReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Generate:
    """Let `author` continue the turn by at most `max_tokens` tokens. This command ends the previous stream.

    Attributes:
        prompt_suffix: Text that follows the text of the turn in this request only. It contains the step to score and a
            question about the step.
        top_logprobs: For how many of the most likely tokens the policy needs log-probabilities. 0: for none.
    """

    author: Author
    max_tokens: int
    kind: Kind
    cue: str | None = None
    prompt_suffix: str = ""
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class Commit:
    """Append `text` to the turn and show it. The text is final. It was requested from `author`."""

    text: str
    tokens: int
    kind: Kind
    author: Author


@dataclass(frozen=True, slots=True)
class Drop:
    """Discard `text`. It was written but is not part of the turn. It was requested from `author`."""

    text: str
    tokens: int
    author: Author


@dataclass(frozen=True, slots=True)
class Insert:
    """Append `text` to the turn. No model wrote it."""

    text: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class OpenThinking:
    """Begin the thought. The turn then has a thinking part."""


@dataclass(frozen=True, slots=True)
class CloseThinking:
    """End the thought. `markup` is the closing tag with the white space around it."""

    markup: str


@dataclass(frozen=True, slots=True)
class Note:
    """Report that something did not work as configured. `message` says what."""

    message: str


@dataclass(frozen=True, slots=True)
class Finish:
    """End the turn. A model or a stop string ended it (`"stop"`), or no tokens are left (`"length"`)."""

    reason: EndReason


Command = Generate | Commit | Drop | Insert | OpenThinking | CloseThinking | Note | Finish
