"""Further models of an evaluation that answer alone, and their prices: `--variant` and `--variant-price`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from langchain_core.runnables import Runnable

from langchain_spec_thinking.cli import pairs
from langchain_spec_thinking.cli.models import backend_or_runnable
from langchain_spec_thinking.evaluation import RunnableVariant, Variant, alone
from langchain_spec_thinking.price import FREE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking import ChatSpeculativeThinking, Price


def further_models(lines: Sequence[str], model: ChatSpeculativeThinking) -> list[Variant | RunnableVariant]:
    """Return the variants of further models and runnables. A model answers alone, with the settings of the pair.

    Args:
        lines: Each is `NAME=MODEL`.
        model: The pair.

    Raises:
        ValueError: A line has another form, or names no model.
        ImportError: A package that a model needs is not installed.
        BackendError: A model cannot be loaded.
    """
    named = [_split(line, "MODEL") for line in lines]
    return [_variant(name, spec, model) for name, spec in named]


def _variant(name: str, spec: str, model: ChatSpeculativeThinking) -> Variant | RunnableVariant:
    found = backend_or_runnable(spec, f"variant_{name}")
    if isinstance(found, RunnableVariant):
        return replace(found, name=name)
    if isinstance(found, Runnable):
        return RunnableVariant(name, found)
    return alone(model.model_copy(update={"target": found}), "target", name)


def prices_of(variants: Sequence[Variant | RunnableVariant], lines: Sequence[str], *, known: bool) -> dict[str, Price]:
    """Return the prices of further models: the given ones, and otherwise those that the backends know.

    A model in this process needs a given price, because the prices of the pair may stand for models elsewhere. If a
    variant counts as a pair and no price is given for it, it has the prices of the pair.

    Args:
        variants: The further models.
        lines: Each is `NAME=PROMPT,COMPLETION[,CACHED]`.
        known: Whether the prices of the pair are known.

    Raises:
        ValueError: A line has another form, or prices are known for some models only.
    """
    given = {name: pairs.price(text) for name, text in (_split(line, "PRICE") for line in lines)}
    listed = {one.name: one.model.target.price for one in variants if known and isinstance(one, Variant)}
    prices = {name: price for name, price in (listed | given).items() if price and (name in given or price != FREE)}
    names = {variant.name for variant in variants}
    if unknown := sorted(prices.keys() - names):
        msg = f"--variant-price {unknown[0]}: expected the name of a --variant, got none of this name"
        raise ValueError(msg)
    if known and (missing := sorted({one.name for one in variants if one.alone} - prices.keys())):
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
