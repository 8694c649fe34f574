"""Real servers on loopback: local and remote models in all combinations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest
from langchain_core.exceptions import ModelAuthenticationError, ModelConnectionError

from langchain_spec_thinking import (
    Backend,
    ChatSpeculativeThinking,
    DelegationPolicy,
    HuggingFaceBackend,
    OpenAIBackend,
)

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from tests.integration_tests.conftest import Server

QUESTION = (
    "How many apples are left if I had 12 and ate 5, then bought 4? "
    "Think step by step, with a blank line between the steps."
)
KEY = "sk-very-secret"
Side = Literal["local", "remote"]


def remote(server: Server, **settings: Any) -> OpenAIBackend:
    settings = {"tokenizer": server.tokenizer, "api_key": KEY, **settings}
    return OpenAIBackend(server.model, base_url=server.url, **settings)


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
    assert all(s["tokens"] > 0 for s in report["segments"])
    for usage in report["usage"].values():
        assert usage["prompt_tokens"] > 0
        assert usage["completion_tokens"] >= usage["discarded_tokens"]


@pytest.mark.parametrize("target", ["local", "remote"])
@pytest.mark.parametrize("speculative", ["local", "remote"])
async def test_all_combinations_of_local_and_remote(
    speculative: Side,
    target: Side,
    small: HuggingFaceBackend,
    large: HuggingFaceBackend,
    transformers_serve: Server,
    llama_cpp: Server,
) -> None:
    small_one = small if speculative == "local" else remote(transformers_serve)
    large_one = large if target == "local" else remote(llama_cpp)
    model = pair(small_one, large_one)
    message = model.invoke(QUESTION)
    check(message)
    check(await model.ainvoke(QUESTION))
    shown = ""
    async for chunk in model.astream(QUESTION):
        shown += chunk.text
    assert shown == "".join(chunk.text for chunk in model.stream(QUESTION))


def test_servers_that_continue_no_reply_are_found_out(transformers_serve: Server, llama_cpp: Server) -> None:
    """One refuses the flag, the other ignores it; both begin anew after a trailing message."""
    for server in (transformers_serve, llama_cpp):
        backend = remote(server, tokenizer=None)
        message = pair(backend, backend, max_tokens=40).invoke("hi")
        assert backend.describe()["continuation"] == "chat_instruct"
        assert "is only told to go on" in message.response_metadata["speculative_thinking"]["degraded"]
        assert message.text


def test_a_server_goes_on_serving_after_streams_were_cut(llama_cpp: Server) -> None:
    model = pair(remote(llama_cpp), remote(llama_cpp), max_tokens=400)
    for _ in range(5):
        stream = model.stream(QUESTION)
        next(iter(stream))
        stream.close()  # type: ignore[attr-defined]
    check(model.invoke(QUESTION, max_tokens=50))


def test_errors_name_the_server_and_what_to_do(llama_cpp: Server) -> None:
    wrong = remote(llama_cpp, api_key="sk-another-secret")
    with pytest.raises(
        ModelAuthenticationError, match=r"qwen at http://127.0.0.1:\d+/v1: .*Check `api_key`"
    ) as unknown:
        pair(wrong, wrong).invoke("hi")
    gone = remote(llama_cpp._replace(url="http://127.0.0.1:9/v1"), max_retries=0)
    with pytest.raises(ModelConnectionError, match="Is the server running at that address") as refused:
        asyncio.run(pair(gone, gone).ainvoke("hi"))
    for caught in (unknown, refused):
        assert "secret" not in str(caught.value) + repr(caught.value.__cause__)
