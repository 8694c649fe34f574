"""What takeovers cost on a billed large model: the floor, and the break-even length and number of takeovers.

A takeover sends the whole turn to the large model again, so its price depends on how often that happens more than on
what the model writes. In the formulas, a turn has a prompt of P tokens and a thought and answer of N tokens. The large
model writes the share s of them, in K takeovers of L = s N / K tokens. A prompt token costs p, a prompt token that is
read again costs c, and a completion token costs r. Every takeover reads half of the text, on average:

    tokens that the large model must read once    F = P + (1 - s) N
    cost of the large model in the pair           p F + c max(0, K (P + N / 2) - F) + r (s N + K)
    cost of the large model alone                 p P + r M, if it writes M tokens alone

The K extra completion tokens are the ones at which each takeover is stopped. The pair asks the large model in a share h
of the turns; the others cost nothing there. The small model's own cost is added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.evaluation.outcomes import Outcome
    from langchain_spec_thinking.evaluation.results import Evaluation
    from langchain_spec_thinking.price import Price

_MILLION = 1_000_000
_SAME = "this pair costs as much as the large model alone"
_NO_LENGTH = (
    "No takeover length pays here: even with a single takeover per turn, this pair costs more than the large model "
    "alone."
)
_EVERY_LENGTH = (
    "Every takeover length pays here: even with one token per takeover, this pair costs less than the large model "
    "alone."
)


@dataclass(frozen=True)
class Economics:
    """A pair with takeovers, as a mean turn and prices. All costs are per turn, in the currency of the price.

    Example:
        ```python
        from langchain_spec_thinking import Price
        from langchain_spec_thinking.evaluation.economics import Economics

        pair = Economics(prompt=200, length=4583, share=0.19, alone=3500, price=Price(1, 3, 0.25))
        print(f"{pair.relative_cost(20):.1f} {pair.relative_cost(125):.2f} {pair.floor:.2f}")  # 3.1 0.93 0.61
        print(round(pair.break_even_tokens))  # 106
        ```

    Attributes:
        prompt: Length of the prompt (P), in tokens.
        length: Length of thought and answer together (N), in tokens. Mean of the turns in which the large model is
            asked.
        share: Share of these tokens that the large model writes (s), from 0 to 1.
        alone: Number of tokens that the large model writes if it answers alone (M).
        price: Price of the large model. `cached` is the price of tokens that are read again.
        asked: Share of the turns in which the large model is asked (h), from 0 to 1.
        small_cost: Cost of the small model per turn.
    """

    prompt: float
    length: float
    share: float
    alone: float
    price: Price
    asked: float = 1.0
    small_cost: float = 0.0

    @property
    def written(self) -> float:
        """Number of tokens that the large model writes in a turn in which it is asked (s N)."""
        return self.share * self.length

    @property
    def read_once(self) -> float:
        """Number of tokens that the large model must read once: the prompt, and what the small model wrote."""
        return self.prompt + (1 - self.share) * self.length

    @property
    def cost_alone(self) -> float:
        """Cost of the large model alone."""
        return (self.price.prompt * self.prompt + self.price.completion * self.alone) / _MILLION

    def cost(self, takeovers: float) -> float:
        """Return the cost of the pair.

        Args:
            takeovers: Number of takeovers (K) in a turn in which the large model is asked.
        """
        read_again = max(0.0, takeovers * self._per_read - self.read_once)
        again = self._cached * read_again + self.price.completion * takeovers
        return self._least + self.small_cost + self.asked * again / _MILLION

    def relative_cost(self, takeover_tokens: float) -> float:
        """Return the cost of the pair as a multiple of the cost of the large model alone.

        Args:
            takeover_tokens: Tokens per takeover (L). The large model writes the same share in fewer, longer takeovers.
        """
        return self.cost(self.written / takeover_tokens) / self.cost_alone

    @property
    def floor(self) -> float:
        """Cost of the pair if each text is read once and all else is free, as a multiple of the large model alone."""
        return self._least / self.cost_alone

    @property
    def break_even_takeovers(self) -> float | None:
        """Number of takeovers at which the pair costs as much as the large model alone.

        It counts the takeovers in a turn in which the large model is asked. It is infinite if takeovers are free, and
        None if the pair costs as much even without what the takeovers add.
        """
        left = self.cost_alone - self._least - self.small_cost
        if left <= 0 or not self.asked:
            return None
        left *= _MILLION / self.asked
        free = self.read_once / self._per_read  # so many takeovers read nothing again
        if left <= self.price.completion * free:
            return left / self.price.completion
        each = self._cached * self._per_read + self.price.completion
        return (left + self._cached * self.read_once) / each if each else math.inf

    @property
    def break_even_tokens(self) -> float | None:
        """Tokens per takeover at which the pair costs as much as the large model alone.

        It is 0 if takeovers are free, and None if no length pays. A length above `written` is not possible with at
        least one takeover in a turn.
        """
        takeovers = self.break_even_takeovers
        return None if takeovers is None else self.written / takeovers

    @property
    def _cached(self) -> float:
        return self.price.prompt if self.price.cached is None else self.price.cached

    @property
    def _per_read(self) -> float:
        return self.prompt + self.length / 2

    @property
    def _least(self) -> float:
        return self.asked * (self.price.prompt * self.read_once + self.price.completion * self.written) / _MILLION


@dataclass(frozen=True)
class TakeoverCosts:
    """The economics of a pair that ran.

    Attributes:
        economics: The mean turn of the pair, and the prices.
        takeovers: Number of takeovers in a turn in which the large model is asked.
    """

    economics: Economics
    takeovers: float

    @property
    def takeover_tokens(self) -> float:
        """Number of tokens that the large model writes per takeover."""
        return self.economics.written / self.takeovers

    @property
    def some_length_pays(self) -> bool:
        """Whether the pair costs less than the large model alone with some length of takeovers.

        The longest takeovers are those with one in a turn, or with as few as the pair had.
        """
        number = self.economics.break_even_takeovers
        return number is not None and number > min(1.0, self.takeovers)

    def as_dict(self) -> dict[str, float | bool | None]:
        """Return the figures for JSON. An infinite number is None."""
        number = self.economics.break_even_takeovers
        return {
            "floor": self.economics.floor,
            "takeover_tokens": self.takeover_tokens,
            "takeovers": self.takeovers,
            "some_length_pays": self.some_length_pays,
            "break_even_takeover_tokens": self.economics.break_even_tokens,
            "break_even_takeovers": None if number is None or math.isinf(number) else number,
        }

    def sentences(self) -> list[str]:
        """Return the floor, the break-even length and the break-even number, one sentence each."""
        return [self._floor(), *self._break_even()]

    def _floor(self) -> str:
        return (
            f"Floor: if the large model read each text only once, and the small model were free, this pair would cost "
            f"{self.economics.floor:.0%} of the large model alone."
        )

    def _break_even(self) -> list[str]:
        tokens, number = self.economics.break_even_tokens, self.economics.break_even_takeovers
        if tokens is None or number is None or not self.some_length_pays:
            return [_NO_LENGTH]
        if tokens < 1:
            return [_EVERY_LENGTH]
        length = f"Break-even length: with {_rounded(tokens)} tokens per takeover, {_SAME}."
        count = f"Break-even number: with {_rounded(number)} takeovers in each turn that has any, {_SAME}."
        return [
            f"{length} It had {_rounded(self.takeover_tokens)}; longer takeovers are cheaper.",
            f"{count} It had {_rounded(self.takeovers)}; fewer takeovers are cheaper.",
        ]


def _rounded(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}"  # noqa: PLR2004 - two digits tell enough


def takeover_costs(evaluation: Evaluation, name: str) -> TakeoverCosts | None:
    """Measure the economics of a pair from its runs, without the questions that ended in an error.

    The cached price counts for as much of the text as the server read from its cache. A server that caches nothing
    reads again at the full price.

    Returns:
        None if the runs of the large model alone are missing, if its price is unknown or zero, if there were no
        takeovers except the opening, or if the large model got whole questions: then other costs decide.
    """
    target, price = evaluation.side("target"), evaluation.prices.get("target")
    if target is None or price is None:
        return None
    answered = evaluation.restricted_to(name, target)
    if not answered.count:
        return None
    pairs, alone = answered.outcomes[name], answered.outcomes[target]
    asked = [outcome for outcome in pairs if outcome.usage["target"].requests]
    kinds = [kind for outcome in asked for _, kind in outcome.takeovers]
    length = sum(outcome.length for outcome in asked)
    if set(kinds) <= {"opening"} or not length or any(outcome.escalated for outcome in asked):
        return None
    small, usage_alone = evaluation.prices.get("speculative"), [outcome.usage["target"] for outcome in alone]
    found = Economics(
        prompt=sum(used.prompt_tokens / max(1, used.requests) for used in usage_alone) / len(alone),
        length=length / len(asked),
        share=sum(outcome.tokens["target"] for outcome in asked) / length,
        alone=sum(used.completion_tokens for used in usage_alone) / len(alone),
        price=price,
        asked=len(asked) / len(pairs),
        small_cost=sum(small.of(outcome.usage["speculative"]) for outcome in pairs) / len(pairs) if small else 0.0,
    )
    if not found.cost_alone:
        return None
    return TakeoverCosts(replace(found, price=_with_measured_cache(found, asked)), len(kinds) / len(asked))


def _with_measured_cache(economics: Economics, asked: Sequence[Outcome]) -> Price:
    """Return the price of the large model, with the mean price of the tokens that it really read again as `cached`."""
    price = economics.price
    if price.cached is None:
        return price
    usage = [outcome.usage["target"] for outcome in asked]
    again = sum(used.prompt_tokens for used in usage) - economics.read_once * len(asked)
    if again <= 0:
        return price
    hits = min(1.0, sum(used.cached_tokens for used in usage) / again)
    return replace(price, cached=hits * price.cached + (1 - hits) * price.prompt)
