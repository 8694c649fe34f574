"""The models that the options name: by a name that Python accepts too, as a model of the pocket pair, or by module."""

from __future__ import annotations

import os
import re
from inspect import signature
from typing import TYPE_CHECKING

from langchain_core.language_models.chat_models import BaseChatModel

from langchain_spec_thinking import Backend, ChatModelBackend, pocket
from langchain_spec_thinking.backends.specs import backend_of
from langchain_spec_thinking.cli.threads import use_one_thread
from langchain_spec_thinking.evaluation.user_code import import_object

if TYPE_CHECKING:
    from collections.abc import Callable

_MODEL = (
    "A Hub id, a folder, openai:NAME@URL or openai:NAME@URL#TOKENIZER, LangChain's provider:model, pocket:small, "
    "pocket:large, or module:attribute for a backend of your own."
)
_KEY = "The API key of its server is read from {}, and for OpenAI also from OPENAI_API_KEY."
SMALL_MODEL = f"The small model. {_MODEL} {_KEY.format('SPECULATIVE_API_KEY')}"
LARGE_MODEL = f"The large model. {_MODEL} {_KEY.format('TARGET_API_KEY')}"
POCKET: dict[str, Callable[[], Backend]] = {"pocket:small": pocket.speculative, "pocket:large": pocket.target}
_OBJECT = re.compile(r"(?!openai:|huggingface:)[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def backend(spec: str, owner: str) -> Backend:
    """Return the backend that a text names, with the API key of its owner.

    Each owner has a variable of its own, so that no server gets the key of another. Without it, a server gets no key,
    except that OpenAI, and the address in the environment if the name has none, get the key in `OPENAI_API_KEY`.

    Only the command line accepts `module:attribute`, because that runs the code of the module: the user who types the
    name decides to run this code. In Python, a name may come from a file or from a request. Pass the backend there.

    Args:
        spec: A name that `backend_of` accepts, `pocket:small`, `pocket:large`, or `module:attribute`.
        owner: Which model this is: "speculative", "target", or "variant_NAME". The API key is in the variable of this
            name in capitals, followed by `_API_KEY`.

    Raises:
        ValueError: The text names no backend.
        ImportError: A required package is not installed.
        BackendError: The model cannot be loaded.
    """
    if spec in POCKET:
        _hide_progress_bars()
        use_one_thread()
        return POCKET[spec]()
    if spec.startswith("pocket:"):
        msg = f"{spec}: expected {' or '.join(POCKET)}"
        raise ValueError(msg)
    if not _OBJECT.fullmatch(spec):
        return _named(spec, owner)
    try:
        found = import_object(spec)
    except ValueError as not_imported:
        return _provider_model(spec, owner, not_imported)
    return _own(spec, found)


def _named(spec: str, owner: str) -> Backend:
    variable = re.sub(r"\W", "_", f"{owner}_API_KEY".upper(), flags=re.ASCII)
    return backend_of(spec, api_key=os.environ.get(variable) or None)


def _provider_model(spec: str, owner: str, not_imported: ValueError) -> Backend:
    """Return LangChain's `provider:model`, which looks like `module:attribute`."""
    try:
        return _named(spec, owner)
    except (ImportError, ValueError) as e:
        msg = f"Read as module:attribute, {not_imported}. Otherwise, {e}"
        raise ValueError(msg) from e


def _own(spec: str, found: object) -> Backend:
    """Return an object of the user's module as a backend. Call it if it is a class or a function."""
    if callable(found) and not isinstance(found, (Backend, BaseChatModel)):
        try:
            signature(found).bind()
        except TypeError as e:
            msg = f"{spec}: expected a class or a function that needs no arguments ({e})"
            raise ValueError(msg) from e
        found = found()
    if isinstance(found, BaseChatModel):
        return ChatModelBackend(found)
    if not isinstance(found, Backend):
        msg = (
            f"{spec}: expected a Backend or a LangChain chat model, or a class or function without arguments that "
            f"makes one, got {type(found).__name__}"
        )
        raise ValueError(msg)  # noqa: TRY004 - one error type for every bad name
    return found


def _hide_progress_bars() -> None:
    from transformers.utils import logging  # noqa: PLC0415 - slow import

    logging.disable_progress_bar()  # the command shows its own
