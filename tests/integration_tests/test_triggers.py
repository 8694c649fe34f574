"""Triggers with real models. The log-probabilities of a server must agree with those of the local model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, FirstTokenEntropy, ScoreAndAccept
from langchain_spec_thinking.backends.base import Piece, Request
from langchain_spec_thinking.policy.triggers import NO_LOGPROBS
from langchain_spec_thinking.policy.triggers.entropy import entropy
from langchain_spec_thinking.turn import Message, Turn
from tests.integration_tests.conftest import SMALL

if TYPE_CHECKING:
    from langchain_spec_thinking import Backend, HuggingFaceBackend
    from tests.integration_tests.servers import Servers

QUESTION = "How many apples are left if I had 12 and ate 5? Think step by step."
TOKENS = 12


def entropies(backend: Backend) -> dict[str, float]:
    """Return the entropy at each token of a greedy text. The key is the text before the token."""
    found, written = {}, ""
    for event in backend.continue_turn(
        Turn((Message("user", QUESTION),)), Request(TOKENS, temperature=0, top_logprobs=20)
    ):
        if isinstance(event, Piece):
            assert event.top_logprobs is not None
            found[written] = entropy(event.top_logprobs[:20])
            written += event.text
    return found


@pytest.mark.parametrize(
    ("engine", "settings"),
    [("llama-server", {}), ("vllm", {}), ("vllm", {"continuation": "chat_flag", "tokenizer": None})],
)
def test_a_server_and_the_local_model_agree_on_entropies(
    engine: str, settings: dict[str, Any], small: HuggingFaceBackend, servers: Servers
) -> None:
    """The engines round the weights differently, so greedy texts may differ at some point. Up to there they agree."""
    local = entropies(small)
    remote = entropies(servers.get(engine, SMALL).backend(**settings))
    common = local.keys() & remote.keys()
    assert len(common) >= 2
    for text in common:
        assert remote[text] == pytest.approx(local[text], abs=0.25)


def test_a_server_without_log_probabilities_still_writes(large: HuggingFaceBackend, servers: Servers) -> None:
    backend = servers.get("transformers-serve", SMALL).backend()
    policy = DelegationPolicy(trigger=FirstTokenEntropy(), boundary="\n")
    pair = ChatSpeculativeThinking(speculative=backend, target=large, policy=policy, max_tokens=60, temperature=0)
    message = pair.invoke(QUESTION)
    assert message.text.strip()
    assert message.response_metadata["speculative_thinking"]["degraded"] == [NO_LOGPROBS]


def test_a_real_model_scores_with_a_digit(small: HuggingFaceBackend, large: HuggingFaceBackend) -> None:
    policy = DelegationPolicy(trigger=ScoreAndAccept(), boundary="\n")
    pair = ChatSpeculativeThinking(speculative=small, target=large, policy=policy, max_tokens=120, temperature=0)
    report = pair.invoke(QUESTION).response_metadata["speculative_thinking"]
    assert report["degraded"] == []
    scores = [d["text"].strip() for d in report["dropped"] if d["author"] == "target" and d["tokens"] <= 4]
    assert any(score[:1].isdigit() for score in scores)
