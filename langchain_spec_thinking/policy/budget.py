"""Limits how much of the target (large) model a turn may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from langchain_spec_thinking.price import Price
    from langchain_spec_thinking.report import Report


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

    The limits on tokens, requests and cost end takeovers for the rest of the turn. The limit on the share may end them
    only for a while: the share of the target model decreases while the speculative model writes, and then takeovers may
    resume.

    The share is 0 at the beginning of a turn. Therefore the target model still writes the opening, unless the limit
    is 0.

    Attributes:
        target_tokens: The maximum number of tokens that the target model may write, in tokens of its vocabulary.
            Dropped tokens count too.
        target_share: The maximum share of the kept tokens that the target model may write, from 0 to 1. The share is
            checked before each takeover, so one takeover may exceed it. It does not limit the rest of a thought
            (`takeover_tokens="rest"`).
        requests: The maximum number of requests to the target model. Scores, prefetches and requests for the rest of a
            broken stream count too.
        cost: The maximum cost of both models, in the currency of their prices. It is checked before each request to the
            target model. The price of the target model must be known (`price=` of its backend). If the price of the
            speculative model is not known, only the target model counts.
    """

    target_tokens: int | None = None
    target_share: float | None = None
    requests: int | None = None
    cost: float | None = None

    def __post_init__(self) -> None:
        """Refuse invalid values, with the name of the field in the error."""
        if self.target_tokens is not None and self.target_tokens < 0:
            msg = f"target_tokens: expected at least 0, got {self.target_tokens!r}"
            raise ValueError(msg)
        if self.requests is not None and self.requests < 0:
            msg = f"requests: expected at least 0, got {self.requests!r}"
            raise ValueError(msg)
        if self.target_share is not None and not 0 <= self.target_share <= 1:
            msg = f"target_share: expected a number from 0 to 1, got {self.target_share!r}"
            raise ValueError(msg)
        if self.cost is not None and not self.cost >= 0:
            msg = f"cost: expected an amount of at least 0, got {self.cost!r}"
            raise ValueError(msg)

    def require_price(self, model: str, price: Price | None) -> None:
        """Refuse a limit on the cost if the price of the target model is not known.

        Args:
            model: The name of the target model.
            price: The price of the target model.

        Raises:
            ValueError: `cost` is set and the price is None.
        """
        if self.cost is not None and price is None:
            msg = (
                f"policy: Budget(cost={self.cost!r}) needs the price of {model}, which is not known. Pass "
                "`price=Price(prompt, completion)`, per million tokens, to its backend. For a hosted model, you can "
                "install the extra [prices] instead."
            )
            raise ValueError(msg)

    def spent(self, report: Report) -> SpentLimit | None:
        """Return the limit that is reached; None if no limit is reached."""
        usage = report.usage["target"]
        if self.target_tokens is not None and usage.completion_tokens >= self.target_tokens:
            words = f"the large model wrote {usage.completion_tokens} of at most {self.target_tokens} tokens"
            return SpentLimit("target_tokens", words)
        if self.requests is not None and usage.requests >= self.requests:
            words = f"the large model got {usage.requests} of at most {self.requests} requests"
            return SpentLimit("requests", words)
        if self.cost is not None and (cost := _known_cost(report)) >= self.cost:
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

    def requests_left(self, report: Report) -> bool:
        """Return whether the target model may get a further request."""
        return self.requests is None or report.usage["target"].requests < self.requests


def _known_cost(report: Report) -> float:
    """Return the cost of a turn so far, as far as prices are known."""
    return sum((cost for cost in report.costs.values() if cost is not None), start=0.0)
