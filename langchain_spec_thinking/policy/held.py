"""Text that arrived and is not decided on yet."""

from __future__ import annotations

from collections import deque


class Held:
    """A queue of characters that remembers how many tokens they cost.

    Attributes:
        text: The characters held.
    """

    def __init__(self) -> None:
        self.text = ""
        self._pieces: deque[tuple[int, int]] = deque()  # (characters, tokens)

    def add(self, text: str, tokens: int) -> None:
        """Hold more text. `text` may be empty: tokens found out about late belong to what is held now."""
        self.text += text
        self._pieces.append((len(text), tokens))

    def take(self, characters: int) -> tuple[str, int]:
        """Take text from the front, with its tokens. A token cut in two counts for the part that is taken."""
        taken, self.text = self.text[:characters], self.text[characters:]
        tokens, missing = 0, len(taken)
        while self._pieces:
            length, cost = self._pieces[0]
            if length > missing:
                if missing:
                    self._pieces[0] = (length - missing, 0)
                    tokens += cost
                break
            self._pieces.popleft()
            missing -= length
            tokens += cost
        return taken, tokens

    @property
    def tokens(self) -> int:
        """Tokens that the held text cost."""
        return sum(cost for _, cost in self._pieces)
