"""LangChain's standard suites. The integration suite runs here too, on a scripted pair: it needs no network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Turn


def small(turn: Turn) -> str:
    """A small model that does what the suite asks a model to do."""
    told = turn.history[-1].content
    answer = "Hello! " + (" ".join(re.findall(r"\d+", told)) or "Nice to meet you.")
    if turn.channel == "answer":
        return answer
    return ("" if turn.thinking else "They greet me.\n\nWait, do they?\n\n") + f"I greet them.\n</think>\n\n{answer}"


class Suite:
    """A scripted pair, without tools: those come with another part of the package."""

    has_tool_calling = False
    has_structured_output = False
    supports_json_mode = False
    returns_usage_metadata = True

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
    """The unit suite."""


class TestIntegrationSuite(Suite, ChatModelIntegrationTests):
    """The integration suite."""
