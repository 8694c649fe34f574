"""Without a tokenizer, a small model counts as one that reasons after its first reply with reasoning, or a probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import httpx2
import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from langchain_spec_thinking import Backend, ChatModelBackend, ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.backends.thinking import reasons
from langchain_spec_thinking.cli import pairs
from langchain_spec_thinking.cli.diagnosis import examine
from langchain_spec_thinking.default_policy import NOT_KNOWN, default_policy
from langchain_spec_thinking.evaluation.field import Observed, field_of_policies
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.providers.engines import VLLM, LlamaCpp
from tests.unit_tests.providers.model import ANSWER, TEXTS, THOUGHT
from tests.unit_tests.wire import Server, delta, probe, sse, usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


class Reasoner(BaseChatModel):
    """A chat model that may send its reasoning in a field."""

    thought: str = "Hm."
    sent: ClassVar[list[int]] = []

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        if self.thought:
            fields = {"reasoning_content": self.thought}
            yield ChatGenerationChunk(message=AIMessageChunk(content="", additional_kwargs=fields))
        yield ChatGenerationChunk(message=AIMessageChunk(content="Five."))


def reasoner() -> Backend:
    return ChatModelBackend(Reasoner())


def plain_chat_model() -> Backend:
    return ChatModelBackend(Reasoner(thought=""))


@pytest.mark.parametrize(
    ("backend", "reasons_"),
    [
        pytest.param(lambda: LlamaCpp(TEXTS["thinking"]).backend(), True, id="reasoning in a field"),
        pytest.param(lambda: VLLM(TEXTS["thinking"]).backend(), True, id="think tags in the text"),
        pytest.param(lambda: VLLM(ANSWER).backend(), False, id="no thought"),
        pytest.param(lambda: VLLM(TEXTS["thinking"]).backend(thinking=False), False, id="the user says no"),
        pytest.param(reasoner, True, id="a chat model with reasoning"),
        pytest.param(plain_chat_model, False, id="a chat model without reasoning"),
        pytest.param(lambda: ScriptedBackend(TEXTS["thinking"]), False, id="a backend that knows"),
    ],
)
def test_the_policy_of_a_command_suits_what_the_small_model_does(
    backend: Callable[[], Backend], reasons_: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"small": backend(), "large": ScriptedBackend("Never.")}
    monkeypatch.setattr(pairs, "backend", lambda name, _owner, _key_env: made[name])
    pair = pairs.pair("small", "large", max_tokens=None, temperature=None, seed=None, answer_by="speculative")
    assert pair.policy == (DelegationPolicy() if reasons_ else DelegationPolicy.non_reasoning())


def test_a_backend_that_knows_is_not_asked() -> None:
    backend = ScriptedBackend("Never.", thinks=True)
    assert reasons(backend)
    assert not backend.requests


@pytest.mark.parametrize("backend", [lambda: LlamaCpp(TEXTS["thinking"]).backend(), reasoner])
def test_the_first_reply_shows_it_and_no_setting_changes(backend: Callable[[], Backend]) -> None:
    small = backend()
    described = {**small.describe(), "continuation": None}
    assert (small.thinks, small.thinking_is_known) == (False, False)
    assert examine(small).thinks
    assert (small.thinks, small.thinking_is_known) == (True, True)
    assert {**small.describe(), "continuation": None} == described


def test_all_backends_of_a_model_learn_it() -> None:
    provider = LlamaCpp(TEXTS["thinking"])
    first, second = provider.backend(), provider.backend()
    pair = ChatSpeculativeThinking(speculative=first, target=ScriptedBackend("Never."))
    thoughts = []
    for _ in range(2):  # first as a model that is not known to reason, then as one that does
        message = pair.invoke("2 + 3?")
        thoughts.append("".join(b["reasoning"] for b in message.content_blocks if b["type"] == "reasoning"))
        assert second.thinks
    assert thoughts[0] == thoughts[1]


def reply(thought: str | None, **said: Any) -> Any:
    reasoning = [delta(reasoning_content=thought)] if thought else []
    return lambda: sse(*reasoning, delta(**said), delta("stop"), usage(3, 2))


def test_a_small_model_that_does_not_answer_gets_the_policy_of_a_model_that_does_not_reason() -> None:
    small = Server(lambda: httpx2.Response(500)).backend(tokenizer=None, max_retries=0)
    assert default_policy(small) == (DelegationPolicy.non_reasoning(), NOT_KNOWN)
    pair = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend())
    assert "agree-2" in field_of_policies(pair, Observed()).policies


def test_content_without_reasoning_is_an_answer_once_the_field_is_known() -> None:
    server = Server(reply("Hm.", content="Five."), reply(None, content="Six."), owner="llamacpp")
    small = server.backend(tokenizer=None, continuation="chat_trailing")
    pair = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend("Never."))
    assert [pair.invoke("2 + 3?").text for _ in range(2)] == ["Five.", "Six."]


def test_a_turn_that_began_with_its_answer_says_why_it_had_no_takeovers() -> None:
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
    server = Server(probe(" yellow"), reply("Hm.", tool_calls=[call]), reply("Hm.", content="So."), owner="llamacpp")
    pair = ChatSpeculativeThinking(speculative=server.backend(tokenizer=None), target=ScriptedBackend("Never."))
    bound = pair.bind_tools([TOOL])
    degraded = bound.invoke("hi").response_metadata["speculative_thinking"]["degraded"]
    assert any("pass thinking=True" in words for words in degraded)
    assert THOUGHT
