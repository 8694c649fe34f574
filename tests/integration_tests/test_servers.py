"""Pairs of real models. Each model is in this process or on a server."""

from __future__ import annotations

import asyncio
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.exceptions import ModelConnectionError

from langchain_spec_thinking import Backend, ChatSpeculativeThinking, DelegationPolicy
from tests.integration_tests.conftest import LARGE, SMALL
from tests.integration_tests.servers import ENGINES

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from langchain_spec_thinking import HuggingFaceBackend
    from tests.integration_tests.servers import Servers

QUESTION = (
    "How many apples are left if I had 12 and ate 5, then bought 4? "
    "Think step by step, with a blank line between the steps."
)
PAIRS = [
    ("local", "local"),
    ("local", "llama-server"),
    ("local", "vllm"),
    ("transformers-serve", "local"),
    ("transformers-serve", "llama-server"),
    ("transformers-serve", "vllm"),
    ("llama-server", "llama-server"),
    ("llama-server", "vllm"),
    ("vllm", "llama-server"),
    ("vllm", "vllm"),
]
"""Where SmolLM2 (the speculative model) runs, and where Qwen (the target) runs."""


def pair(speculative: Backend, target: Backend, **settings: Any) -> ChatSpeculativeThinking:
    policy = DelegationPolicy.non_reasoning(opening_tokens=12, takeover_tokens=6, boundary="\n")
    return ChatSpeculativeThinking(
        speculative=speculative, target=target, **{"policy": policy, "max_tokens": 50, "temperature": 0, **settings}
    )


def check(message: AIMessage) -> None:
    report = message.response_metadata["speculative_thinking"]
    assert message.text.strip()
    assert "".join(message.text[s["start"] : s["end"]] for s in report["segments"]) == message.text
    assert {s["author"] for s in report["segments"]} == {"speculative", "target"}
    assert report["takeovers"] >= 2
    assert report["degraded"] == []
    assert all(s["tokens"] > 0 for s in report["segments"])
    for usage in report["usage"].values():
        assert usage["prompt_tokens"] > 0
        assert usage["completion_tokens"] >= usage["discarded_tokens"]


@pytest.mark.parametrize(("speculative", "target"), PAIRS)
async def test_pairs_write_the_same_for_every_way_to_call_them(
    speculative: str, target: str, small: HuggingFaceBackend, large: HuggingFaceBackend, servers: Servers
) -> None:
    small_backend = small if speculative == "local" else servers.get(speculative, SMALL).backend()
    large_backend = large if target == "local" else servers.get(target, LARGE).backend()
    model = pair(small_backend, large_backend)
    streamed = reduce(add, model.stream(QUESTION))
    astreamed = reduce(add, [chunk async for chunk in model.astream(QUESTION)])
    messages = [model.invoke(QUESTION), await model.ainvoke(QUESTION), streamed, astreamed]
    for message in messages:
        check(message)
    if all(place == "local" or ENGINES[place].greedy_is_repeatable for place in (speculative, target)):
        assert len({message.text for message in messages}) == 1


def test_a_server_still_answers_after_turns_were_cut(servers: Servers) -> None:
    server = servers.get("llama-server", LARGE)
    model = pair(server.backend(), server.backend(), max_tokens=400)
    for _ in range(5):
        stream = model.stream(QUESTION)
        next(iter(stream))
        stream.close()  # type: ignore[attr-defined]
    check(model.invoke(QUESTION, max_tokens=50))


def test_an_error_says_that_the_server_is_not_running(servers: Servers) -> None:
    gone = servers.get("llama-server", SMALL)._replace(url="http://127.0.0.1:9/v1").backend(max_retries=0)
    with pytest.raises(ModelConnectionError, match="Check that the server is running") as refused:
        asyncio.run(pair(gone, gone).ainvoke("hi"))
    assert "secret" not in str(refused.value) + repr(refused.value.__cause__)
