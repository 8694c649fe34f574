"""What the tokens of a model cost."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_spec_thinking.report import AuthorUsage

_MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """The price of a model per million tokens, in any currency. Both models of a pair need prices in the same currency.

    ```python
    target = OpenAIBackend("large", base_url="http://127.0.0.1:8000/v1", price=Price(1.0, 4.0, cached=0.1))
    ```

    Attributes:
        prompt: Price of prompt tokens.
        completion: Price of completion tokens. Dropped tokens are paid for too.
        cached: Price of prompt tokens that are read from a cache. If None, they cost as much as other prompt tokens.

    Raises:
        ValueError: A price is negative or not finite.
    """

    prompt: float
    completion: float
    cached: float | None = None

    def __post_init__(self) -> None:
        """Refuse invalid values, with the name of the field in the error."""
        for name, value in vars(self).items():
            if value is not None and not 0 <= value < inf:
                msg = f"{name}: expected a price of at least 0 per million tokens, got {value!r}"
                raise ValueError(msg)

    def of(self, usage: AuthorUsage) -> float:
        """Return the cost of all requests to a model so far."""
        cached = self.prompt if self.cached is None else self.cached
        prompt_cost = (usage.prompt_tokens - usage.cached_tokens) * self.prompt + usage.cached_tokens * cached
        return (prompt_cost + usage.completion_tokens * self.completion) / _MILLION


FREE = Price(0, 0)
"""The price of a model that costs nothing, for example a model in this process."""


def require_price(price: object) -> None:
    """Refuse a setting `price` that is not a price.

    Raises:
        ValueError: It is neither a `Price` nor None.
    """
    if price is not None and not isinstance(price, Price):
        msg = f"price: expected Price(prompt, completion, cached) or None, got {price!r}"
        raise ValueError(msg)
