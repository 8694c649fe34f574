"""Names of functions in settings: for files, and for keys of caches."""

from __future__ import annotations

import hashlib
import sys
import threading
import weakref
from dataclasses import is_dataclass
from functools import partial
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain_spec_thinking.policy.escalation.base import Escalation
from langchain_spec_thinking.policy.triggers.base import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOCK = threading.Lock()
_TOKENS: dict[int, tuple[Callable[[], object], str]] = {}


def is_function(value: object) -> bool:
    """Return whether a value of a policy is a function or another object that is only called."""
    return callable(value) and not is_dataclass(value) and not isinstance(value, (Trigger, Escalation))


def function_name(function: Any) -> str:  # noqa: ANN401 - anything that can be called
    """Return the name of a function for a file: `module:name`, if it can be imported by that.

    The name of another Python function also has a fingerprint of its code, so that a changed one is noticed.
    """
    name = ":".join(_names(function))
    if not isinstance(function, FunctionType) or _can_be_imported(function):
        return name
    values = [cell.cell_contents for cell in function.__closure__ or () if _has_value(cell)]
    simple = [value for value in [*(function.__defaults__ or ()), *values] if isinstance(value, _SIMPLE)]
    return f"{name} {hashlib.sha256(repr((_code(function.__code__), simple)).encode()).hexdigest()[:12]}"


def tokens_of_functions(value: Any) -> Iterator[str]:  # noqa: ANN401 - any value of a policy
    """Yield a token for each function in a value that cannot be imported by its name, for the key of a cache.

    No two functions have the same token, and no function has it in another process: the name and the code of a function
    do not tell what it does.
    """
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from tokens_of_functions(item)
    elif is_function(value):
        if not _can_be_imported(value):
            yield _token(value)
    elif hasattr(value, "__dict__"):
        yield from tokens_of_functions(list(vars(value).values()))


_SIMPLE = (bool, int, float, str, bytes, type(None))


def _names(function: Any) -> tuple[str, str]:  # noqa: ANN401 - as above
    named = function if hasattr(function, "__qualname__") else type(function)
    return str(named.__module__), str(named.__qualname__)


def _can_be_imported(function: object) -> bool:
    """Return whether the name of a function leads to it. The names of a script may mean something else in the next."""
    module, names = _names(function)
    found: object = None if module == "__main__" else sys.modules.get(module)
    for name in names.split("."):
        found = getattr(found, name, None)
    return found is function


def _has_value(cell: Any) -> bool:  # noqa: ANN401 - a cell has no public type
    try:
        return cell.cell_contents is not cell
    except ValueError:  # the variable has no value yet
        return False


def _code(code: CodeType) -> tuple[object, ...]:
    """Return what makes the code of a function: its instructions, constants and names, without its place in a file."""
    constants = [_code(one) if isinstance(one, CodeType) else one for one in code.co_consts]
    return code.co_code, constants, code.co_names, code.co_varnames


def _same(value: object) -> object:
    return value


def _token(function: object) -> str:
    key = id(function)
    with _LOCK:
        known, token = _TOKENS.get(key, (None, ""))
        if known and known() is function:
            return token
        try:
            reference: Callable[[], object] = weakref.ref(function)
        except TypeError:  # keep it, so that no other object gets its id
            reference = partial(_same, function)
        _TOKENS[key] = reference, uuid4().hex
        return _TOKENS[key][1]
