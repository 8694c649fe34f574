"""The models that the options name: by a name that Python accepts too, as a model of the pocket pair, or by module."""

from __future__ import annotations

import os
import re
from inspect import signature
from typing import TYPE_CHECKING, Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.runnables import Runnable

from langchain_spec_thinking import Backend, ChatModelBackend, pocket
from langchain_spec_thinking.backends.redaction import without_credentials
from langchain_spec_thinking.backends.specs import backend_of
from langchain_spec_thinking.cli.threads import use_one_thread
from langchain_spec_thinking.evaluation.runnables import RunnableVariant
from langchain_spec_thinking.evaluation.user_code import import_object

if TYPE_CHECKING:
    from collections.abc import Callable

_MODEL = (
    "A Hub id, a folder, openai:NAME@URL or openai:NAME@URL#TOKENIZER, LangChain's provider:model, pocket:small, "
    "pocket:large, or module:attribute for a backend of your own."
)
_KEY = (
    "The API key of its server is read from {}, unless you name another variable. If that is not set, OpenAI gets "
    "OPENAI_API_KEY."
)
SMALL_MODEL = f"The small model. {_MODEL} {_KEY.format('SPECULATIVE_API_KEY')}"
LARGE_MODEL = f"The large model. {_MODEL} {_KEY.format('TARGET_API_KEY')}"
KEY_ENV = "Name of the environment variable that holds the API key of the {} model's server, for example {}."
POCKET: dict[str, Callable[[], Backend]] = {"pocket:small": pocket.speculative, "pocket:large": pocket.target}
_OBJECT = re.compile(r"(?!openai:|huggingface:)[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def backend(spec: str, owner: str, key_env: str | None = None) -> Backend:
    """Return the backend that a text names, with the API key of its owner.

    Each owner has a variable of its own, so that no server gets the key of another one. If the variable is not set, the
    key in `OPENAI_API_KEY` goes to OpenAI, or to the address in the environment if the name has no address. Every other
    server gets no key.

    Only the command line accepts `module:attribute`, because that runs the code of the module: the user who types the
    name decides to run this code. In Python, a name may come from a file or from a request. Pass the backend there.

    Args:
        spec: A name that `backend_of` accepts, `pocket:small`, `pocket:large`, or `module:attribute`.
        owner: Which model this is: "speculative", "target", or "variant_NAME". The API key is in the variable of this
            name in capitals, followed by `_API_KEY`.
        key_env: Another environment variable that holds the API key. It must be set.

    Raises:
        ValueError: The text names no backend, the variable is not set, or the backend takes no key.
        ImportError: A required package is not installed.
        BackendError: The model cannot be loaded.
    """
    if key_env is not None:
        return backend_of(spec, api_key=_key(spec, f"--{owner}-key-env", key_env))
    if spec in POCKET:
        pocket.require_extra()  # before the next line, which imports a package of the extra
        _hide_progress_bars()
        use_one_thread()
        return POCKET[spec]()
    if spec.startswith("pocket:"):
        msg = f"{spec}: expected {' or '.join(POCKET)}"
        raise ValueError(msg)
    found = _found(spec, owner)
    if isinstance(found, Backend):
        return found
    if isinstance(found, BaseChatModel):
        return ChatModelBackend(found)
    msg = (
        f"{spec}: expected a Backend or a LangChain chat model, or a class or function without arguments that "
        f"makes one, got {type(found).__name__}"
    )
    raise ValueError(msg)


def backend_or_runnable(spec: str, owner: str) -> Backend | Runnable[Any, Any] | RunnableVariant:
    """Return the backend that a text names. `module:attribute` may also name another runnable, such as an agent.

    Args:
        spec: As for `backend`.
        owner: As for `backend`.

    Raises:
        ValueError: The text names neither a backend nor a runnable.
        ImportError: A required package is not installed.
        BackendError: The model cannot be loaded.
    """
    if spec.startswith("pocket:"):
        return backend(spec, owner)
    found = _found(spec, owner)
    if isinstance(found, BaseChatModel):
        return ChatModelBackend(found)
    if isinstance(found, (Backend, Runnable, RunnableVariant)):
        return found
    msg = (
        f"{spec}: expected a Backend, a LangChain chat model, another Runnable or a RunnableVariant, or a class or "
        f"function without arguments that makes one, got {type(found).__name__}"
    )
    raise ValueError(msg)


def _key(spec: str, option: str, variable: str) -> str:
    """Return the key in a variable. No message repeats the option's value, because it may be the key itself."""
    if not spec.startswith("openai:"):
        msg = (
            f"{option}: expected a model openai:NAME@URL, because only such a model takes a key, got "
            f"{without_credentials(spec)}"
        )
        raise ValueError(msg)
    if key := os.environ.get(variable):
        return key
    msg = f"{option}: expected the name of an environment variable that holds the key, got a name that is not set"
    raise ValueError(msg)


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


def _found(spec: str, owner: str) -> object:
    """Return the backend of a name, or the object of the user's module. Call it if it is a class or a function."""
    if not _OBJECT.fullmatch(spec):
        return _named(spec, owner)
    try:
        found = import_object(spec)
    except ValueError as not_imported:
        return _provider_model(spec, owner, not_imported)
    if not callable(found) or isinstance(found, (Backend, Runnable)):
        return found
    try:
        signature(found).bind()
    except TypeError as e:
        msg = f"{spec}: expected a class or a function that needs no arguments ({e})"
        raise ValueError(msg) from e
    return found()


def _hide_progress_bars() -> None:
    from transformers.utils import logging  # noqa: PLC0415 - slow import

    logging.disable_progress_bar()  # the command shows its own
