"""The request that is running: what it may write, and what it has written. Its token limit is enforced here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.base import TOKEN_CHARACTERS_MAX, Usage
from langchain_spec_thinking.turn import THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from collections.abc import Callable

_TOLERANCE = 8
"""A server counts differently from us. It ignores the limit only if it exceeds it by more than an eighth."""


@dataclass
class RunningRequest:
    """Counts what the running request writes, and cuts it at its token limit, whatever its server does.

    Attributes:
        max_tokens: Token limit of the request.
        hidden_max: How many further tokens the request may spend on reasoning that is not shown.
        received: Number of tokens that the request has brought. Never more than `max_tokens`.
        broken_off: Number of tokens that earlier requests brought for the same command before their streams broke.
        usage: Usage of the request, as far as its backend has reported it.
        cut: Whether text of the request was cut at its limit.
        finish_reason: The server's own word for the end of the request, if it was no ordinary end.
        refusal: The words with which the model refused to answer.
    """

    max_tokens: int = 0
    hidden_max: int = 0
    received: int = 0
    broken_off: int = 0
    usage: Usage = field(default_factory=Usage)
    cut: bool = False
    finish_reason: str | None = None
    refusal: str = ""
    _pieces: int = 0
    _characters: int = 0

    def begin(self) -> None:
        """Begin with a new command."""
        self.broken_off = 0
        self._reset()

    def resume(self) -> None:
        """Begin with the rest of a command whose stream broke."""
        self.broken_off += self.received
        self._reset()

    def _reset(self) -> None:
        self.received = self._pieces = self._characters = 0
        self.usage = Usage()
        self.cut = False
        self.finish_reason, self.refusal = None, ""

    @property
    def empty(self) -> bool:
        """Whether the request has brought neither tokens nor text. A backend may count no tokens for a text."""
        return not (self.received or self._characters)

    @property
    def left(self) -> int:
        """How many more tokens the request may write."""
        return self.max_tokens - self.received

    @property
    def written(self) -> int:
        """Number of tokens that were written for the command so far, by this request and by broken ones."""
        return self.broken_off + self.received

    def take(self, text: str, tokens: int, count_tokens: Callable[[str], int]) -> tuple[str, int]:
        """Count a piece of text, and return the part of it that is within the limit, with its number of tokens.

        Args:
            text: The text.
            tokens: Its number of tokens.
            count_tokens: Counts the tokens of a text. It is used if the piece must be cut.
        """
        self._pieces += 1
        self._characters += len(text)
        left = self.max_tokens - self.received
        long = max(self._characters, self._pieces) > self.max_tokens * TOKEN_CHARACTERS_MAX
        if tokens <= left and (tokens or not long):
            self.received += tokens
            return text, tokens
        self.cut = True
        self.received = self.max_tokens
        return _first_tokens(text, left, tokens, count_tokens), left

    def take_call(self, tokens: int) -> int | None:
        """Count a tool call, and return how many of its tokens are within the limit. A call is never cut.

        Returns:
            None if the limit was reached before the call. The tokens of a call may belong to another call before it.
        """
        self._pieces += 1
        if not self.left if tokens else self._pieces > self.max_tokens:
            return None
        within = min(tokens, self.left)
        self.received += within
        return within

    def exceeded(self, tokens: int) -> bool:
        """Return whether the request clearly wrote more than its limit.

        Args:
            tokens: How many tokens the request wrote in all.
        """
        return self._pieces > self.max_tokens or tokens > self.max_tokens + self.max_tokens // _TOLERANCE + 1

    def late_tokens(self) -> int:
        """Return by how much the reported number of tokens differs from the received ones.

        The text sets a lower limit, because a server that reports too few tokens could write without end.
        """
        if self.usage.completion_tokens is None:
            return 0
        fewest = min(self.received, -(-self._characters // TOKEN_CHARACTERS_MAX))
        return max(self.usage.completion_tokens, fewest) - self.received

    def hidden_tokens(self, late: int) -> int:
        """Return how many tokens of a request with room for hidden reasoning were spent on it.

        Args:
            late: Number of tokens that were reported and not received.
        """
        reasoning = late if self.usage.reasoning_tokens is None else self.usage.reasoning_tokens
        return max(0, min(late, reasoning)) if self.hidden_max else 0


def _first_tokens(text: str, tokens: int, of: int, count_tokens: Callable[[str], int]) -> str:
    """Return the beginning of a text that has `tokens` of its `of` tokens. No tag and no character is cut in two."""
    share = tokens * count_tokens(text)
    low, high = 0, len(text)
    while tokens > 0 and low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count_tokens(text[:middle]) * of <= share else (low, middle - 1)
    return text[: _before_markup(text, low)]


def _before_markup(text: str, end: int) -> int:
    """Return the last place up to `end` that is not inside a think tag or between the halves of a character."""
    for tag in (THINK_OPEN, THINK_CLOSE):
        start = text.find(tag, max(0, end - len(tag) + 1), end + len(tag) - 1)
        end = start if 0 <= start < end else end
    halves = text[end - 1 : end + 1] if 0 < end < len(text) else ""
    return end - 1 if halves and "\ud800" <= halves[0] < "\udc00" <= halves[1] < "\ue000" else end
