"""LangChain's standard suite on a pair with a real server. Qwen 0.5B on vLLM answers, SmolLM2 is the small model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_spec_thinking import ChatSpeculativeThinking, HuggingFaceBackend
from tests.integration_tests.conftest import LARGE

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from tests.integration_tests.servers import Servers


class TestRealServer(ChatModelIntegrationTests):
    """The integration suite, with all its tests for text."""

    has_tool_calling = True
    has_tool_choice = True
    has_structured_output = True
    supports_json_mode = True
    returns_usage_metadata = True
    params: dict[str, Any]

    @pytest.fixture(autouse=True)
    def _serve(self, servers: Servers, small: HuggingFaceBackend) -> None:
        target = servers.get("vllm", LARGE).backend()
        models = {"speculative": small, "target": target, "answer_by": "target"}
        self.params = {**models, "temperature": 0, "max_tokens": 100}

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatSpeculativeThinking

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return self.params

    @pytest.fixture
    def model(self, _serve: None, request: Any) -> BaseChatModel:
        return ChatSpeculativeThinking(**self.params, **(getattr(request, "param", None) or {}))
