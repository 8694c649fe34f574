"""Converts policies to plain data for files, and back. The key `type` holds the name of a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from inspect import Parameter, signature
from typing import Any

from langchain_spec_thinking import policy as package
from langchain_spec_thinking.policy.settings import DelegationPolicy

Data = None | bool | int | float | str | list[Any] | dict[str, Any]


def as_data(value: object) -> Data:
    """Return a value as data that JSON can hold.

    If a trigger is not a dataclass, the result contains its public attributes.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): as_data(held) for key, held in value.items()}
    if isinstance(value, Sequence):
        return [as_data(held) for held in value]
    if is_dataclass(value):
        names = [field.name for field in fields(value) if field.repr]
    else:  # attributes of other objects stay out: they may be secrets, clients or patterns
        held = vars(value) if isinstance(value, package.Trigger) else {}
        names = sorted(name for name in held if not name.startswith("_"))
    return {"type": type(value).__name__} | {name: as_data(getattr(value, name)) for name in names}


def of_data(data: Data) -> Any:  # noqa: ANN401 - any value that a file may hold
    """Return the value that `as_data` converted. Sequences become tuples.

    Raises:
        ValueError: The data names a class that is not part of this package, or a field that the class does not have.
    """
    if isinstance(data, list):
        return tuple(of_data(held) for held in data)
    if not isinstance(data, dict):
        return data
    held = {name: of_data(value) for name, value in data.items() if name != "type"}
    if "type" not in data:
        return held
    kind = known().get(data["type"])
    if kind is None:
        msg = (
            f"{data['type']}: expected one of {', '.join(sorted(known()))}. A class of your own cannot be made from a "
            "file; make the policy in Python and pass it"
        )
        raise ValueError(msg)
    starred = [name for name, how in signature(kind).parameters.items() if how.kind is Parameter.VAR_POSITIONAL]
    listed = [one for name in starred for one in held.pop(name, ())]
    try:
        return kind(*listed, **held)
    except TypeError as e:
        expected = ", ".join(field.name for field in fields(kind))
        msg = f"{data['type']}: expected fields among {expected}; {e}"
        raise ValueError(msg) from e


def policy_of(data: Mapping[str, Any]) -> DelegationPolicy:
    """Return the policy that `as_data` converted. Missing fields get their default values.

    Raises:
        ValueError: The data does not describe a `DelegationPolicy`, or names a class that is not part of this package.
    """
    policy = of_data({"type": "DelegationPolicy", **data})
    if not isinstance(policy, DelegationPolicy):
        msg = f"expected a DelegationPolicy, got a {type(policy).__name__}"
        raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting
    return policy


@cache
def known() -> dict[str, Any]:
    """Return the classes that the data may name, by name: the dataclasses that the package `policy` exports."""
    exported = {name: getattr(package, name) for name in package.__all__}
    return {name: kind for name, kind in exported.items() if isinstance(kind, type) and is_dataclass(kind)}
