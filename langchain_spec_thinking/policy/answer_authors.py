"""The models that write the answer, and which of them continues after a stream ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_spec_thinking.policy.commands import EndReason
    from langchain_spec_thinking.policy.turn_text import TurnText
    from langchain_spec_thinking.turn import Author

OTHER: Final[Mapping[Author, Author]] = {"speculative": "target", "target": "speculative"}
"""The other model of the pair."""


class AnswerAuthors:
    """Decides which model is asked for the answer after a stream ended.

    Args:
        answer_by: The model that writes the answer after the thought ends.
        passes_on: Whether the other model answers if the context of the first one is full before it wrote anything.

    Attributes:
        asked: The models that were asked for the answer and ended it themselves.
    """

    def __init__(self, answer_by: Author, *, passes_on: bool = True) -> None:
        self._answer_by: Author = answer_by
        self._passes_on = passes_on
        self.asked: set[Author] = set()

    def next_author(self, text: TurnText, reason: EndReason, *, answering: bool) -> Author | None:
        """Return the model that answers, or continues the answer, after a stream ended; None if the turn is over.

        Args:
            text: The text of the turn. All of it is committed.
            reason: Why the stream ended.
            answering: Whether one model was writing the answer: after a thought, or as a structured answer. False in
                an answer that both models write.
        """
        if reason == "length":
            return self._after_limit(text, answering=answering)
        if not text.in_answer:
            return self._answer_by
        self.asked.add(text.author)
        return OTHER[text.author] if text.answer_is_blank and OTHER[text.author] not in self.asked else None

    def _after_limit(self, text: TurnText, *, answering: bool) -> Author | None:
        if text.remaining <= 0:
            return None
        if not text.in_answer:
            # The author's context is full, or its server wrote less than requested. The other model answers.
            return None if text.limit_reached else OTHER[text.author]
        if self._passes_on and text.answer_is_blank and not text.limit_reached:  # the author's context is full
            self.asked.add(text.author)
            return None if OTHER[text.author] in self.asked else OTHER[text.author]
        # If a takeover ended the thought and began the answer, its author continues the answer.
        author_began_answer = answering and text.kind not in {"answer", "draft", "lead"}
        return text.author if author_began_answer else None
