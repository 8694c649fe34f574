"""The names in record files, and the conversion of older versions of the format.

The names in files stay the same if a class, a method or a field is renamed. Files of version 1 hold the names that
methods, fields and settings had at that time. In versions 1 and 2, if a piece was cut, all its tokens counted for the
part that was kept. A replay of these versions counts the tokens in the same way. Up to version 3, a turn ended if the
context of the model that answers was full before it wrote anything, and a budget held the prices of the models. Version
4 adds the escalation and limits of the state machine, which may be absent. Up to version 4, a think tag at the start of
a structured answer was text of the answer.

In records without `boundaries_in_blocks`, a blank line inside a block of code was a boundary, and it is one in their
replay. When they were written, words were told apart by spaces alone, and a combining mark counted as a token. So a
replay can differ if one of its cues stands next to a letter of a script without spaces, or if its letters have marks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.report import degraded_list

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 5
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
    rules = {"type": "ReferenceRules", "boundaries_in_blocks": True, **data["policy"].get("reference_rules", {})}
    data["policy"] = {**data["policy"], "reference_rules": rules}
    if version == VERSION:
        return data
    if version not in (1, 2, 3, 4):
        raise ValueError(version)
    if version == 4:  # noqa: PLR2004 - the last version with think tags in a structured answer
        data["machine"] = {**data["machine"], "answer_may_think": False}
        return data
    if version == 1:
        data = _with_new_names(data)
    data["machine"] = {**data["machine"], "answer_may_think": False, "answer_passes_on": False}
    data["policy"] = _without_prices(data["policy"])
    if version != 3:  # noqa: PLR2004 - the first version that divided the tokens of pieces
        data["machine"]["divide_pieces"] = False
    return data


def _with_new_names(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a line of version 1 with the names of version 2."""
    data["machine"] = _renamed(data["machine"])
    data["decisions"] = [[at, written, kind.lower(), _renamed(d)] for at, written, kind, d in data["decisions"]]
    names = _INPUTS_OF_VERSION_1
    data["streams"] = [
        {**stream, "inputs": [[seconds, names[name], *rest] for seconds, name, *rest in stream["inputs"]]}
        for stream in data["streams"]
    ]
    return data


def _without_prices(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy without the prices of its budget. The backends have them now, and a replay needs none."""
    budget = policy.get("budget")
    kept = budget and {name: value for name, value in budget.items() if not name.endswith("_price")}
    return {**policy, "budget": kept}


def _renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {_RENAMED_SINCE_1.get(name, name): value for name, value in fields.items()}
