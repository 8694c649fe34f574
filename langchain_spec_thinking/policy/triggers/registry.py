"""The triggers that command lines and saved policies can name, and what each of them must define."""

from __future__ import annotations

import re
from dataclasses import fields
from inspect import isabstract
from typing import Any, TypeVar

from langchain_spec_thinking.policy.triggers.base import Trigger, TunableParameter

_SUFFIX = "Trigger"
_OF_POLICY = "takeover_tokens"
"""The only field of the policy that a trigger can tune. Every trigger has a default for it."""
_Kind = TypeVar("_Kind", bound=type[Trigger])

TRIGGERS: dict[str, type[Trigger]] = {}
"""The registered triggers by short name: `first_token_entropy` for `FirstTokenEntropy`."""


def register_trigger(kind: _Kind) -> _Kind:
    """Let saved policies, recorded runs and command lines name a trigger.

    Use it as a decorator, above `@dataclass(frozen=True)`. A class that is defined again replaces the earlier one.
    Files name the trigger by its class. They can be read after the module of the class was imported. Command lines name
    a trigger of this package by its short name, and any other trigger by its module and class: `my_module:MyTrigger`.

    Args:
        kind: A frozen dataclass with `examine` and `tunable`.

    Returns:
        The same class.

    Raises:
        TypeError: The class is incomplete, or another class has its name.
    """
    _require_complete(kind)
    name = short_name(kind)
    other = TRIGGERS.get(name, kind)
    if (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
        msg = (
            f"{kind.__name__}: expected a name of its own, but {other.__module__}.{other.__qualname__} is {name!r} too"
        )
        raise TypeError(msg)
    TRIGGERS[name] = kind
    return kind


def short_name(kind: type) -> str:
    """Return the name of a trigger in a command line: `first_token_entropy` for `FirstTokenEntropy`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__.removesuffix(_SUFFIX)).lower()


def _require_complete(kind: Any) -> None:  # noqa: ANN401 - it may be any class
    if not issubclass(kind, Trigger) or isabstract(kind):
        msg = f"{kind.__name__}: expected a subclass of Trigger with the method `examine`"
        raise TypeError(msg)
    parameters = vars(kind).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        msg = f"{kind.__name__}: expected @dataclass(frozen=True) below @register_trigger"
        raise TypeError(msg)
    names = {field.name for field in fields(kind)} | {_OF_POLICY}
    tunable = getattr(kind, "tunable", ...)
    if tunable is None or (isinstance(tunable, TunableParameter) and tunable.field in names):
        return
    seen = "no such attribute" if tunable is ... else repr(tunable)
    msg = (
        f"{kind.__name__}: expected `tunable = TunableParameter(...)` for one of {', '.join(sorted(names))}, or "
        f"`tunable = None` if `calibrate` cannot tune the trigger, got {seen}"
    )
    raise TypeError(msg)
