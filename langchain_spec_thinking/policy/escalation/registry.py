"""The rules of escalation that saved policies and command lines can name."""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from inspect import isabstract
from typing import TypeVar

from langchain_spec_thinking.policy.escalation.base import Escalation

_Kind = TypeVar("_Kind", bound=type[Escalation])

ESCALATIONS: dict[str, type[Escalation]] = {}
"""The registered rules by short name: `agreement` for `Agreement`."""


def register_escalation(kind: _Kind) -> _Kind:
    """Let saved policies, recorded runs and command lines name a rule of escalation.

    Use it as a decorator, above `@dataclass(frozen=True)`. A class that is defined again replaces the earlier one.

    Args:
        kind: A frozen dataclass with `examine`.

    Returns:
        The same class.

    Raises:
        TypeError: The class is incomplete, or another class has its name.
    """
    if not issubclass(kind, Escalation) or isabstract(kind) or not is_dataclass(kind):
        msg = f"{kind.__name__}: expected a dataclass that is a subclass of Escalation with the method `examine`"
        raise TypeError(msg)
    name = escalation_name(kind)
    other = ESCALATIONS.get(name, kind)
    if (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
        msg = f"{kind.__name__}: expected a name of its own, but {other.__module__}.{other.__qualname__} has it too"
        raise TypeError(msg)
    ESCALATIONS[name] = kind
    return kind


def escalation_name(kind: type) -> str:
    """Return the name of a rule in a command line: `agreement` for `Agreement`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
