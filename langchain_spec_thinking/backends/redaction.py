"""Removes secrets from what is shown: messages of errors, descriptions, addresses."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import string
import threading
from collections import defaultdict
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit, urlunsplit

from pydantic import SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HIDDEN = "***"
_TEXT_MAX = 20_000
"""Longest text that is shown, in characters. The rest of a longer text is cut off."""
_DEPTH_MAX = 30
"""Deepest nesting of data that is shown."""
_SECRET_MIN = 4
"""Shortest secret that is found in a text, in characters. Shorter texts occur in ordinary words."""
_PART = 8
"""A part of a secret of this length is hidden, in characters, for example if a server quotes half of a key."""
_LEARNED_MAX = 16
"""Number of secrets that are learned later and kept."""
_WORD_MAX = 11
"""Longest word that counts as an ordinary setting such as `"auto"`, in characters."""
_SECRET_FIELD = re.compile(r"key|token|secret|pass|pwd|auth|cred|sign|cookie|session", re.IGNORECASE)
_MASK_OR_WORD = re.compile(r"%[0-9A-Fa-f]{2}|[xX]{4,}|_{3,}|-{3,}|((?:(?![xX]{4}|_{3}|-{3})[A-Za-z0-9_-])+)")
"""Matches an escape (`%2A`), a mask (`xxxx`) or a word. A server that masks a key shows a part of it as a word."""
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_URL = re.compile(r"(?<!\w)(?P<scheme>\w+://)(?:\S*@)?(?P<place>[^\s?#]*)\S*")


class Redactor:
    """Replaces known secrets in texts by `***`.

    It finds a secret as it is, and also URL-encoded, escaped as in JSON, Python or HTML, and in base64 or hexadecimal
    digits. Half a secret is found too: any 8 characters in a row, and a word of at least 4 characters that is the
    beginning or the end of the secret, as in `sk-ab12...wxyz`.

    ```python
    Redactor(["sk-abc123def456"]).text("wrong key: sk-abc123...f456")  # 'wrong key: ***...***'
    ```

    Args:
        secrets: The secrets. Those of fewer than 4 characters cannot be found.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if len(secret) >= _SECRET_MIN}
        self._known = (_Secrets(known),) if known else ()
        self._learned: dict[str, _Secrets] = {}  # the most recent one is the last
        self._lock = threading.Lock()

    def learn(self, secret: str) -> None:
        """Hide a further secret from now on. Only the 16 most recent ones are kept, because keys may change often."""
        with self._lock:
            learned = {**self._learned}
            found = learned.pop(secret, None) or _Secrets({secret} if len(secret) >= _SECRET_MIN else set())
            self._learned = {**dict([*learned.items()][1 - _LEARNED_MAX :]), secret: found}

    def text(self, text: str) -> str:
        """Return a text without the secrets. A text of more than 20,000 characters is cut off."""
        text = text[:_TEXT_MAX]
        known = (*self._known, *self._learned.values())
        if not known:
            return text
        lower, shown, end = _lower(text), [], 0
        for start, stop in _joined(sorted(span for secrets in known for span in secrets.found(lower))):
            shown += [text[end:start], HIDDEN]
            end = stop
        return "".join([*shown, text[end:]])

    def data(self, value: Any, depth: int = 0) -> Any:  # noqa: ANN401 - any JSON value
        """Return a JSON value without the secrets. Objects that are no JSON are left out."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if depth >= _DEPTH_MAX:
            return None
        if isinstance(value, dict):
            return {self.text(str(key)): self.data(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)([self.data(item, depth + 1) for item in value])
        return None


class _Secrets:
    """Secrets, and the parts of all their forms by length."""

    def __init__(self, secrets: Iterable[str]) -> None:
        secrets = tuple(secrets)
        self._secrets = tuple(map(_lower, secrets))
        self._parts: dict[int, set[str]] = defaultdict(set)
        for secret in secrets:
            for form in map(_lower, _forms(secret)):
                size = min(_PART, len(form))
                self._parts[size].update(form[i : i + size] for i in range(len(form) - size + 1))

    def found(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where the text shows a secret or a part of one."""
        for size, parts in self._parts.items():
            yield from ((i, i + size) for i in range(len(text) - size + 1) if text[i : i + size] in parts)
        for word in _MASK_OR_WORD.finditer(text):
            shown = word[1]
            if shown and len(shown) >= _SECRET_MIN and self._begins_or_ends(shown):
                yield word.span()

    def _begins_or_ends(self, word: str) -> bool:
        return any(secret.startswith(word) or secret.endswith(word) for secret in self._secrets)


