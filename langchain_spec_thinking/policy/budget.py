"""How much of the large model a turn may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_spec_thinking.report import AuthorUsage, Report
    from langchain_spec_thinking.turn import Author

_MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """What a model costs, per million tokens, in any currency.

    Attributes:
        prompt: Of tokens read.
        completion: Of tokens written, dropped ones included.
        cached: Of tokens read from a cache; None: as other tokens read.
    """

    prompt: float
    completion: float
    cached: float | None = None

    def of(self, usage: AuthorUsage) -> float:
        """Return what a model's requests have cost so far."""
        cached = self.prompt if self.cached is None else self.cached
        read = (usage.prompt_tokens - usage.cached_tokens) * self.prompt + usage.cached_tokens * cached
        return (read + usage.completion_tokens * self.completion) / _MILLION


@dataclass(frozen=True)
class Budget:
    """Limits of one turn. Where one is reached the speculative model writes in the target's place.

    Tokens and cost, once spent, are spent; the share falls again while the speculative model writes, so the target may
    come back.

    The share is nothing at the beginning, so an opening is written all the same, unless the limit is 0.

    Attributes:
        target_tokens: The most the target may write, in its tokens, dropped ones included.
        target_share: The part of the kept tokens that the target may write, from 0 to 1. It is looked at before each
            takeover, so a single one may go beyond it.
        cost: The most that both models may cost before another request to the target, in the currency of the prices.
        target_price: Needed for `cost`.
        speculative_price: None where it costs nothing.
    """

    target_tokens: int | None = None
    target_share: float | None = None
    cost: float | None = None
    target_price: Price | None = None
    speculative_price: Price | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the field."""
        if self.target_tokens is not None and self.target_tokens < 0:
            msg = f"target_tokens: expected at least 0, got {self.target_tokens!r}"
            raise ValueError(msg)
        if self.target_share is not None and not 0 <= self.target_share <= 1:
            msg = f"target_share: expected a number from 0 to 1, got {self.target_share!r}"
            raise ValueError(msg)
        if self.cost is not None and (self.cost < 0 or self.target_price is None):
            msg = (
                f"cost: expected an amount of at least 0 and a `target_price`, got {self.cost!r}, {self.target_price!r}"
            )
            raise ValueError(msg)

    def spent(self, report: Report) -> str | None:
        """Return which limit is reached, in words."""
        usage = report.usage["target"]
        if self.target_tokens is not None and usage.completion_tokens >= self.target_tokens:
            return f"the target has written {usage.completion_tokens} tokens of {self.target_tokens}"
        if self.cost is not None and (cost := self.cost_of(report)) >= self.cost:
            return f"the turn has cost {cost:.6g} of {self.cost:.6g}"
        if self.target_share is not None and report.target_share >= self.target_share:
            return f"{report.target_share:.0%} of the tokens are the target's, of at most {self.target_share:.0%}"
        return None

    def tokens_left(self, report: Report) -> int | None:
        """Return how much more the target may write, in tokens; None where nothing is said."""
        if self.target_tokens is None:
            return None
        return max(0, self.target_tokens - report.usage["target"].completion_tokens)

    def cost_of(self, report: Report) -> float:
        """Return what a turn has cost so far."""
        prices: dict[Author, Price | None] = {"target": self.target_price, "speculative": self.speculative_price}
        return sum((price.of(report.usage[author]) for author, price in prices.items() if price), start=0.0)
