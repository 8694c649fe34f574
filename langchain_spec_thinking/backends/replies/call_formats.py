"""The formats in which models write tool calls into their text.

A new format is one entry of `CALL_FORMATS`. Its class says how the format is detected, begun, read and written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.replies.json_calls import JsonCallFormat
from langchain_spec_thinking.backends.replies.xml_calls import XmlCallFormat

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.replies.call_format import CallFormat

CALL_FORMATS: dict[str, CallFormat] = {
    # Qwen3-Coder, Qwen 3.5, Nemotron 3
    "qwen_xml": XmlCallFormat(
        ("<tool_call>", "<function=", "<parameter="), "the name of the function and its arguments between tags"
    ),
    "mistral": JsonCallFormat(
        ("[TOOL_CALLS]",),
        "a JSON list of objects with its name and arguments after a mark",
        opens="[TOOL_CALLS]",
        as_list=True,
    ),
    # Hermes, Qwen 2.5, Qwen 3
    "hermes": JsonCallFormat(
        ("<tool_call>",),
        "a JSON object with its name and arguments between tags",
        opens="<tool_call>\n",
        closes="</tool_call>",
    ),
    # Llama 3.1 and later: the call is the whole answer, after an optional `<|python_tag|>`
    "llama": JsonCallFormat(
        ("<|python_tag|>",),
        "a JSON object with its name and parameters",
        opens="",
        arguments="parameters",
        unmarked=True,
    ),
}
"""All formats by name. A model has the first format that its chat template matches."""
HERMES = CALL_FORMATS["hermes"]
DEFAULT_FORMAT = HERMES
"""The format of models without a known format. A prompt teaches it to them."""


def format_of(template: str) -> CallFormat:
    """Return the format in which a model with this chat template writes tool calls."""
    return next((form for form in CALL_FORMATS.values() if form.is_written_by(template)), DEFAULT_FORMAT)