def _lower(text: str) -> str:
    return text.translate(_LOWER)


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join sorted spans that overlap or touch."""
    begun: tuple[int, int] | None = None
    for start, stop in spans:
        if begun and start <= begun[1]:
            begun = begun[0], max(begun[1], stop)
            continue
        if begun:
            yield begun
        begun = start, stop
    if begun:
        yield begun


def _forms(secret: str) -> set[str]:
    """Return the forms in which a server may quote a secret."""
    data = secret.encode(errors="backslashreplace")
    escaped = json.dumps(secret)[1:-1]
    texts = {secret, escaped, json.dumps(escaped)[1:-1], secret.replace("/", "\\/"), repr(secret)[1:-1]}
    texts |= {html.escape(secret), html.escape(secret, quote=False), data.hex()}
    texts |= {quote(data), quote(data, safe=""), quote_plus(data), quote(quote(data, safe=""), safe="")}
    encoded = {form for before in range(3) for form in _base64(data, before)}
    return {text for text in texts | encoded if len(text) >= _SECRET_MIN}


def _base64(data: bytes, before: int) -> Iterator[str]:
    """Yield the base64 of data that follows `before` other bytes, without the digits that other bytes change."""
    first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(bytes(before) + data).decode()[first:last]


# -- where secrets are


def secrets_in_url(url: str) -> Iterator[str]:
    """Yield the texts of an address that may be secrets: user, password and the values of the query."""
    parts = urlsplit(url)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    if not password or not _is_plain_word(unquote(user)):
        yield unquote(user)
    yield unquote(password)
    yield from (value for _, value in parse_qsl(parts.query, keep_blank_values=True))
    yield parts.query


def secrets_in_settings(value: Any, field: str = "") -> Iterator[str]:  # noqa: ANN401 - any setting
    """Yield the texts in a setting that may be secrets.

    A text counts as a secret if its field is called so (`api_key`, `token`, `password`), or if it is not an ordinary
    word such as `"auto"`.

    Args:
        value: The setting: text, or a dict or list of settings.
        field: The name of the field.
    """
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from secrets_in_settings(item, f"{field} {name}")
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from secrets_in_settings(item, field)
    elif isinstance(value, str):
        yield from (word for word in value.split() if _may_be_secret(word, field))


def is_secret_field(field: str) -> bool:
    """Return whether the name of a field says that its value is a secret."""
    return _SECRET_FIELD.search(field) is not None


def _may_be_secret(word: str, field: str) -> bool:
    return is_secret_field(field) or not _is_plain_word(word)


def _is_plain_word(text: str) -> bool:
    return len(text) <= _WORD_MAX and text.isascii() and text.isalpha()


# -- what is shown instead


def fingerprint(text: str) -> str:
    """Return a short text that differs for different texts and does not reveal them."""
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:12]


def public_settings(value: Any, field: str = "") -> Any:  # noqa: ANN401 - any setting
    """Return settings in which every text that may be a secret is replaced by its fingerprint.

    ```python
    public_settings({"top_k": 20, "user_token": "abc"})  # {'top_k': 20, 'user_token': '*** ba7816bf8f01'}
    ```

    Args:
        value: The setting: text, or a dict or list of settings.
        field: The name of the field.
    """
    if isinstance(value, dict):
        return {name: public_settings(item, f"{field} {name}") for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [public_settings(item, field) for item in value]
    if isinstance(value, str) and any(_may_be_secret(word, field) for word in value.split()):
        return f"{HIDDEN} {fingerprint(value)}"
    return value


def public_url(url: str) -> str:
    """Return an address without user, password, query and fragment, which may be secrets."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def without_credentials(text: str) -> str:
    """Return a text in which addresses have no user, password, query and fragment."""
    return _URL.sub(r"\g<scheme>\g<place>", text)


def public_name(model: str) -> str:
    """Return the name of a model. Of a path, return only the last part, because the rest tells about the machine."""
    return PureWindowsPath(model).name or model if is_path(model) else model


def described_path(model: str) -> dict[str, str]:
    """Return what distinguishes a path from others with the same last part. Empty for a name that is not a path."""
    return {"path": fingerprint(model)} if is_path(model) else {}


def is_path(model: str) -> bool:
    """Return whether the name of a model is a path, on this machine or on that of a server."""
    absolute = PurePosixPath(model).is_absolute() or PureWindowsPath(model).is_absolute()
    return absolute or model.startswith(("./", "../", "~/"))
