"""The text of a turn in the policy. Text is held first, and then committed or dropped."""

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
from langchain_spec_thinking.policy.endings import Terminators, cut_at_word, indentation
from langchain_spec_thinking.policy.held_text import HeldText
from langchain_spec_thinking.turn import THINK_CLOSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.policy.boundary import Boundary
    from langchain_spec_thinking.turn import Author

_CLOSE = Terminators((THINK_CLOSE,))


class TurnText:
    """Carries out the decisions of the state machine about text, and records what later decisions need.

    Received text is held. It leaves from the front: it is committed, dropped, or taken as markup.

    Args:
        commands: The list of the state machine's commands. This class appends its own commands to it.
        boundary: The delimiter between steps.
        stop: Strings that end the answer.
        max_tokens: The maximum number of tokens to keep. Each token counts in the vocabulary of its author.

    Attributes:
        held: Text that is not decided on yet.
        generation: The command for which the held text is written. None before the first command and after the last.
        written: How many tokens were received for that command.
        remaining: How many tokens may still be kept.
        tail: The end of the committed text that may contain the beginning of a boundary. It is empty after a boundary
            that was handled.
        thinks: Whether the turn has a thought.
        answer_is_blank: Whether the answer contains only white space so far.
    """

    def __init__(self, commands: list[Command], boundary: Boundary, stop: Sequence[str], max_tokens: int) -> None:
        self.held = HeldText()
        self.generation: Generate | None = None
        self.written = 0
        self.remaining = max_tokens
        self.tail = ""
        self.thinks = False
        self.answer_is_blank = True
        self._commands = commands
        self._boundary = boundary
        self._stop = Terminators(tuple(stop))
        self._stop_tail = ""  # the end of the answer, which may contain the beginning of a stop string
        self._last_character = ""
        self._closed = False

    @property
    def author(self) -> Author:
        """The model that was asked for the held text."""
        return self.generation.author if self.generation else "speculative"

    @property
    def kind(self) -> Kind:
        """The kind of the command for the held text."""
        return self.generation.kind if self.generation else "draft"

    @property
    def in_answer(self) -> bool:
        """Whether the next text belongs to the answer. If not, it belongs to the thought."""
        return self._closed or not self.thinks

    def receive(self, text: str, tokens: int, top_logprobs: tuple[float, ...] | None = None) -> None:
        """Hold text that was written for `generation`. The arguments are those of `HeldText.add`."""
        self.held.add(text, tokens, top_logprobs)
        self.written += tokens

    def count_call(self, tokens: int) -> None:
        """Count the tokens of a tool call. The call is kept and has no text."""
        self.written += tokens
        self.remaining -= tokens
        self.answer_is_blank = False

    def before_terminator(self, *, final: bool) -> tuple[bool, str]:
        """Return whether the held text contains a terminator, and the part of the text before any terminator.

        The part excludes characters at the end that may be the beginning of a terminator.

        Args:
            final: Whether no more text follows the held text.
        """
        # A stop string also ends the turn if its first part is committed text of another model.
        stop_tail = self._stop_tail if self.in_answer else ""
        text = stop_tail + self.held.text
        found = self._terminators.find(text)
        end = found[0] if found else len(text) if final else len(text) - self._terminators.partial_length(text)
        return found is not None, self.held.text[: max(0, end - len(stop_tail))]

    def commit(self, characters: int | None = None) -> str:
        """Commit `characters` characters from the front, or all held text, and return the committed text."""
        text, tokens = self.held.take(len(self.held.text) if characters is None else characters)
        if not text and not tokens:
            return ""
        self.remaining -= tokens
        self._commands.append(Commit(text, tokens, "answer" if self._closed else self.kind, self.author))
        if self.in_answer:
            self.answer_is_blank = self.answer_is_blank and not text.strip()
            self._stop_tail = self._stop.tail(self._stop_tail + text)
        self._record_end(text)
        return text

    def commit_whole_words(self, before: str) -> None:
        """Commit the held text up to the end of a word, so that another model can continue, and drop the rest.

        The dropped rest is an incomplete word or the possible beginning of a terminator.

        Args:
            before: Text of the same takeover that is already committed.
        """
        text = before + self.held.text
        kept = min(cut_at_word(text), len(text) - self._terminators.partial_length(text))
        self.commit(max(0, kept - len(before)))
        self.drop()

    def drop(self) -> None:
        """Drop all held text."""
        text, tokens = self.held.take(len(self.held.text))
        if text or tokens:
            self._commands.append(Drop(text, tokens, self.author))

    def drop_draft_keep_indentation(self) -> None:
        """Drop a draft, but commit its indentation, because that may be part of the boundary's token."""
        self.commit(indentation(self.held.text))
        self.drop()

    def insert(self, text: str, kind: Kind) -> None:
        """Insert text that no model wrote."""
        self._commands.append(Insert(text, kind))
        self._record_end(text)

    def take_markup(self, characters: int) -> None:
        """Take `characters` characters of markup from the front: a tag or the white space around a tag."""
        _, tokens = self.held.take(characters)
        self.remaining -= tokens

    def open_thought(self) -> None:
        """Begin the thought."""
        self.thinks = True
        self._commands.append(OpenThinking())

    def close_thought(self, markup: str = f"{THINK_CLOSE}\n\n") -> None:
        """End the thought. `markup` is the tag that the model wrote, or a tag that is added for it."""
        self._closed = True
        self._commands.append(CloseThinking(markup))

    def close_open_thought(self) -> None:
        """End a thought that its author did not end. The added tag gets its own line."""
        line_end = "" if self._last_character in {"", "\n"} else "\n"
        self.close_thought(f"{line_end}{THINK_CLOSE}\n\n")

    @property
    def _terminators(self) -> Terminators:
        return self._stop if self.in_answer else _CLOSE

    def _record_end(self, text: str) -> None:
        self.tail = self._boundary.tail(self.tail + text)
        self._last_character = text[-1:] or self._last_character
