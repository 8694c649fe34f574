"""What the answers of a pair cost: tokens and requests of each model, and money."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import AIMessage

    from langchain_spec_thinking import Backend, ChatSpeculativeThinking
    from langchain_spec_thinking.turn import Author

_COLUMNS = {"requests": "requests", "prompt_tokens": "read", "cached_tokens": "cached", "completion_tokens": "written"}
"""Counts of the report, and their names in the table."""


def cost_lines(model: ChatSpeculativeThinking, messages: Sequence[AIMessage]) -> list[str]:
    """Return a table of what each model of a pair used for its answers, and the prices of the large model.

    Args:
        model: The pair.
        messages: Its answers.
    """
    width = max(len(model.speculative.name), len(model.target.name))
    return [
        " " * width + "".join(f"{name:>10}" for name in _COLUMNS.values()) + f"{'cost':>12}",
        _row(model.speculative.name.ljust(width), messages, "speculative"),
        _row(model.target.name.ljust(width), messages, "target"),
        _prices(model.target),
    ]


def comparison(pair: Sequence[AIMessage], alone: Sequence[AIMessage]) -> str:
    """Return a sentence that compares what a pair cost with what the large model alone cost.

    Args:
        pair: The answers of the pair.
        alone: The answers of the large model alone to the same questions.
    """
    cost, cost_alone = total_cost(pair), total_cost(alone)
    if cost is None or not cost_alone:
        return "The costs cannot be compared, because the price of a model is not known."
    share = f"{cost / cost_alone:.0%}"
    return f"The large model alone costs {cost_alone:.6f} for the same questions. The pair costs {share} of that."


def total_cost(messages: Sequence[AIMessage]) -> float | None:
    """Return what messages cost, or None if the price of a model is not known."""
    return _sum([message.response_metadata["cost"] for message in messages])


def _row(name: str, messages: Sequence[AIMessage], author: Author) -> str:
    used = [message.response_metadata["speculative_thinking"]["usage"][author] for message in messages]
    counts = "".join(f"{sum(usage[column] for usage in used):>10}" for column in _COLUMNS)
    cost = _sum([usage["cost"] for usage in used])
    return f"{name}{counts}{'not known' if cost is None else f'{cost:.6f}':>12}"


def _sum(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def _prices(large: Backend) -> str:
    price = large.price
    if price is None:
        return (
            f"The price of {large.name} at this address is not listed, or the extra [prices] is missing. Pass --price."
        )
    cached = price.prompt if price.cached is None else price.cached
    return (
        f"A million tokens of {large.name} cost {price.prompt:g} (read), {cached:g} (cached) and "
        f"{price.completion:g} (written). The electricity of this machine is not counted."
    )
