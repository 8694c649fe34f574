"""The text of a turn as the policy handles it: held first, then committed or dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.policy.commands import (
    CloseThinking,
    Command,
    Commit,
    Drop,
    Generate,
    Insert,
    Kind,
    OpenThinking,
)
from langchain_spec_thinking.policy.endings import Terminators, half_word, indentation
from langchain_spec_thinking.policy.held import Held
from langchain_spec_thinking.turn import THINK_CLOSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.policy.boundary import Boundary
    from langchain_spec_thinking.turn import Author

_CLOSE = Terminators((THINK_CLOSE,))


class TurnText:
    """Does with text what the state machine has decided, and remembers what is needed of the text committed.

    Text is held from `receive` on. It leaves from the front: committed, dropped, or taken as markup.

    Args:
        commands: Where it puts the commands that tell what became of the text, among those of the machine.
        boundary: The delimiter between steps.
        stop: Strings that end the answer.
        max_tokens: Limit of the text kept, in tokens of whoever wrote it.

    Attributes:
        held: Text that is not decided on yet.
        generation: The command that it is written for; None before the first and after the last.
        written: How many tokens came for that command.
        remaining: How many tokens may still be kept.
        tail: The end of the committed text, in which a boundary may have begun; empty after one that was acted on.
        thinks: The turn has a thought.
        blank: Nothing but white space has been answered.
    """

    def __init__(self, commands: list[Command], boundary: Boundary, stop: Sequence[str], max_tokens: int) -> None:
        self.held = Held()
        self.generation: Generate | None = None
        self.written = 0
        self.remaining = max_tokens
        self.tail = ""
        self.thinks = False
        self.blank = True
        self._commands = commands
        self._boundary = boundary
        self._stop = Terminators(tuple(stop))
        self._stop_tail = ""  # the end of the answer, in which a stop string may have begun
        self._last = ""  # the last character committed
        self._closed = False

    @property
    def author(self) -> Author:
        """Who was asked for what is held."""
        return self.generation.author if self.generation else "speculative"

    @property
    def kind(self) -> Kind:
        """As what it was asked for."""
        return self.generation.kind if self.generation else "draft"

    @property
    def in_answer(self) -> bool:
        """Whether what comes now belongs to the answer, or else to the thought."""
        return self._closed or not self.thinks

    def receive(self, text: str, tokens: int, top_logprobs: tuple[float, ...] | None = None) -> None:
        """Hold what was written for `generation`; the arguments are those of `Held.add`."""
        self.held.add(text, tokens, top_logprobs)
        self.written += tokens

    def call(self, tokens: int) -> None:
        """Count a tool call, which is kept and has no text."""
        self.written += tokens
        self.remaining -= tokens
        self.blank = False

    def before_terminator(self, *, final: bool) -> tuple[bool, str]:
        """Return whether a terminator stands in the held text, and what of the text is certainly before any.

        Args:
            final: Nothing follows the held text.
        """
        # A stop string may have begun in what another model wrote, which is final; it ends the turn all the same.
        begun = self._stop_tail if self.in_answer else ""
        text = begun + self.held.text
        found = self._terminators.find(text)
        end = found[0] if found else len(text) if final else len(text) - self._terminators.unsure(text)
        return found is not None, self.held.text[: max(0, end - len(begun))]

    def commit(self, characters: int | None = None) -> str:
        """Commit so much from the front, or all that is held, and return it."""
        text, tokens = self.held.take(len(self.held.text) if characters is None else characters)
        if not text and not tokens:
            return ""
        self.remaining -= tokens
        self._commands.append(Commit(text, tokens, "answer" if self._closed else self.kind, self.author))
        if self.in_answer:
            self.blank = self.blank and not text.strip()
            self._stop_tail = self._stop.tail(self._stop_tail + text)
        self._remember(text)
        return text

    def commit_whole_words(self, before: str) -> None:
        """Commit what another model can go on from, and drop the rest: half a word, what may begin a terminator.

        Args:
            before: What the same model has committed before.
        """
        text = before + self.held.text
        kept = min(half_word(text), len(text) - self._terminators.unsure(text))
        self.commit(max(0, kept - len(before)))
        self.drop()

    def drop(self) -> None:
        """Drop all that is held."""
        text, tokens = self.held.take(len(self.held.text))
        if text or tokens:
            self._commands.append(Drop(text, tokens, self.author))

    def drop_draft(self) -> None:
        """Drop a draft but for its indentation, which the boundary's token may hold."""
        self.commit(indentation(self.held.text))
        self.drop()

    def insert(self, text: str, kind: Kind) -> None:
        """Append text that no model wrote."""
        self._commands.append(Insert(text, kind))
        self._remember(text)

    def take_markup(self, characters: int) -> None:
        """Take so much from the front that is no text, but a tag or white space around it."""
        _, tokens = self.held.take(characters)
        self.remaining -= tokens

    def open_thought(self) -> None:
        """Begin the thought."""
        self.thinks = True
        self._commands.append(OpenThinking())

    def close_thought(self, markup: str = f"{THINK_CLOSE}\n\n") -> None:
        """End the thought, with a tag that stands there or is put there."""
        self._closed = True
        self._commands.append(CloseThinking(markup))

    def close_open_thought(self) -> None:
        """End a thought that its author left open: the tag gets a line of its own."""
        line_end = "" if self._last in {"", "\n"} else "\n"
        self.close_thought(f"{line_end}{THINK_CLOSE}\n\n")

    @property
    def _terminators(self) -> Terminators:
        return self._stop if self.in_answer else _CLOSE

    def _remember(self, text: str) -> None:
        self.tail = self._boundary.tail(self.tail + text)
        self._last = text[-1:] or self._last
