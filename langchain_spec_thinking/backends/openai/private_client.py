"""The SDK's clients, changed so that credentials in the address are not shown and redirects are not followed."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx2
import openai

from langchain_spec_thinking.backends.redaction import public_url

if TYPE_CHECKING:
    from openai._models import FinalRequestOptions


_UNCOMPRESSED = {"Accept-Encoding": "identity"}
"""Header that asks for bytes as they are. A few compressed bytes may become more text than fits into memory."""


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
    """

    def _prepare_options(self, options: FinalRequestOptions) -> FinalRequestOptions:
        options.follow_redirects = False
        return options

    def _prepare_request(self, request: httpx2.Request) -> None:
        request.url = PrivateURL(request.url)


class AsyncPrivateClient(openai.AsyncOpenAI):
    """The SDK's client for an event loop. It differs from the SDK's class as `PrivateClient` does."""

    async def _prepare_options(self, options: FinalRequestOptions) -> FinalRequestOptions:
        options.follow_redirects = False
        return options

    async def _prepare_request(self, request: httpx2.Request) -> None:
        request.url = PrivateURL(request.url)


def address_settings(url: str) -> dict[str, Any]:
    """Return the arguments of a client for an address, with the address's user, password and query in fields apart."""
    parts = urlsplit(url)
    user, _, password = (unquote(part) for part in parts.netloc.rpartition("@")[0].partition(":"))
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {
        "base_url": public_url(url),
        "default_headers": _UNCOMPRESSED | ({"Authorization": f"Basic {basic}"} if user or password else {}),
        "default_query": dict(parse_qsl(parts.query, keep_blank_values=True)) or None,
    }
