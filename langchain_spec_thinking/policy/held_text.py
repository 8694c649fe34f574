"""Text that was received and is not yet committed or dropped."""

from __future__ import annotations

from collections import deque

from langchain_spec_thinking.policy.triggers.base import FirstToken


class HeldText:
    """A queue of characters that records how many tokens they cost.

    Attributes:
        text: The held characters.
    """

    def __init__(self) -> None:
        self.text = ""
        self._pieces: deque[_Piece] = deque()

    def add(self, text: str, tokens: int, top_logprobs: tuple[float, ...] | None = None) -> None:
        """Add text to the end of the queue.

        Args:
            text: The text. It may be empty, to add tokens that a backend reports late to the held text.
            tokens: The number of tokens of the text.
            top_logprobs: Log-probabilities of the most likely tokens at the position of the first token of the text.
                None if they are unknown, or if the text begins inside a token.
        """
        self.text += text
        self._pieces.append((len(text), tokens, top_logprobs))

    def take(self, characters: int) -> tuple[str, int]:
        """Take text from the front, with its number of tokens.

        If a piece is cut, its tokens are divided by length. A token that is cut in two counts for the part taken.
        """
        taken, self.text = self.text[:characters], self.text[characters:]
        tokens, missing = 0, len(taken)
        while self._pieces:
            length, cost, _ = self._pieces[0]
            if length > missing:
                if missing:
                    part = -(-cost * missing // length)
                    self._pieces[0] = (length - missing, cost - part, None)
                    tokens += part
                break
            self._pieces.popleft()
            missing -= length
            tokens += cost
        return taken, tokens

    @property
    def tokens(self) -> int:
        """Number of tokens of the held text."""
        return sum(cost for _, cost, _ in self._pieces)

    def first_token(self, limit: int) -> FirstToken | None:
        """Return the token in which the first word begins; None if no such token with log-probabilities is known.

        If that token began before the held text, the result is the next token.

        Args:
            limit: The token must begin before this position, in characters.
        """
        word = len(self.text) - len(self.text.lstrip())
        found, at = None, 0
        for length, _, top_logprobs in self._pieces:
            if at >= limit:
                break
            if top_logprobs is not None and (at <= word or found is None):
                found = FirstToken(at, top_logprobs)
            at += length
        return found


_Piece = tuple[int, int, tuple[float, ...] | None]
"""Length in characters, number of tokens, and the log-probabilities at the position of the first token."""
