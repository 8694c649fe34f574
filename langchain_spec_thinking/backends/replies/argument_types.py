"""Values of arguments that a model writes without quotes. The tool's schema says what they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.json_values import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
"""Words that models write because some chat templates render values like Python."""
_ALL_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_NO_TYPES: frozenset[str] = frozenset()


def read_argument(text: str, schema: Any, root: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return the value of an argument.

    The text is read as JSON if the schema allows the type of that value. Otherwise the text itself is the value. So a
    tool gets every value that does not fit its schema, and can say what is wrong with it.

    Args:
        text: The value as the model wrote it. A string has no quotes.
        schema: JSON schema of the argument.
        root: JSON schema of all arguments. References lead into it.
    """
    word = text.strip()
    alternatives = [*_alternatives(schema, root)]
    if any(word in _choices(alternative) for alternative in alternatives):
        return word
    types = _NO_TYPES.union(*map(_allowed_types, alternatives))
    if types == {"string"}:
        return text
    try:
        value = read_json(_PYTHON_WORDS.get(word, word))
        json.dumps(value, allow_nan=False)  # Python reads NaN and Infinity, but they are not JSON
    except ValueError:
        return text
    fits = not isinstance(value, str) and types & _types_of(value)
    return value if fits else text


def _alternatives(schema: Any, root: dict[str, Any], seen: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """Yield the schemas of which a value must satisfy one, without references.

    Args:
        schema: The schema.
        root: The schema that references lead into.
        seen: References that lead to this schema. A reference to itself allows nothing.
    """
    if not isinstance(schema, dict):  # `true` allows everything
        yield {}
    elif isinstance(reference := schema.get("$ref"), str):
        if reference not in seen:
            yield from _alternatives(_target(reference, root), root, (*seen, reference))
    elif parts := schema.get("allOf"):
        limits = [part for part in parts if isinstance(part, dict)]  # `true` is no limit
        yield from _alternatives({key: value for part in limits for key, value in part.items()}, root, seen)
    elif parts := schema.get("anyOf") or schema.get("oneOf"):
        for part in parts:
            yield from _alternatives(part, root, seen)
    else:
        yield schema


def _choices(schema: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(schema.get("enum", [schema["const"]] if "const" in schema else ()))


def _allowed_types(schema: dict[str, Any]) -> frozenset[str]:
    """Return the JSON types that a schema allows, by their names in JSON schemas."""
    if given := schema.get("type"):
        return frozenset([given] if isinstance(given, str) else given)
    choices = _choices(schema)
    return _NO_TYPES.union(*map(_types_of, choices)) if choices else _ALL_TYPES


def _types_of(value: Any) -> frozenset[str]:  # noqa: ANN401 - any JSON value
    if isinstance(value, bool):
        return frozenset({"boolean"})
    if isinstance(value, float):
        return frozenset({"number", "integer"} if value.is_integer() else {"number"})
    names = {type(None): ["null"], int: ["integer", "number"], str: ["string"], list: ["array"], dict: ["object"]}
    return frozenset(names[type(value)])


def _target(reference: str, root: dict[str, Any]) -> Any:  # noqa: ANN401 - a schema
    """Return the schema that a reference such as `#/$defs/Color` leads to. An unknown reference allows everything."""
    target: Any = root
    for key in reference.removeprefix("#").split("/")[1:]:
        target = target.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
    return target
