"""The markers around thoughts in models' texts.

A new format is one entry of `THOUGHT_FORMATS`. Inside this package, a thought always stands between `<think>` and
`</think>`. Only the prompt and the text of the model itself contain the markers of its format.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.replies.continuation import parts
from langchain_spec_thinking.turn import OPENING, THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Turn


@dataclass(frozen=True, slots=True)
class ThoughtFormat:
    r"""The two markers around a thought.

    Attributes:
        opens: The marker before the thought.
        closes: The marker after the thought.
        line_end: What a model writes between the first marker and the thought: `"\n"` or nothing.
    """

    opens: str
    closes: str
    line_end: str = ""

    @property
    def marks(self) -> frozenset[str]:
        """Texts with a meaning in a reply, which a vocabulary may contain as control tokens."""
        return frozenset({self.opens.strip(), self.closes})

    def body(self, turn: Turn, *, opened: bool) -> str:
        """Return the turn as one string, with these markers. The arguments are those of `Turn.body`."""
        if not turn.thinks or self == THINK:
            return turn.body(opened=opened)
        opening = "" if opened else f"{self.opens}{self.line_end}"
        closing = turn.closing.replace(THINK_CLOSE, self.closes)
        pending = turn.pending if turn.closing else turn.pending.replace(THINK_CLOSE, self.closes, 1)
        return f"{opening}{turn.thinking}{closing}{turn.answer}{pending}"

    def is_written_by(self, template: str) -> bool:
        """Return whether a model with this chat template writes its thoughts between these markers."""
        return self.opens in template or self.closes in template


THINK = ThoughtFormat(THINK_OPEN, THINK_CLOSE, OPENING.removeprefix(THINK_OPEN))
THOUGHT_FORMATS: dict[str, ThoughtFormat] = {
    "magistral": ThoughtFormat("[THINK]", "[/THINK]"),
    "seed": ThoughtFormat("<seed:think>", "</seed:think>"),
    "kimi": ThoughtFormat("◁think▷", "◁/think▷"),
    "exaone": ThoughtFormat("<thought>", "</thought>", "\n"),
    "think": THINK,
}
"""All formats with two markers, by name. A model has the first format that its chat template matches."""
UNMISTAKABLE_FORMATS = tuple(form for form in THOUGHT_FORMATS.values() if form.opens != "<thought>")
"""The formats that show a thought in the text of any model. Prompts ask for `<thought>` as an element of the answer."""
STRIPPED = ThoughtFormat("analysis", "assistantfinal")
"""What remains of the markers of harmony if a server removes its control tokens."""
START, CHANNEL, MESSAGE, CALL, RETURN = "<|start|>", "<|channel|>", "<|message|>", "<|call|>", "<|return|>"
"""Control tokens of harmony, the format of gpt-oss."""
MESSAGE_ENDS = ("<|end|>", CALL, RETURN, START, CHANNEL)
"""What ends the text of a message in harmony. A model may omit the end of a message before the next one."""
_HARMONY_MARKS = frozenset({MESSAGE, "<|constrain|>", *MESSAGE_ENDS})
_HARMONY_MARK = re.compile("|".join(map(re.escape, sorted(_HARMONY_MARKS))))
NEXT_MESSAGE = f"<|end|>{START}assistant"
_ZERO_WIDTH_SPACE = "\u200b"


@dataclass(frozen=True, slots=True)
class HarmonyFormat(ThoughtFormat):
    """The format of gpt-oss."""

    @property
    def marks(self) -> frozenset[str]:
        """The control tokens of the format."""
        return _HARMONY_MARKS

    def is_written_by(self, template: str) -> bool:
        """Return whether a chat template writes messages with a channel."""
        return CHANNEL in template and MESSAGE in template

    def body(self, turn: Turn, *, opened: bool) -> str:
        """Return the messages of the turn. The last one is open, unless the model must choose its channel."""
        thought, answer, closed = parts(turn)
        written = ""
        if turn.thinks:
            written = f"{'' if opened else self.opens}{_quoted(thought)}{NEXT_MESSAGE if closed else ''}"
        if turn.thinks and not closed:
            return written
        chooses = turn.tools is not None and turn.tools.choice == "auto" and not answer
        return written if chooses else f"{written}{CHANNEL}final{MESSAGE}{_quoted(answer)}"


HARMONY = HarmonyFormat(f"{CHANNEL}analysis{MESSAGE}", "<|end|>")
"""Harmony. Every message of a reply has a channel, so its text needs a reader of its own: `HarmonyReader`."""


def thought_format_of(template: str) -> ThoughtFormat | None:
    """Return the format in which a model with this chat template writes its thoughts. None: it writes no thoughts."""
    return next((form for form in (HARMONY, *THOUGHT_FORMATS.values()) if form.is_written_by(template)), None)


def _quoted(text: str) -> str:
    """Break up the text of harmony's control tokens, so that the tokenizer sees plain text."""
    return _HARMONY_MARK.sub(lambda mark: f"{mark[0][0]}{_ZERO_WIDTH_SPACE}{mark[0][1:]}", text)
