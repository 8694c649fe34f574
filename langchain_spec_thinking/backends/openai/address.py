"""Where the requests to a server go, and what each of them carries."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from langchain_spec_thinking.backends.redaction import (
    fingerprint,
    public_settings,
    public_url,
    secrets_in_settings,
    secrets_in_url,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_HOST = "api.openai.com"
"""Host of OpenAI. Its regions have subdomains of it."""
ADDRESS_VARIABLES = ("OPENAI_API_BASE", "OPENAI_BASE_URL")
"""Variables that hold the address to use if none is given, the first one first, as for `ChatOpenAI`."""
_UNCOMPRESSED = {"Accept-Encoding": "identity"}
"""Header that asks for bytes as they are. A few compressed bytes may become more text than fits into memory."""


def address_in_environment() -> str | None:
    """Return the address that the environment names, or None."""
    return next((url for name in ADDRESS_VARIABLES if (url := os.environ.get(name))), None)


def is_openai(host: str) -> bool:
    """Return whether a host is one of OpenAI's."""
    return f".{host}".endswith(f".{OPENAI_HOST}")


@dataclass(frozen=True, repr=False)
class Address:
    """The address of a server, with the headers and the query of every request.

    Attributes:
        url: The address. It may contain a user, a password and a query.
        headers: Further headers.
        query: Further fields of the query. They replace those of the address.

    Raises:
        ValueError: The address is invalid, or a header cannot be sent. The error shows no secret.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the address and the headers."""
        _require_url(self.url)
        for name, value in self.headers.items():
            _require_header(name, value)

    def client_settings(self) -> dict[str, Any]:
        """Return the arguments of the SDK's client. The credentials of the address are in fields apart."""
        parts = urlsplit(self.url)
        user, _, password = (unquote(part) for part in parts.netloc.rpartition("@")[0].partition(":"))
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        own = {"Authorization": f"Basic {basic}"} if user or password else {}
        given = {name.lower() for name in self.headers}
        own = {name: value for name, value in own.items() if name.lower() not in given}
        further = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
        return {
            "base_url": public_url(self.url),
            "default_headers": {**own, **further, **_UNCOMPRESSED},
            "default_query": {**parse_qs(parts.query, keep_blank_values=True), **self.query} or None,
        }

    def secrets(self) -> Iterator[str]:
        """Yield the texts that may be secrets."""
        yield from secrets_in_url(self.url)
        yield from secrets_in_settings(dict(self.headers))
        yield from secrets_in_settings(dict(self.query))
        for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines():  # the SDK sends them to OpenAI
            name, _, value = line.partition(":")
            yield from secrets_in_settings({name.strip(): value.strip()})

    def described(self) -> dict[str, Any]:
        """Return what tells this address from others, without secrets."""
        found: dict[str, Any] = {"base_url": public_url(self.url)}
        if self.headers:
            found["default_headers"] = public_settings(dict(self.headers))
        if self.query:
            found["default_query"] = public_settings(dict(self.query))
        if query := urlsplit(self.url).query:
            found["query"] = fingerprint(query)
        return found

    @property
    def key(self) -> str:
        """Text that differs for addresses whose requests may reach different servers, as behind a gateway."""
        further = [dict(self.headers), dict(self.query)]
        return f"{self.url} {json.dumps(further, sort_keys=True, default=str)}" if any(further) else self.url


def _require_url(url: str) -> None:
    """Raise an error if the address is invalid. The message does not show the address, which may contain a secret."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in urlunsplit(parts._replace(netloc="")):
        msg = "base_url: expected an address such as http://127.0.0.1:8000/v1; quote special characters in a password"
        raise ValueError(msg)


def _require_header(name: object, value: object) -> None:
    """Raise an error if a header cannot be sent. The message does not show the value, which may be a secret."""
    for text in (name, value):
        if not isinstance(text, str) or not text.isascii() or not text.isprintable():
            what = "text with other characters" if isinstance(text, str) else type(text).__name__
            msg = f"default_headers: expected names and values of printable ASCII characters, got {what} for {name!a}"
            raise ValueError(msg)
