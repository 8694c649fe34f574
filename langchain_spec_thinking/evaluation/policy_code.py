"""A policy as one line of Python."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, isfunction, signature
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.policy import DelegationPolicy

if TYPE_CHECKING:
    from collections.abc import Callable


def policy_code(policy: DelegationPolicy) -> str:
    """Write a policy as the shortest expression that makes it.

    The names in it are those that `from langchain_spec_thinking import *` brings. A trigger, a rule or a function of
    your own has the name of its class or function.

    ```python
    policy_code(DelegationPolicy.gated())  # "DelegationPolicy.gated()"
    ```
    """
    makers: dict[str, Callable[..., DelegationPolicy]] = {
        "DelegationPolicy": DelegationPolicy,
        "DelegationPolicy.gated": DelegationPolicy.gated,
        "DelegationPolicy.non_reasoning": DelegationPolicy.non_reasoning,
    }
    return min((_call(name, make, policy) for name, make in makers.items()), key=len)


def _call(name: str, make: Callable[..., DelegationPolicy], policy: DelegationPolicy) -> str:
    plain, same_trigger = make(), make(trigger=policy.trigger)  # some defaults depend on the trigger
    given = {} if plain.trigger == policy.trigger else {"trigger": policy.trigger}
    for field in fields(policy):
        value = getattr(policy, field.name)
        if field.name != "trigger" and value != getattr(same_trigger, field.name):
            given[field.name] = value
    return f"{name}({_arguments(given)})"


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_code(value)}" for name, value in values.items())


def _code(value: Any) -> str:  # noqa: ANN401 - any value of a policy
    if isfunction(value):
        return value.__qualname__
    if isinstance(value, tuple):
        return f"({', '.join(map(_code, value))}{',' if len(value) == 1 else ''})"
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    kind = type(value)
    parts = [parameter.name for parameter in signature(kind).parameters.values() if parameter.kind is _PARTS]
    if parts:  # a combination takes its parts as positional arguments
        return f"{kind.__name__}({', '.join(_code(part) for name in parts for part in getattr(value, name))})"
    changed = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    defaults = {field.name: _default(field) for field in fields(value)}
    return f"{kind.__name__}({_arguments({name: v for name, v in changed.items() if v != defaults[name]})})"


_PARTS = Parameter.VAR_POSITIONAL


def _default(field: Any) -> Any:  # noqa: ANN401 - a field of any dataclass
    return field.default_factory() if field.default_factory is not MISSING else field.default
