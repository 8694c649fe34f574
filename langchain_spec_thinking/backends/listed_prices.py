"""Prices of hosted models, as the library `genai-prices` lists them. The library is the optional extra `[prices]`.

The list is part of the installed library, so nothing is downloaded. If a program starts the library's `UpdatePrices`,
the newer prices count here too.

A model has a listed price only at the address of its provider. A server of your own may serve a model of the same name,
and a gateway may have prices of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from langchain_core.language_models.chat_models import BaseChatModel

from langchain_spec_thinking.backends.prefetching import on_own_network
from langchain_spec_thinking.backends.redaction import public_url
from langchain_spec_thinking.price import Price

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_prices.types import PriceCalculation

_ADDRESS = re.compile("(api_base|base_url|api_url|endpoint|endpoint_url|client_options)$")
"""Matches names of chat models' fields that hold the address of the server."""
_FEES = ("requests_kcount", "output_reasoning_mtok")
"""Prices of other things than tokens of the prompt and the completion. They would be missing in a cost."""


def price_at(url: str, model: str) -> Price | None:
    """Return the price that a model has at an address now, in US dollars. Some providers charge less at night.

    A higher price for long prompts or for writing to a cache does not count.

    Args:
        url: The address of the server.
        model: The name of the model, as requests contain it.

    Returns:
        None if the library is not installed, no provider has this address, or the list lacks the model's prices.
    """
    url = public_url(url if "://" in url else f"https://{url}")
    found = None if on_own_network(url) else _listed(model, url=url)
    return _price(found) if found and _is_address(url, found.provider.api_pattern) else None


def price_of_chat_model(model: BaseChatModel) -> Price | None:
    """Return the price of a LangChain chat model now, in US dollars.

    The address of its server decides who the provider is. If the fields of the model hold no address, its class
    decides: LangSmith gets the name of the provider from it.

    Args:
        model: The chat model.

    Returns:
        None in the same cases as `price_at`, and if the class of the model does not name a provider.
    """
    if type(model)._get_ls_params is BaseChatModel._get_ls_params:  # noqa: SLF001 - a guess from the name of the class
        return None
    params = model._get_ls_params()  # noqa: SLF001 - LangChain has no public method for it
    name = (params.get("ls_model_name") or "").removeprefix("models/")
    if addresses := set(_addresses(model)):
        prices = {price_at(address, name) for address in addresses}
        return prices.pop() if len(prices) == 1 else None
    found = _listed(name, provider=params.get("ls_provider") or "")
    return _price(found) if found else None


def _listed(model: str, *, url: str | None = None, provider: str | None = None) -> PriceCalculation | None:
    """Look a model up at an address or, without an address, at a provider."""
    try:
        from genai_prices import Usage, calc_price  # noqa: PLC0415 - optional, and slow to import
    except ImportError:
        return None
    try:
        if url is not None:
            return calc_price(Usage(), model, provider_api_url=url)
        return calc_price(Usage(), model, provider_id=provider)
    except LookupError:
        return None


def _is_address(url: str, pattern: str) -> bool:
    """Return whether an address is that of a provider, and not only a longer one, as api.openai.com.example.org is."""
    found = re.match(pattern, url)
    return found is not None and "." not in url[found.end() :].partition("/")[0]


def _price(found: PriceCalculation) -> Price | None:
    listed = found.model_price
    if any(getattr(listed, fee, None) is not None for fee in _FEES):
        return None
    prompt, completion, cached = map(_number, (listed.input_mtok, listed.output_mtok, listed.cache_read_mtok))
    return None if prompt is None or completion is None else Price(prompt, completion, cached)


def _number(listed: Any) -> float | None:  # noqa: ANN401 - a Decimal, or prices that depend on the length of the prompt
    return None if listed is None else float(getattr(listed, "base", listed))


def _addresses(model: BaseChatModel) -> Iterator[str]:
    """Yield the addresses that a chat model may call. The client of OpenAI's classes knows best."""
    if called := getattr(getattr(model, "root_client", None), "base_url", None):
        yield str(called)
        return
    for name, value in vars(model).items():
        if _ADDRESS.search(name):
            values = value.values() if isinstance(value, dict) else [value]
            yield from (one for one in values if one and isinstance(one, str))
