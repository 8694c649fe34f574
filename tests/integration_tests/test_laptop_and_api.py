"""The small model of a laptop on a real `llama-server`, with fakes of two hosted services."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.pays.vendor_servers import REASONING_TOKENS, OpenAIReasoning
from integrations.laptop_and_api.cost import cost_lines
from integrations.laptop_and_api.halves import FREE, HOSTED
from langchain_spec_thinking import Agreement, ChatSpeculativeThinking, DelegationPolicy, Price, RandomTrigger
from tests.integration_tests.conftest import LARGE
from tests.unit_tests.providers.model import reply_so_far
from tests.unit_tests.providers.services import DeepSeek

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_spec_thinking import Backend
    from tests.integration_tests.servers import Servers

QUESTION = "Write three short paragraphs about the sea."
ANSWER = "The sea is large."
PRICE = Price(2.0, 8.0)


def never_the_same(one: str, other: str) -> bool:
    """Compare two answers of the small model, so that each question is escalated."""
    return not (one or other)


def hosted(name: str, service: Callable[[httpx2.Request], httpx2.Response]) -> Backend:
    """Return the backend of a hosted half whose requests go to a fake."""
    client = httpx2.Client(transport=httpx2.MockTransport(service))
    return replace(HOSTED[name], price=PRICE).backend(http_client=client)


def answered(
    servers: Servers, large: Backend, policy: DelegationPolicy, temperature: float | None = None
) -> tuple[str, dict[str, Any], list[str]]:
    """Return the answer of a pair, the usage of its models, and the table of its cost."""
    small = servers.get("llama-server", LARGE).backend(price=FREE)
    model = ChatSpeculativeThinking(
        speculative=small, target=large, policy=policy, temperature=temperature, top_p=None, max_tokens=150
    )
    message = model.invoke(QUESTION)
    report = message.response_metadata["speculative_thinking"]
    assert report["degraded"] == []
    usage: dict[str, Any] = report["usage"]
    for used in usage.values():
        assert used["prompt_tokens"] > 0
    large_use = usage["target"]
    price = large_use["prompt_tokens"] * PRICE.prompt + large_use["completion_tokens"] * PRICE.completion
    assert abs(message.response_metadata["cost"] - price / 1e6) < 1e-9
    return message.text, usage, cost_lines(model, [message])


def test_a_service_that_begins_a_new_reply_gets_the_question(servers: Servers, monkeypatch: Any) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-no-key")
    service = OpenAIReasoning(lambda _: ANSWER)
    policy = DelegationPolicy.gated(escalation=Agreement(compare=never_the_same))
    text, usage, lines = answered(servers, hosted("openai", service), policy)
    assert text == ANSWER
    # Hidden reasoning uses the 150 tokens of the first request. The second one leaves room for it.
    assert [request.body["messages"] for request in service.received] == [[{"role": "user", "content": QUESTION}]] * 2
    assert [request.characters for request in service.received] == [0, len(ANSWER)]
    assert usage["speculative"]["requests"] >= 2
    assert usage["target"]["completion_tokens"] > REASONING_TOKENS
    assert lines[1].split()[1] == str(usage["speculative"]["requests"])


def test_a_service_that_continues_a_reply_writes_the_rest(servers: Servers, monkeypatch: Any) -> None:
    """The small model does not reason. So the large model writes the rest of the answer, after the first paragraph."""
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-no-key")
    service = DeepSeek("")
    service.reciter = lambda shown: f" And {ANSWER}" if reply_so_far(shown) else "Anew."
    policy = DelegationPolicy(trigger=RandomTrigger(1.0), takeover_tokens="rest")
    text, _, lines = answered(servers, hosted("deepseek", service), policy, temperature=0)  # always the same paragraph
    [body] = service.accepted
    assert body["messages"][-1]["prefix"]
    assert text == body["messages"][-1]["content"] + f" And {ANSWER}"
    assert lines[2].split()[0] == "deepseek-flash"
