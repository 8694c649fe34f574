"""The formats in which models write tool calls into their text.

A new format is one entry of `CALL_FORMATS`. Its class says how the format is detected, begun, read and written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.replies.json_calls import JsonCallFormat
from langchain_spec_thinking.backends.replies.xml_calls import XmlCallFormat

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.replies.call_format import CallFormat

QWEN_XML = XmlCallFormat(
    ("<tool_call>", "<function=", "<parameter="), "the name of the function and its arguments between tags"
)
"""The format of Qwen3-Coder, Qwen 3.5 and Nemotron 3."""
MISTRAL = JsonCallFormat(
    ("[TOOL_CALLS]",),
    "a JSON list of objects with its name and arguments after a mark",
    opens="[TOOL_CALLS]",
    as_list=True,
)
HERMES = JsonCallFormat(
    ("<tool_call>",),
    "a JSON object with its name and arguments between tags",
    opens="<tool_call>\n",
    closes="</tool_call>",
)
"""The format of Hermes, Qwen 2.5 and Qwen 3."""
LLAMA = JsonCallFormat(
    ("<|python_tag|>",),
    "a JSON object with its name and parameters",
    opens="",
    arguments="parameters",
    unmarked=True,
)
"""The format of Llama 3.1 and later: the call is the whole answer, after an optional `<|python_tag|>`."""

CALL_FORMATS: tuple[CallFormat, ...] = (QWEN_XML, MISTRAL, HERMES, LLAMA)
"""All formats. A model has the first format that its chat template matches."""
DEFAULT_FORMAT = HERMES
"""The format of models without a known format. A prompt teaches it to them."""


def format_of(template: str) -> CallFormat:
    """Return the format in which a model with this chat template writes tool calls."""
    return next((form for form in CALL_FORMATS if form.is_written_by(template)), DEFAULT_FORMAT)
