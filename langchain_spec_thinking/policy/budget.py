"""Limits how much of the target (large) model a turn may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from langchain_spec_thinking.report import AuthorUsage, Report
    from langchain_spec_thinking.turn import Author

_MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """The price of a model per million tokens, in any currency.

    Attributes:
        prompt: Price of prompt tokens.
        completion: Price of completion tokens. Dropped tokens are paid for too.
        cached: Price of prompt tokens that are read from a cache. If None, they cost as much as other prompt tokens.
    """

    prompt: float
    completion: float
    cached: float | None = None

    def of(self, usage: AuthorUsage) -> float:
        """Return the cost of all requests to a model so far."""
        cached = self.prompt if self.cached is None else self.cached
        prompt_cost = (usage.prompt_tokens - usage.cached_tokens) * self.prompt + usage.cached_tokens * cached
        return (prompt_cost + usage.completion_tokens * self.completion) / _MILLION


class SpentLimit(NamedTuple):
    """A limit of a budget that is reached.

    Attributes:
        field: The field of `Budget` that sets the limit.
        words: How much was used, and the limit.
    """

    field: str
    words: str


@dataclass(frozen=True)
class Budget:
    """The limits of one turn. If a limit is reached, the speculative model writes instead of the target model.

    The limits on tokens and cost end takeovers for the rest of the turn. The limit on the share may end them only for a
    while: the share of the target model decreases while the speculative model writes, and then takeovers may resume.

    The share is 0 at the beginning of a turn. Therefore the target model still writes the opening, unless the limit
    is 0.

    Attributes:
        target_tokens: The maximum number of tokens that the target model may write, in tokens of its vocabulary.
            Dropped tokens count too.
        target_share: The maximum share of the kept tokens that the target model may write, from 0 to 1. The share is
            checked before each takeover, so one takeover may exceed it.
        cost: The maximum cost of both models, in the currency of the prices. It is checked before each request to the
            target model.
        target_price: The price of the target model. It is required if `cost` is set.
        speculative_price: The price of the speculative model. None if it costs nothing.
    """

    target_tokens: int | None = None
    target_share: float | None = None
    cost: float | None = None
    target_price: Price | None = None
    speculative_price: Price | None = None

    def __post_init__(self) -> None:
        """Refuse invalid values, with the name of the field in the error."""
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

    def spent(self, report: Report) -> SpentLimit | None:
        """Return the limit that is reached; None if no limit is reached."""
        usage = report.usage["target"]
        if self.target_tokens is not None and usage.completion_tokens >= self.target_tokens:
            words = f"the large model wrote {usage.completion_tokens} of at most {self.target_tokens} tokens"
            return SpentLimit("target_tokens", words)
        if self.cost is not None and (cost := self.cost_of(report)) >= self.cost:
            return SpentLimit("cost", f"the turn cost {cost:.6g} of at most {self.cost:.6g}")
        if self.target_share is not None and report.target_share >= self.target_share:
            share, limit = report.target_share, self.target_share
            words = f"the large model wrote {share:.0%} of the tokens, the limit is {limit:.0%}"
            return SpentLimit("target_share", words)
        return None

    def tokens_left(self, report: Report) -> int | None:
        """Return how many more tokens the target model may write; None if `target_tokens` is not set."""
        if self.target_tokens is None:
            return None
        return max(0, self.target_tokens - report.usage["target"].completion_tokens)

    def cost_of(self, report: Report) -> float:
        """Return the cost of a turn so far."""
        prices: dict[Author, Price | None] = {"target": self.target_price, "speculative": self.speculative_price}
        return sum((price.of(report.usage[author]) for author, price in prices.items() if price), start=0.0)
