"""Converts policies to plain data for files, and back. The key `type` holds the name of a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from inspect import Parameter, signature
from typing import Any

from langchain_spec_thinking import policy as package
from langchain_spec_thinking.policy.settings import DelegationPolicy
from langchain_spec_thinking.policy.triggers import TRIGGERS

Data = None | bool | int | float | str | list[Any] | dict[str, Any]


def as_data(value: object) -> Data:
    """Return a value as data that JSON can hold.

    If a trigger is not a dataclass, the result contains its public attributes.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): as_data(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [as_data(item) for item in value]
    if is_dataclass(value):
        names = [field.name for field in fields(value) if field.repr]
    else:  # attributes of other objects stay out: they may be secrets, clients or patterns
        attributes = vars(value) if isinstance(value, package.Trigger) else {}
        names = sorted(name for name in attributes if not name.startswith("_"))
    return {"type": type(value).__name__} | {name: as_data(getattr(value, name)) for name in names}


def from_data(data: Data) -> Any:  # noqa: ANN401 - any value that a file may hold
    """Return the value that `as_data` converted. Sequences become tuples.

    Raises:
        ValueError: The data names a class that is neither part of this package nor a registered trigger, or a field
            that the class does not have.
    """
    if isinstance(data, list):
        return tuple(from_data(item) for item in data)
    if not isinstance(data, dict):
        return data
    values = {name: from_data(value) for name, value in data.items() if name != "type"}
    if "type" not in data:
        return values
    cls = known_classes().get(data["type"])
    if cls is None:
        msg = (
            f"{data['type']}: expected one of {', '.join(sorted(known_classes()))}. A trigger of your own can be "
            "loaded from a file if `register_trigger` decorates its class and Python has imported its module. On a "
            "command line, name the trigger by `trigger=module:Class`. Otherwise create the policy in Python."
        )
        raise ValueError(msg)
    parameters = signature(cls).parameters.values()
    variadic = [parameter.name for parameter in parameters if parameter.kind is Parameter.VAR_POSITIONAL]
    positional = [value for name in variadic for value in values.pop(name, ())]
    try:
        return cls(*positional, **values)
    except TypeError as e:
        expected = ", ".join(field.name for field in fields(cls))
        msg = f"{data['type']}: expected fields among {expected}; {e}"
        raise ValueError(msg) from e


def policy_from_data(data: Mapping[str, Any]) -> DelegationPolicy:
    """Return the policy that `as_data` converted. Missing fields get their default values.

    Raises:
        ValueError: The data does not describe a `DelegationPolicy`, or names a class that is neither part of this
            package nor a registered trigger.
    """
    policy = from_data({"type": "DelegationPolicy", **data})
    if not isinstance(policy, DelegationPolicy):
        msg = f"expected a DelegationPolicy, got a {type(policy).__name__}"
        raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting
    return policy


def known_classes() -> dict[str, Any]:
    """Return the classes that the data may name, by name.

    They are the registered triggers and the dataclasses that the package `policy` exports.
    """
    exported = {name: getattr(package, name) for name in package.__all__}
    own = {name: cls for name, cls in exported.items() if isinstance(cls, type) and is_dataclass(cls)}
    return {kind.__name__: kind for kind in TRIGGERS.values()} | own
