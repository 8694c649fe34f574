"""Converts policies to plain data for files, and back. The key `type` holds the name of a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, signature
from typing import Any

from langchain_spec_thinking import policy as package
from langchain_spec_thinking.policy.escalation import ESCALATIONS, Escalation
from langchain_spec_thinking.policy.function_names import function_name, is_function
from langchain_spec_thinking.policy.settings import DelegationPolicy
from langchain_spec_thinking.policy.triggers import TRIGGERS

_MOVED = {
    ("Budget", "target_price"): "the argument `price=` of the backend of the large model",
    ("Budget", "speculative_price"): "the argument `price=` of the backend of the small model",
}
"""Fields of older files that have become something else, by class and name."""
Data = None | bool | int | float | str | list[Any] | dict[str, Any]


def as_data(value: object) -> Data:
    """Return a value as data that JSON can hold.

    If a trigger or a rule of escalation is not a dataclass, the result contains its public attributes.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if is_function(value):  # a file cannot hold it, only its name
        return function_name(value)
    if isinstance(value, Mapping):
        return {str(key): as_data(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [as_data(item) for item in value]
    if is_dataclass(value):
        names = [field.name for field in fields(value) if field.repr]
    else:  # attributes of other objects stay out: they may be secrets, clients or patterns
        attributes = vars(value) if isinstance(value, (package.Trigger, Escalation)) else {}
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
    values = {name: from_data(value) for name, value in _without_moved(data).items() if name != "type"}
    if "type" not in data:
        return values
    cls = known_classes().get(data["type"])
    if cls is None:
        msg = (
            f"{data['type']}: expected one of {', '.join(sorted(known_classes()))}. A trigger of your own can be "
            "loaded from a file if `register_trigger` decorates its class and Python has imported its module. The same "
            "holds for a rule of escalation and `register_escalation`. On a command line, name the trigger by "
            "`trigger=module:Class`. Otherwise create the policy in Python."
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


def _without_moved(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data without fields that have become something else, and refuse those that are set."""
    moved = {name: words for (kind, name), words in _MOVED.items() if kind == data.get("type") and name in data}
    for name, words in moved.items():
        if data[name] is not None:
            msg = f"{data['type']}: {name} does not exist any more. Remove it, and use {words}"
            raise ValueError(msg)
    return {name: value for name, value in data.items() if name not in moved}


def with_defaults(data: Any, defaults: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - any value of a file
    """Return data in which every missing field that has a default has it, also in the data inside.

    Args:
        data: Data that `as_data` made, perhaps with an older version of this package.
        defaults: Defaults of fields of the outermost object. None: those of the class that it names.
    """
    if isinstance(data, list):
        return [with_defaults(item) for item in data]
    if not isinstance(data, dict):
        return data
    known = _defaults(known_classes().get(str(data.get("type")))) if defaults is None else defaults
    added = {name: as_data(value) for name, value in known.items() if name not in data}
    return {name: with_defaults(value) for name, value in data.items()} | added


def _defaults(cls: Any) -> dict[str, Any]:  # noqa: ANN401 - a class, or None
    """Return the defaults of the fields that `as_data` writes."""
    found: dict[str, Any] = {}
    for field in fields(cls) if is_dataclass(cls) else ():
        if field.repr and field.default_factory is not MISSING:
            found[field.name] = field.default_factory()
        elif field.repr and field.default is not MISSING:
            found[field.name] = field.default
    return found


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

    They are the registered triggers, the registered rules of escalation, and the dataclasses that the package `policy`
    exports.
    """
    exported = {name: getattr(package, name) for name in package.__all__}
    own = {name: cls for name, cls in exported.items() if isinstance(cls, type) and is_dataclass(cls)}
    registered = [*TRIGGERS.values(), *ESCALATIONS.values()]
    return {kind.__name__: kind for kind in registered} | own
