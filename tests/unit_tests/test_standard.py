"""LangChain's standard test suites. The integration suite runs with a scripted pair, so it needs no network."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.backends.replies.call_formats import HERMES
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Turn


def small(turn: Turn) -> str:
    """Write the text that the suite expects from a model."""
    if turn.channel == "answer":
        return answer(turn)
    return (
        "" if turn.thinking else "They greet me.\n\nWait, do they?\n\n"
    ) + f"I greet them.\n</think>\n\n{answer(turn)}"


def answer(turn: Turn) -> str:
    last = turn.history[-1]
    if turn.schema is not None:
        return json.dumps(example(turn.schema.get("schema", JOKE), last.content))
    if turn.tools and turn.tools.choice != "none" and last.role != "tool":
        functions = {schema["function"]["name"]: schema["function"] for schema in turn.tools.schemas}
        name = turn.tools.required_tool or turn.tools.names[0]
        arguments = example(functions[name]["parameters"], last.content)
        return HERMES.write([ToolCall("", name, json.dumps(arguments))])
    return "Hello! " + (" ".join(re.findall(r"\d+", last.content)) or "Nice to meet you.")


JOKE = {"type": "object", "properties": {"setup": {"type": "string"}, "punchline": {"type": "string"}}}


def example(schema: dict[str, Any], prompt: str) -> Any:
    """Return a value that satisfies a schema. Strings are taken from quotes in the message, if there are any."""
    match schema:
        case {"type": "object"}:
            return {name: example(inner, prompt) for name, inner in schema.get("properties", {}).items()}
        case {"type": "integer" | "number"}:
            return 3
        case {"type": "array"}:
            return []
        case {"anyOf": [first, *_]}:
            return example(first, prompt)
    quoted = re.search(r"'(.+?)'", prompt)
    return quoted[1] if quoted else "cats"


class Suite:
    """A scripted pair. The suite skips the tests of features that are not switched on."""

    has_tool_calling = True
    has_tool_choice = True
    has_structured_output = True
    supports_json_mode = True
    returns_usage_metadata = True
    supports_anthropic_inputs = True

    @property
    def chat_model_class(self) -> type[ChatSpeculativeThinking]:
        return ChatSpeculativeThinking

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "speculative": ScriptedBackend(small, name="small", thinks=True),
            "target": ScriptedBackend("They do, I am sure, ", name="large", thinks=True),
        }


class TestUnitSuite(Suite, ChatModelUnitTests):
    """LangChain's unit tests."""


class TestIntegrationSuite(Suite, ChatModelIntegrationTests):
    """LangChain's integration tests."""
