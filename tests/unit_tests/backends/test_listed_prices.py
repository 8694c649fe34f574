"""A hosted model has the price that genai-prices lists for it at its provider, and no other model has one."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices import data_snapshot
from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice, Provider, Tier, TieredPrices
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from pydantic import SecretStr

from langchain_spec_thinking import ChatModelBackend, OpenAIBackend, Price
from langchain_spec_thinking.backends.listed_prices import price_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.language_models.base import LangSmithParams

KEY = SecretStr("k")
OPENAI = "https://api.openai.com/v1"
LISTED = Price(1.0, 8.0, cached=0.25)


def listed(name: str, **prices: Any) -> ModelInfo:
    return ModelInfo(id=name, match=ClauseEquals(name), prices=ModelPrice(**prices))


TIERS = TieredPrices(base=Decimal(3), tiers=[Tier(start=200_000, price=Decimal(6))])
MODELS = [
    listed("large", input_mtok=Decimal(1), output_mtok=Decimal(8), cache_read_mtok=Decimal("0.25")),
    listed("not-cached", input_mtok=Decimal(1), output_mtok=Decimal(8)),
    listed("tiered", input_mtok=TIERS, output_mtok=Decimal(8), cache_read_mtok=TIERS),
    listed("embedding", input_mtok=Decimal(1)),
    listed("with-a-fee", input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(5)),
]


def snapshot(models: list[ModelInfo]) -> data_snapshot.DataSnapshot:
    openai = Provider(id="openai", name="OpenAI", api_pattern=r"https://api\.openai\.com", models=models)
    azure = Provider(id="azure", name="Azure", api_pattern=r"https://[^.]*\.openai\.azure\.com", models=models)
    local = Provider(id="local", name="Local", api_pattern=r"http://[\d.]+", models=models)
    return data_snapshot.DataSnapshot(providers=[openai, azure, local], from_auto_update=False)


@pytest.fixture(autouse=True)
def price_list() -> Iterator[None]:
    """Let the library list the models above, because its own prices change."""
    data_snapshot.set_custom_snapshot(snapshot(MODELS))
    yield
    data_snapshot.set_custom_snapshot(None)


@pytest.mark.parametrize(
    ("url", "model", "price"),
    [
        pytest.param(OPENAI, "large", LISTED, id="a model at its provider"),
        pytest.param(f"{OPENAI}/", "LARGE", LISTED, id="the case of the name does not matter"),
        pytest.param("https://me:secret@api.openai.com:443/v1?key=x", "large", LISTED, id="a password and a query"),
        pytest.param(OPENAI, "not-cached", Price(1.0, 8.0), id="no price for cached tokens"),
        pytest.param(OPENAI, "tiered", Price(3.0, 8.0, cached=3.0), id="the price of short prompts counts"),
        pytest.param(OPENAI, "unknown", None, id="a model that is not listed"),
        pytest.param(OPENAI, "embedding", None, id="a model without a price for completions"),
        pytest.param(OPENAI, "with-a-fee", None, id="a model with a fee for each request"),
        pytest.param("https://gateway.example.com/v1", "large", None, id="the same name at another address"),
        pytest.param("https://api.openai.com.example.org/v1", "large", None, id="an address that only begins like it"),
        pytest.param("http://127.0.0.1:8000/v1", "large", None, id="the same name on this machine"),
        pytest.param("http://10.0.0.7/v1", "large", None, id="the same name on the own network"),
    ],
)
def test_the_price_of_a_hosted_model(url: str, model: str, price: Price | None) -> None:
    assert price_at(url, model) == price
    assert OpenAIBackend(model, base_url=url, api_key="k").price == price


def test_openai_itself_needs_no_address() -> None:
    assert OpenAIBackend("large", api_key="k").price == LISTED


class OwnClass(FakeListChatModel):
    """A class that does not say who its provider is, with a name that a price list might take for one."""

    model_name: str = "large"


class HostedModel(OwnClass):
    """A class that names its provider."""

    endpoint: Any = None

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop, **kwargs)
        return {**params, "ls_provider": "openai", "ls_model_name": "models/large"}


class OpenAI(OwnClass):
    """A class whose name is that of a provider."""


@pytest.mark.parametrize(
    ("model", "price"),
    [
        pytest.param(lambda: ChatOpenAI(model="large", api_key=KEY), LISTED, id="OpenAI"),
        pytest.param(lambda: ChatOpenAI(model="large", api_key=KEY, base_url="http://10.0.0.7/v1"), None, id="own"),
        pytest.param(lambda: ChatOpenAI(model="large", api_key=KEY, base_url="https://a.example/v1"), None, id="proxy"),
        pytest.param(
            lambda: AzureChatOpenAI(
                azure_endpoint="https://a.openai.azure.com", api_version="1", model="large", api_key=KEY
            ),
            LISTED,
            id="Azure",
        ),
        pytest.param(lambda: HostedModel(responses=[]), LISTED, id="a class that names its provider"),
        pytest.param(lambda: HostedModel(responses=[], endpoint="api.openai.com"), LISTED, id="its own address"),
        pytest.param(lambda: HostedModel(responses=[], endpoint="https://a.example"), None, id="another address"),
        pytest.param(lambda: HostedModel(responses=[], endpoint={"api": "a.example"}), None, id="options of a client"),
        pytest.param(lambda: OwnClass(responses=[]), None, id="a class that names no provider"),
        pytest.param(lambda: OpenAI(responses=[]), None, id="a class whose name only looks like a provider"),
    ],
)
def test_the_price_of_a_chat_model(model: Any, price: Price | None) -> None:
    assert ChatModelBackend(model()).price == price


def test_the_address_in_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://10.0.0.7/v1")
    assert ChatModelBackend(ChatOpenAI(model="large", api_key=KEY)).price is None


def test_a_given_price_replaces_the_listed_one() -> None:
    given = Price(0.5, 2.0)
    assert OpenAIBackend("large", api_key="k", price=given).price == given
    assert ChatModelBackend(ChatOpenAI(model="large", api_key=KEY), price=given).price == given


def test_the_price_is_that_of_the_moment() -> None:
    """Some providers charge less at night, and a program may update the list."""
    backend = OpenAIBackend("large", api_key="k")
    at_night = listed("large", input_mtok=Decimal("0.5"), output_mtok=Decimal(4))
    data_snapshot.set_custom_snapshot(snapshot([at_night]))
    assert backend.price == Price(0.5, 4.0)


def test_without_the_extra_no_price_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert OpenAIBackend("large", api_key="k").price is None
    assert ChatModelBackend(ChatOpenAI(model="large", api_key=KEY)).price is None


@pytest.mark.parametrize(
    ("arguments", "imported"),
    [
        ("'large', api_key='k'", True),
        ("'large', api_key='k', price=Price(1, 4)", False),
        ("'large', base_url='http://127.0.0.1:8000/v1'", False),
    ],
    ids=["a hosted model", "a given price", "a server on this machine"],
)
def test_the_library_is_imported_only_if_it_is_used(arguments: str, *, imported: bool) -> None:
    program = (
        "import sys\nfrom langchain_spec_thinking import OpenAIBackend, Price\n"
        f"OpenAIBackend({arguments})\nprint('genai_prices' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert found.stdout.strip() == str(imported)
