"""The API key of a server: a text, or a function that is asked for each request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable, iscoroutine, iscoroutinefunction
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from langchain_spec_thinking.backends.redaction import without_credentials
from langchain_spec_thinking.backends.threads import iterate_in_thread
from langchain_spec_thinking.errors import ContinuationError
from langchain_spec_thinking.owned_stream import OwnedStream

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_spec_thinking.backends.redaction import Redactor

KeyFunction = Callable[[], str] | Callable[[], Awaitable[str]]
"""Returns the key. It may be asynchronous."""
NO_KEY = "none"  # the SDK requires a key
_PLACEHOLDERS = {NO_KEY, "empty", "ollama", "lm-studio", "sk-no-key-required"}
"""Keys that the manuals of local servers tell everybody to use. They are no secrets, and some are ordinary words."""


class ApiKey:
    """The key of a server.

    Args:
        key: The key without white space around it, or a function that returns it.
        redactor: Learns each key that a function returns, before it is sent.
        place: The model and its server, for errors.
    """

    def __init__(self, key: SecretStr | KeyFunction, redactor: Redactor, place: str) -> None:
        self._key = key
        self._redactor = redactor
        self._place = place

    @property
    def is_asynchronous(self) -> bool:
        """Whether only asynchronous calls can ask for the key."""
        key = self._key
        return iscoroutinefunction(key) or iscoroutinefunction(getattr(key, "__call__", None))  # noqa: B004

    @property
    def for_client(self) -> str | Callable[[], str]:
        """The argument for the SDK's client for blocking calls, which asks a function for each request."""
        return self._key.get_secret_value() if isinstance(self._key, SecretStr) else self._ask

    @property
    def for_async_client(self) -> str | Callable[[], Awaitable[str]]:
        """The argument for the SDK's asynchronous client."""
        return self._key.get_secret_value() if isinstance(self._key, SecretStr) else self._aask

    def require(self) -> None:
        """Check that there is a key. The result of a function is checked when it is asked.

        Raises:
            ContinuationError: There is no key.
        """
        if isinstance(self._key, SecretStr):
            self._require_text(self._key.get_secret_value())

    def _ask(self) -> str:
        found = self._called()
        if isawaitable(found):
            if iscoroutine(found):
                found.close()
            msg = (
                f"{self._place}: the function `api_key` is asynchronous, so a blocking call cannot ask it. Use "
                "`ainvoke` or `astream`, or pass a function that is not asynchronous."
            )
            raise ContinuationError(msg)
        return self._checked(found)

    async def _aask(self) -> str:
        if self.is_asynchronous:
            found = self._called()
        else:  # the function may wait for a network, so it must not keep the event loop waiting
            async with OwnedStream(iterate_in_thread(self._results())) as results:
                found = await anext(results)
        try:
            return self._checked(await found if isawaitable(found) else found)
        except ContinuationError:
            raise
        except Exception as error:
            raise self._failed(error) from error

    def _results(self) -> Generator[Any, None, None]:
        yield self._called()

    def _called(self) -> Any:  # noqa: ANN401 - a function of the user
        try:
            return self._key() if callable(self._key) else None
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> ContinuationError:
        said = self._redactor.text(without_credentials(f"{type(error).__name__}: {error}"))
        return ContinuationError(f"{self._place}: the function `api_key` failed: {said}")

    def _checked(self, found: object) -> str:
        if not isinstance(found, (str, SecretStr)):
            msg = f"{self._place}: expected the function `api_key` to return a text, got {type(found).__name__}"
            raise ContinuationError(msg)
        try:
            key = checked_key(found).get_secret_value()
        except ValueError as error:
            msg = f"{self._place}: the function `api_key` returned a key that cannot be sent: {error}"
            raise ContinuationError(msg) from None
        self._require_text(key)
        if is_secret(key):
            self._redactor.learn(key)
        return key

    def _require_text(self, key: str) -> None:
        if not key:
            msg = f"{self._place}: no API key. Pass `api_key` or set OPENAI_API_KEY."
            raise ContinuationError(msg)


def is_secret(key: str) -> bool:
    """Return whether a key is one that not everybody uses."""
    return key.lower() not in _PLACEHOLDERS


def checked_key(key: SecretStr | str) -> SecretStr:
    """Return the key without white space around it.

    Raises:
        ValueError: No header can hold the key. The error does not show it.
    """
    text = (key.get_secret_value() if isinstance(key, SecretStr) else key).strip()
    if not (text.isascii() and text.isprintable()):  # a header cannot hold it, and the error would quote it
        wrong = next(i for i, character in enumerate(text) if not (character.isascii() and character.isprintable()))
        msg = f"api_key: expected printable ASCII characters, got another character at position {wrong}"
        raise ValueError(msg)
    return SecretStr(text)
