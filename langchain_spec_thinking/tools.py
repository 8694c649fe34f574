"""Tools that a turn may call, and calls of these tools. They do not depend on any model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from langchain_spec_thinking.json_values import read_json


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call, as a model wrote it.

    Attributes:
        id: The id that links the call to its result.
        name: The name of the tool. It is empty if the text of the model could not be parsed.
        arguments: The arguments as the model wrote them. This is usually a JSON object, but may be any text.
    """

    id: str
    name: str
    arguments: str

    def parsed(self) -> Any:  # noqa: ANN401 - any JSON value
        """Return the arguments as data, or as text if they are not valid JSON."""
        try:
            return read_json(self.arguments)
        except ValueError:
            return self.arguments


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools that a turn may call.

    Attributes:
        schemas: The tools, in the form of OpenAI's `tools`.
        choice: `"auto"`, `"none"`, `"required"`, or the name of the tool that must be called.
        parallel: Whether the model may make several calls at once. If None, the engine decides.
    """

    schemas: tuple[dict[str, Any], ...]
    choice: str = "auto"
    parallel: bool | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tools."""
        return tuple(str(schema["function"]["name"]) for schema in self.schemas)

    @property
    def required_tool(self) -> str | None:
        """The name of the tool that the model must call, if only one tool is possible; otherwise None."""
        if self.choice == "required" and len(self.names) == 1:
            return self.names[0]
        return self.choice if self.choice in self.names else None

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """The JSON schemas of the arguments, by the name of the tool."""
        functions = (schema["function"] for schema in self.schemas)
        return {str(function["name"]): function.get("parameters") or {"type": "object"} for function in functions}

    def openai_choice(self) -> str | dict[str, Any]:
        """Return `tool_choice` in the form of OpenAI's API."""
        return {"type": "function", "function": {"name": self.choice}} if self.choice in self.names else self.choice

    def as_prompt_text(self) -> str:
        """Return a description of the tools as text, for a model that gets no other description."""
        lines = (json.dumps(schema["function"], ensure_ascii=False) for schema in self.schemas)
        return "# Tools\n\nThese functions can be called:\n<tools>\n{}\n</tools>".format("\n".join(lines))
