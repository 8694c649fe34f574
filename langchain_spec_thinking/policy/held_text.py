"""Text that was received and is not yet committed or dropped."""

from __future__ import annotations

from collections import deque

from langchain_spec_thinking.policy.triggers.base import FirstToken


class HeldText:
    """A queue of characters that records how many tokens they cost.

    Args:
        divide_pieces: As in `Delegation`.

    Attributes:
        text: The held characters.
        tokens: Number of tokens of the held text.
    """

    def __init__(self, *, divide_pieces: bool = True) -> None:
        self.text = ""
        self.tokens = 0
        self._divide_pieces = divide_pieces
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
        self.tokens += tokens
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
                    part = -(-cost * missing // length) if self._divide_pieces else cost
                    self._pieces[0] = (length - missing, cost - part, None)
                    tokens += part
                break
            self._pieces.popleft()
            missing -= length
            tokens += cost
        self.tokens -= tokens
        return taken, tokens

    def end_of_tokens(self, tokens: int) -> int | None:
        """Return where the first `tokens` tokens end, in characters; None if fewer tokens are held.

        The tokens of a piece are divided by length.
        """
        end = 0
        for length, cost, _ in self._pieces:
            if cost >= tokens:
                return end + (part_end(length, cost, 0, tokens) if cost > tokens else length)
            tokens -= cost
            end += length
        return None

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


def part_end(length: int, tokens: int, start: int, limit: int) -> int:
    """Return where the next part of a piece ends, so that the part has about `limit` tokens, in characters.

    The tokens of a piece are divided by length. A part has at least one character.

    Args:
        length: Length of the piece, in characters.
        tokens: Number of tokens of the piece.
        start: Where the part begins, in characters.
        limit: The maximum number of tokens of the part. At least 1.
    """
    counted = tokens * start // length if length else 0
    if tokens - counted <= limit:
        return length
    return -(-(counted + limit) * length // tokens)


_Piece = tuple[int, int, tuple[float, ...] | None]
"""Length in characters, number of tokens, and the log-probabilities at the position of the first token."""
