"""The text of a turn in the policy. Text is held first, and then committed or dropped."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from langchain_spec_thinking.policy.blocks import Blocks
from langchain_spec_thinking.policy.boundary import Boundary
from langchain_spec_thinking.policy.commands import (
    CloseThinking,
    Command,
    Commit,
    Drop,
    EndReason,
    Finish,
    Generate,
    Insert,
    Kind,
    Note,
    OpenThinking,
)
from langchain_spec_thinking.policy.endings import (
    WHITE_SPACE_MAX,
    WORD_MAX,
    Terminators,
    cut_at_word,
    indentation,
    last_word_start,
)
from langchain_spec_thinking.policy.held_text import HeldText
from langchain_spec_thinking.policy.reference_rules import RivalDraft, WholeDraft
from langchain_spec_thinking.policy.scored_step import SCORE_TOKENS, ScoredStep
from langchain_spec_thinking.policy.takeover_text import WORD_TOKENS, TakeoverText
from langchain_spec_thinking.policy.triggers import Draft
from langchain_spec_thinking.turn import THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.policy.scored_step import StepEnding
    from langchain_spec_thinking.policy.thinking_limit import ThinkingLimit
    from langchain_spec_thinking.turn import Author

_CLOSE = Terminators((THINK_CLOSE,))


class TurnText:
    """Carries out the decisions of the state machine, and records what later decisions need.

    Received text is held. It leaves from the front: it is committed, dropped, or taken as markup. Each decision becomes
    a command for the driver.

    Args:
        delimiter: The text between two steps.
        stop: Strings that end the answer.
        max_tokens: The maximum number of tokens to keep. Each token counts in the vocabulary of its author.
        thinking_limit: How long the thought may become.
        divide_pieces: As in `Delegation`.
        finish_words: As in `Delegation`.
        shares_answer: Whether both models write the answer after a thought too. Its text is then of the same kinds as
            that of the thought.
        boundaries_in_blocks: As in `ReferenceRules`.

    Attributes:
        held: Text that is not decided on yet.
        generation: The command for which the held text is written. None before the first command and after the last.
        written: How many tokens were received for that command.
        end_reason: Why the stream of that command ended. None while the stream runs.
        remaining: How many tokens may still be kept.
        tail: The end of the committed text that may contain the beginning of a boundary. It is empty after a boundary
            that was handled.
        thinks: Whether the turn has a thought.
        answer_is_blank: Whether the answer contains only white space so far.
    """

    def __init__(
        self,
        delimiter: str,
        stop: Sequence[str],
        max_tokens: int,
        thinking_limit: ThinkingLimit,
        *,
        divide_pieces: bool = True,
        finish_words: bool = False,
        shares_answer: bool = False,
        boundaries_in_blocks: bool = False,
    ) -> None:
        self.held = HeldText(divide_pieces=divide_pieces)
        self.generation: Generate | None = None
        self.written = 0
        self.end_reason: EndReason | None = None
        self.remaining = max_tokens
        self.tail = ""
        self.thinks = False
        self.answer_is_blank = True
        self._commands: list[Command] = []
        self._max_tokens = max_tokens
        self._thinking_limit = thinking_limit
        self._finish_words = finish_words
        self._shares_answer = shares_answer
        self._boundary = Boundary(delimiter)
        # the block in which the committed text ends, if delimiters inside blocks are no boundaries
        self._blocks = Blocks() if self._boundary.is_blank_line and not boundaries_in_blocks else None
        self._stop = Terminators(tuple(stop))
        self._stop_tail = ""  # the end of the answer, which may contain the beginning of a stop string
        self._end = ""  # the end of the committed text, which may contain the beginning of a word
        self._takeover = TakeoverText()
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
    def limit_reached(self) -> bool:
        """Whether the author wrote as many tokens as requested."""
        return self.generation is not None and self.written >= self.generation.max_tokens

    @property
    def in_answer(self) -> bool:
        """Whether the next text belongs to the answer. If not, it belongs to the thought."""
        return self._closed or not self.thinks

    @property
    def final(self) -> bool:
        """Whether no more text follows the held text."""
        return self.end_reason is not None

    @property
    def kept(self) -> int:
        """How many tokens are kept so far."""
        return self._max_tokens - self.remaining

    @property
    def tokens_to_limit(self) -> int:
        """How many more tokens may arrive until a limit is reached at which the policy must examine the text."""
        limits = [] if self._takeover.limit is None else [self._takeover.limit - self.written]
        if not self.in_answer or (self.answer_is_blank and not self._closed):  # the first text may still open a thought
            limits.append(self._thinking_limit.left(self.kept + self.held.tokens))
        return min((limit for limit in limits if limit > 0), default=sys.maxsize)

    @property
    def thought_is_long(self) -> bool:
        """Whether the committed thought is so long that it is closed at the next boundary."""
        return not self.in_answer and self.kept >= self._thinking_limit.soft

    @property
    def thought_is_full(self) -> bool:
        """Whether the thought must end now. The held text counts too."""
        return not self.in_answer and self.kept + self.held.tokens >= self._thinking_limit.hard

    @property
    def thought_has_no_room(self) -> bool:
        """Whether the thought must end before any held text, because a think tag alone reached its limit."""
        return not self.in_answer and self.kept >= self._thinking_limit.hard

    @property
    def takeover_text(self) -> str:
        """The text that the current takeover has committed."""
        return self._takeover.text

    def take_commands(self) -> list[Command]:
        """Return the commands since the last call."""
        commands, self._commands = self._commands, []
        return commands

    def request(
        self, author: Author, kind: Kind, cue: str | None, limit: int | None, prompt_suffix: str, top_logprobs: int
    ) -> bool:
        """Request a new stream. The text that is received from now on belongs to it.

        Args:
            author: The model that writes.
            kind: The kind of text.
            cue: The cue that led to the request.
            limit: The maximum length of the stream, in tokens. None: as many tokens as may be kept.
            prompt_suffix: Text that follows the text of the turn in this request only.
            top_logprobs: For how many of the most likely tokens log-probabilities are needed.

        Returns:
            Whether tokens are left. If not, nothing is requested.
        """
        if self.remaining <= 0:
            return False
        room = SCORE_TOKENS if kind == "score" else self.remaining  # a score is not part of the turn
        finishes_word = self._finish_words and author == "target" and limit is not None
        self._takeover = TakeoverText(limit if finishes_word else None)
        max_tokens = room if limit is None else min(limit + (WORD_TOKENS if finishes_word else 0), room)
        self.generation = Generate(author, max_tokens, kind, cue, prompt_suffix, top_logprobs)
        self.written, self.end_reason = 0, None
        self._commands.append(self.generation)
        return True

    def finish(self, reason: EndReason) -> None:
        """End the turn."""
        self.generation = None
        self._commands.append(Finish(reason))

    def note(self, message: str) -> None:
        """Report that something did not work as configured."""
        self._commands.append(Note(message))

    def receive(self, text: str, tokens: int, top_logprobs: tuple[float, ...] | None = None) -> None:
        """Hold text that was written for `generation`. The arguments are those of `HeldText.add`."""
        self.held.add(text, tokens, top_logprobs)
        self.written += tokens

    def count_call(self, tokens: int) -> None:
        """Count the tokens of a tool call. The call is kept and has no text."""
        self.written += tokens
        self.remaining -= tokens
        self.answer_is_blank = False

    def before_terminator(self, limit: int | None = None) -> tuple[bool, str]:
        """Return whether the held text contains a terminator, and the part of the text before any terminator.

        The part excludes characters at the end that may be the beginning of a terminator.

        Args:
            limit: Examine only this many characters, as if no more had arrived. None: all held text.
        """
        # A stop string also ends the turn if its first part is committed text of another model.
        stop_tail = self._stop_tail if self.in_answer else ""
        text, final = stop_tail + self.held.text[:limit], self.final and limit is None
        found = self._terminators.find(text)
        end = found[0] if found else len(text) if final else len(text) - self._terminators.partial_length(text)
        return found is not None, self.held.text[: max(0, end - len(stop_tail))]

    def commit(self, characters: int | None = None) -> str:
        """Commit `characters` characters from the front, or all held text, and return the committed text."""
        text, tokens = self.held.take(len(self.held.text) if characters is None else characters)
        if not text and not tokens:
            return ""
        self.remaining -= tokens
        in_answer = self._closed and not self._shares_answer
        self._commands.append(Commit(text, tokens, "answer" if in_answer else self.kind, self.author))
        if self.in_answer:
            self.answer_is_blank = self.answer_is_blank and not text.strip()
            self._stop_tail = self._stop.tail(self._stop_tail + text)
        self._record_end(text)
        return text

    def commit_through_boundary(self, head: str) -> bool:
        """Commit `head` up to the end of its first boundary, or all of it, and return whether it has a boundary.

        Args:
            head: The part of the held text before any terminator.
        """
        boundary = self._boundary.search(self.tail, head, self._blocks)
        self.commit(boundary[1] if boundary else len(head))
        if boundary:
            self.tail = ""
        return boundary is not None

    def without_last_word(self, head: str) -> str:
        """Return `head`, but without its last word if the thought may be closed there. The word may be incomplete.

        Args:
            head: The part of the held text before any terminator.
        """
        if self.in_answer or self.final or self.kept + self.held.tokens <= self._thinking_limit.soft:
            return head
        return head[: max(0, last_word_start(self._end + head) - len(self._end))]

    def after_boundary(self) -> tuple[bool, str]:
        """Commit the rest of a boundary, and return the same as `before_terminator` for the text after the boundary.

        White space is also committed if nothing else follows, or if it is too long to be held.
        """
        stop, head = self.before_terminator()
        extension = self._boundary.extension(head)
        self.commit(extension)
        head = head[extension:]
        if not head.strip():
            if self.final or stop:
                self.commit(len(head))
            elif len(head) > WHITE_SPACE_MAX:
                self.commit(indentation(head))
        return stop, head

    def pass_boundary(self) -> bool:
        """Return whether the committed text ends with a boundary. The same boundary is not found again."""
        found = self._boundary.ends_with_boundary(self.tail) and not (self._blocks and self._blocks.is_open)
        if found:
            self.tail = ""
        return found

    def commit_takeover(self, characters: int) -> None:
        """Commit `characters` characters from the front as text of the current takeover."""
        self._takeover.add(self.commit(characters))

    def commit_takeover_words(self, head: str) -> bool:
        """Commit the text of a takeover except its last word. That word may be incomplete, and is then dropped later.

        Args:
            head: The part of the held text before any terminator.

        Returns:
            Whether the takeover is complete: it reached the limit at which it ends at white space.
        """
        characters, complete = self._takeover.next_words(head, self.written)
        self.commit_takeover(characters)
        return complete

    def end_takeover(self, *, whole: bool = False) -> str:
        """Commit the text of a takeover up to the end of a word, so that another model can continue. Drop the rest.

        The dropped rest is an incomplete word or the possible beginning of a terminator.

        Args:
            whole: Whether to commit an incomplete word too.

        Returns:
            The text of the takeover that is part of the turn.
        """
        before = self.takeover_text
        text = before + self.held.text
        end = len(text) if whole else cut_at_word(text)
        kept = min(end, len(text) - self._terminators.partial_length(text))
        committed = before + self.commit(max(0, kept - len(before)))
        self.drop()
        return committed

    def takeover_step_end(self, head: str) -> tuple[bool, int | None]:
        """Return whether a boundary ends the step of a takeover, and where the step ends, in characters.

        The end is None if no boundary ends the step yet, or if more white space may follow. The boundary after the step
        belongs to the step. White space at the start of a step is not a boundary.

        Args:
            head: The part of the held text before any terminator.
        """
        start = len(head) - len(head.lstrip()) if self._takeover.is_blank else 0
        blocks = self._blocks and self._blocks.after(head[:start])
        boundary = self._boundary.search("" if self._takeover.is_blank else self.tail, head[start:], blocks)
        if boundary is None:
            return False, None
        return True, self._boundary.end_with_white_space(head, start + boundary[1], last=self.final)

    def draft(
        self, head: str, sentence_tokens: int, index: int, *, stop: bool, first_token: bool
    ) -> tuple[Draft, bool]:
        """Return the held text as the draft that a trigger examines, and whether its first sentence is complete.

        Args:
            head: The part of the held text before any terminator.
            sentence_tokens: The length of the first sentence, in tokens. It is shorter if the step ends earlier.
            index: How many drafts of the turn were decided before this one.
            stop: Whether a terminator follows `head`.
            first_token: Whether the trigger needs the first token of the step.
        """
        end = self._boundary.sentence_end(head, sentence_tokens, self._blocks, last=stop or self.final)
        limit = len(head) if end is None else end
        # The token of a boundary is not a first token.
        before = limit - self._boundary.partial_length(head) if end is None else end
        first = self.held.first_token(before) if first_token else None
        return Draft(self.held.text[: limit + 1], limit, self.final, index, first), end is not None

    def whole_draft(self, tokens: int) -> WholeDraft:
        """Commit the rest of a boundary, and return the held text as a draft of the reference implementation.

        Such a draft ignores boundaries and the end of the thought. A stop string ends it.

        Args:
            tokens: The length of the draft, in tokens of its author.
        """
        while True:
            end = self.held.end_of_tokens(tokens)
            found, head = self.before_terminator(end)
            extension = self._boundary.extension(head)
            if not extension:
                break
            self.commit(extension)
        stop, full = found and self.in_answer, end is not None
        text = head if stop else self.held.text[:end]
        return WholeDraft(text, head, full, complete=stop or full or self.final, terminated=found)

    def set_aside(self, draft: WholeDraft) -> RivalDraft:
        """Take a draft, up to any terminator, because a takeover may replace it, and drop the text after it."""
        text, tokens = self.held.take(len(draft.head))
        self.drop()
        return RivalDraft(draft, text, tokens, self.generation)

    def commit_rival(self, draft: RivalDraft) -> None:
        """Drop the text of a takeover, and commit the draft that it does not replace."""
        self.drop()
        self.generation = draft.generation
        self.held.add(draft.text, draft.tokens)
        self.commit()

    def take_step(self, head: str, threshold: int, *, stop: bool) -> ScoredStep | None:
        """Take a step from the front, because the target model scores it, and drop the text after the step.

        Args:
            head: The part of the held text before any terminator.
            threshold: The minimum score at which the step is kept.
            stop: Whether a terminator follows `head`.

        Returns:
            The step; None if the step may continue.
        """
        end = self._boundary.step_end(head, self._blocks, last=stop or self.final)
        if end is None:
            return None
        ending: StepEnding | None = "terminator" if stop else self.end_reason
        text, tokens = self.held.take(end)
        self.drop()
        return ScoredStep(text, tokens, self.generation, self.written, threshold, ending if end == len(head) else None)

    def hold_again(self, step: ScoredStep) -> None:
        """Hold a step again after its score. The text of the score is dropped."""
        self.drop()
        self.generation, self.written = step.generation, step.written
        self.held.add(step.text, step.tokens)

    def drop(self) -> None:
        """Drop all held text."""
        text, tokens = self.held.take(len(self.held.text))
        if text or tokens:
            self._commands.append(Drop(text, tokens, self.author))

    def drop_tokens(self, tokens: int, author: Author) -> None:
        """Drop tokens of text that is not held: its stream was over, or a takeover replaced it."""
        if tokens:
            self._commands.append(Drop("", tokens, author))

    def drop_draft(self, *, keep_indentation: bool) -> None:
        """Drop a draft, but commit its indentation if asked to, because that may be part of the boundary's token."""
        if keep_indentation:
            self.commit(indentation(self.held.text))
        self.drop()

    def insert(self, text: str, kind: Kind) -> None:
        """Insert text that no model wrote."""
        self._commands.append(Insert(text, kind))
        self._record_end(text)

    def take_markup(self, characters: int) -> None:
        """Take `characters` characters of markup from the front: a tag or the white space around a tag."""
        _, tokens = self.held.take(characters)
        self.remaining -= max(0, tokens)  # a server may report fewer tokens than its text before this has

    def take_think_tag(self) -> bool:
        """Take a think tag from the start of the turn, and begin a thought.

        Returns:
            Whether the start of the turn is complete. If not, the held text may still become a think tag, or white
            space after the tag may follow. After `WHITE_SPACE_MAX` characters of white space, the start is complete.
        """
        held = self.held.text
        start = held.lstrip()
        space = len(held) - len(start)
        if space > WHITE_SPACE_MAX:
            return True
        if not self.final and THINK_OPEN.startswith(start):
            return False
        if start.startswith(THINK_OPEN):
            thought = start.removeprefix(THINK_OPEN)
            if not self.final and _is_short_space(thought):
                return False
            self.take_markup(space + len(THINK_OPEN) + _space_length(thought))
            if not self.thinks:
                self.open_thought()
        return True

    def take_closing_space(self) -> bool:
        """Take the white space after the closing think tag, and end the thought.

        Returns:
            Whether the white space is complete. If not, more of it may follow. After `WHITE_SPACE_MAX` characters, it
            is complete.
        """
        held = self.held.text
        if not self.final and _is_short_space(held):
            return False
        space = held[: _space_length(held)]
        self.take_markup(len(space))
        self.close_thought(THINK_CLOSE + space)
        return True

    def open_thought(self) -> None:
        """Begin the thought."""
        self.thinks = True
        self._commands.append(OpenThinking())

    def close_thought(self, markup: str = f"{THINK_CLOSE}\n\n") -> None:
        """End the thought. `markup` is the tag that the model wrote, or a tag that is added for it."""
        self._closed = True
        self.tail = self._boundary.tail(markup)
        self._blocks = self._blocks and Blocks()
        self._commands.append(CloseThinking(markup))

    def close_open_thought(self) -> None:
        """End a thought that its author did not end. The added tag gets its own line."""
        line_end = "" if self._end[-1:] in {"", "\n"} else "\n"
        self.close_thought(f"{line_end}{THINK_CLOSE}\n\n")

    @property
    def _terminators(self) -> Terminators:
        return self._stop if self.in_answer else _CLOSE

    def _record_end(self, text: str) -> None:
        self.tail = self._boundary.tail(self.tail + text)
        self._blocks = self._blocks and self._blocks.after(text)
        self._end = (self._end + text)[-WORD_MAX - 2 :]


def _is_short_space(text: str) -> bool:
    """Return whether a text is white space, and more white space may still be held."""
    return len(text) < WHITE_SPACE_MAX and not text.strip()


def _space_length(text: str) -> int:
    """Return the length of the white space at the start of a text, at most `WHITE_SPACE_MAX` characters."""
    return min(len(text) - len(text.lstrip()), WHITE_SPACE_MAX)
