"""The names in record files, and the conversion of older versions of the format.

The names in files stay the same if a class, a method or a field is renamed. Files of version 1 hold the names that
methods, fields and settings had at that time. In versions 1 and 2, if a piece was cut, all its tokens counted for the
part that was kept. A replay of these versions counts the tokens in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.report import degraded_list

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 3
"""Version of the format that `recording` writes."""
METHODS = {
    "start": "start",
    "text": "receive",
    "end_of_stream": "end",
    "tool_call": "call",
    "another_author": "drop_held_text",
    "target_lost": "stop_takeovers",
}
"""From names of inputs in a file to the methods of `Delegation` that take these inputs."""
INPUTS = {method: name for name, method in METHODS.items()}
"""From methods of `Delegation` to names of inputs in a file."""
_INPUTS_OF_VERSION_1 = {
    "start": "start",
    "receive": "text",
    "end": "end_of_stream",
    "call": "tool_call",
    "abandon": "another_author",
    "go_alone": "target_lost",
}
"""From names of inputs in a file of version 1 to names of version 2. Version 1 used the method names of that time."""
_RENAMED_SINCE_1 = {"whole_answer": "structured_answer", "aside": "prompt_suffix"}


def upgraded(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a line in the format of the current version, without the field `version`.

    Raises:
        KeyError: The data have no version, or hold an unknown name.
        ValueError: The version is unknown.
    """
    data = dict(data)
    version = data.pop("version")
    data["report"] = {**data["report"], "degraded": degraded_list(data["report"]["degraded"])}
    if version == VERSION:
        return data
    if version not in {1, 2}:
        raise ValueError(version)
    data["machine"] = {**_renamed(data["machine"]), "divide_pieces": False}
    if version == 2:  # noqa: PLR2004 - a version of the format
        return data
    data["decisions"] = [[at, written, kind.lower(), _renamed(d)] for at, written, kind, d in data["decisions"]]
    names = _INPUTS_OF_VERSION_1
    data["streams"] = [
        {**stream, "inputs": [[seconds, names[name], *rest] for seconds, name, *rest in stream["inputs"]]}
        for stream in data["streams"]
    ]
    return data


def _renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {_RENAMED_SINCE_1.get(name, name): value for name, value in fields.items()}
