"""What is known about the fields that a server refuses."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.openai.refusals import LIMIT_FIELD, OPTIONAL_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from langchain_spec_thinking.backends.replies.continuation import Endpoint

    Field = tuple[Endpoint, str]
    """A field of the requests to an endpoint, by its name."""

_TRACKED = OPTIONAL_FIELDS | {LIMIT_FIELD, "tools"}
_OWN_VALUES = {LIMIT_FIELD, "stream_options"}
"""Fields whose value is never wrong, because no user chooses it."""
_VALUES_MAX = 2
"""Number of refused values after which a field counts as refused whatever its value is."""


class RefusedFields:
    """The fields that a server refuses, by endpoint.

    All requests to a model share this. So one request must not decide for the others: its value of a field may be
    wrong, for example the schema of a tool. A value of a field counts as refused if a request with it failed because of
    the field, and the same request without it succeeded. The whole field counts as refused after two such values. None
    of this holds as soon as a request with the field succeeds.
    """

    def __init__(self) -> None:
        self._refused: dict[Field, set[str]] = {}
        self._accepted: set[Field] = set()

    def refuses(self, field: Field, value: object) -> bool:
        """Return whether requests should omit a field that has this value."""
        values = self._values(field)
        return bool(values) and (len(values) >= _VALUES_MAX or _key(field, value) in values)

    def refuses_some(self, name: str) -> bool:
        """Return whether an endpoint refused a value of a field, and has never accepted one."""
        return any(self._values(field) for field in [*self._refused] if field[1] == name)

    def learn(self, accepted: Iterable[Field], refused: Mapping[Field, object]) -> None:
        """Learn from a request that succeeded.

        Args:
            accepted: The fields of the request.
            refused: The fields, with their values, for which the server refused the request before.
        """
        self._accepted.update(field for field in accepted if field[1] in _TRACKED)
        for field, value in refused.items():
            values = self._refused.setdefault(field, set())
            if len(values) < _VALUES_MAX:
                values.add(_key(field, value))

    def _values(self, field: Field) -> set[str]:
        return set() if field in self._accepted else self._refused.get(field, set())


def _key(field: Field, value: object) -> str:
    """Return a short text that tells the values of a field apart."""
    text = "" if field[1] in _OWN_VALUES else json.dumps(value, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
