"""Further models of an evaluation that answer alone, and their prices: `--variant` and `--variant-price`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.cli import pairs
from langchain_spec_thinking.cli.models import backend
from langchain_spec_thinking.evaluation import Variant, alone
from langchain_spec_thinking.price import FREE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking import ChatSpeculativeThinking, Price


def further_models(lines: Sequence[str], model: ChatSpeculativeThinking) -> list[Variant]:
    """Return the variants in which further models answer alone, with the settings of the pair.

    Args:
        lines: Each is `NAME=MODEL`.
        model: The pair.

    Raises:
        ValueError: A line has another form, or names no model.
        ImportError: A package that a model needs is not installed.
        BackendError: A model cannot be loaded.
    """
    named = [_split(line, "MODEL") for line in lines]
    models = {name: backend(spec, f"variant_{name}") for name, spec in named}
    return [alone(model.model_copy(update={"target": models[name]}), "target", name) for name, _ in named]


def prices_of(variants: Sequence[Variant], lines: Sequence[str], *, known: bool) -> dict[str, Price]:
    """Return the prices of further models: the given ones, and otherwise those that the backends know.

    A model in this process needs a given price, because the prices of the pair may stand for models elsewhere.

    Args:
        variants: The further models.
        lines: Each is `NAME=PROMPT,COMPLETION[,CACHED]`.
        known: Whether the prices of the pair are known.

    Raises:
        ValueError: A line has another form, or prices are known for some models only.
    """
    given = {name: pairs.price(text) for name, text in (_split(line, "PRICE") for line in lines)}
    listed = {variant.name: variant.model.target.price for variant in variants if known}
    prices = {name: price for name, price in (listed | given).items() if price and (name in given or price != FREE)}
    names = {variant.name for variant in variants}
    if unknown := sorted(prices.keys() - names):
        msg = f"--variant-price {unknown[0]}: expected the name of a --variant, got none of this name"
        raise ValueError(msg)
    if known and (missing := sorted(names - prices.keys())):
        msg = f"--variant {missing[0]}: give its price too, --variant-price {missing[0]}=PROMPT,COMPLETION[,CACHED]"
        raise ValueError(msg)
    if prices and not known:
        msg = "--variant-price: give the prices of the pair too, --speculative-price and --target-price"
        raise ValueError(msg)
    return prices


def _split(line: str, what: str) -> tuple[str, str]:
    name, equals, text = line.partition("=")
    if not (name and equals and text):
        msg = f"{line}: expected NAME={what}"
        raise ValueError(msg)
    return name, text
