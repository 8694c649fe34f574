"""The SDK's clients, changed so that credentials in the address are not shown and redirects are not followed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import httpx2
import openai
from openai._qs import Querystring

from langchain_spec_thinking.backends.openai.address import address_in_environment, is_openai
from langchain_spec_thinking.backends.redaction import public_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai._models import FinalRequestOptions

    from langchain_spec_thinking.backends.openai.spare_connections import AsyncSpareConnections, SpareConnections


class _RepeatedKeys(Querystring):
    """Repeats a key for each value of a list. The SDK's class drops empty values, and its older versions lists too."""

    def stringify(self, params: Mapping[str, Any], **_: Any) -> str:
        """Return the query."""
        return urlencode({name: json.dumps(v) if isinstance(v, bool) else v for name, v in params.items()}, doseq=True)


_REPEATED_KEYS = _RepeatedKeys()


class PrivateURL(httpx2.URL):
    """An address that does not show its query, nor a user and a password.

    httpx logs the address of every request, and its errors quote the address.
    """

    def __str__(self) -> str:
        """Return the address without credentials."""
        return public_url(super().__str__())

    def __repr__(self) -> str:
        """Return the address without credentials."""
        return f"{type(self).__name__}({str(self)!r})"


class PrivateClient(openai.OpenAI):
    """The SDK's client for blocking calls.

    A redirect is an error, because following it would send the conversation to an address that the user did not name.
    The ids in OPENAI_ORG_ID and OPENAI_PROJECT_ID go to OpenAI alone. The headers in OPENAI_CUSTOM_HEADERS go to OpenAI
    and to the host that the environment names. A list in the query is a key that is repeated.

    Attributes:
        spares: Opens connections ahead of the requests. None: no connection is opened ahead.
    """

    spares: SpareConnections | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        _keep_environment_from_others(self, settings.get("default_headers"))

    @property
    def qs(self) -> Querystring:
        """The encoder of the query."""
        return _REPEATED_KEYS

    def _prepare_options(self, options: FinalRequestOptions) -> FinalRequestOptions:
        options.follow_redirects = False
        return super()._prepare_options(options)  # asks for the key if it is a function

    def _prepare_request(self, request: httpx2.Request) -> None:
        request.url = PrivateURL(request.url)


class AsyncPrivateClient(openai.AsyncOpenAI):
    """The SDK's client for an event loop. It differs from the SDK's class as `PrivateClient` does."""

    spares: AsyncSpareConnections | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        _keep_environment_from_others(self, settings.get("default_headers"))

    @property
    def qs(self) -> Querystring:
        """The encoder of the query."""
        return _REPEATED_KEYS

    async def _prepare_options(self, options: FinalRequestOptions) -> FinalRequestOptions:
        options.follow_redirects = False
        return await super()._prepare_options(options)

    async def _prepare_request(self, request: httpx2.Request) -> None:
        request.url = PrivateURL(request.url)


def _keep_environment_from_others(
    client: openai.OpenAI | openai.AsyncOpenAI, headers: Mapping[str, str] | None
) -> None:
    """Forget what the SDK has read from the environment, if it is not meant for this server.

    Args:
        client: The client.
        headers: The headers that the user has given.
    """
    host = client.base_url.host
    if not is_openai(host):
        client.organization = client.project = None
    if not is_openai(host) and host != urlsplit(address_in_environment() or "").hostname:
        client._custom_headers = dict(headers or {})  # noqa: SLF001 - the SDK adds those of the environment here
