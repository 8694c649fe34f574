"""What a server can do, found out by asking it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.errors import ContinuationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPTIONAL_FIELDS = ("stream_options", "seed", "top_p")
"""Fields a request can do without, should a server refuse unknown ones (transformers serve: 422)."""

_UNPROCESSABLE = 422
_REFUSALS = {400, _UNPROCESSABLE}
_WORDS_MAX = 300

PROBE: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "Write these words, in this order: one two three four five six seven eight nine."},
        {"role": "assistant", "content": "one two three four five six sev"},
    ],
    "max_tokens": 4,
    "temperature": 0,
    "extra_body": {"continue_final_message": True, "add_generation_prompt": False},
}
"""A reply cut in the middle of a word. A model that goes on from there writes "en", a new reply begins otherwise."""


@contextmanager
def probing(place: str, secret: str) -> Iterator[Callable[[Any], None]]:
    """Send `PROBE` in this context, and pass the response to what it yields.

    Args:
        place: The server's address.
        secret: The API key, which some servers quote.

    Raises:
        ContinuationError: The server refused the probe, or began a new reply instead of going on with the old one.
    """
    try:
        yield lambda response: _judge(response, place)
    except Exception as error:
        if getattr(error, "status_code", None) not in _REFUSALS:
            raise
        said = server_words(error, secret)
        quoted = secret and secret in server_words(error)
        raise ContinuationError(_cannot_continue(place, f"it refused the request ({said})")) from (
            None if quoted else error
        )


def _judge(response: Any, place: str) -> None:  # noqa: ANN401 - a chat completion
    said = (response.choices[0].message.content or "") if response.choices else ""
    if not said.removeprefix(PROBE["messages"][-1]["content"]).startswith("en"):
        raise ContinuationError(_cannot_continue(place, f"it answered {said!r} where 'en eight' was expected"))


def _cannot_continue(place: str, what_it_did: str) -> str:
    return (
        f"{place}: the server does not continue a half-written reply on its chat endpoint: {what_it_did}. Pass "
        "`tokenizer=` (the model's Hub id or a folder with its tokenizer): the turn is then continued on the "
        "completions endpoint."
    )


def server_words(error: Exception, secret: str = "") -> str:
    """Return what a server said about an error; the SDK tells it only where it has the form of OpenAI's.

    Args:
        error: What the SDK raised.
        secret: What must not be told.
    """
    said = str(error) or type(error).__name__
    body = getattr(error, "body", None)
    said = said if body is None or str(body) in said else f"{said} {body}"
    return (said.replace(secret, "***") if secret else said)[:_WORDS_MAX]


def refused_fields(error: Exception, optional: list[str]) -> frozenset[str]:
    """Return which of the optional fields in a request made a server refuse it.

    Args:
        error: What the SDK raised.
        optional: Names of optional fields that were sent.
    """
    status = getattr(error, "status_code", None)
    if status not in _REFUSALS:
        return frozenset()
    named = frozenset(name for name in optional if name in server_words(error))
    return named or frozenset(optional if status == _UNPROCESSABLE else ())
