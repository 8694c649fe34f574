"""How the backend finds out the way in which a server continues a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest
from langchain_core.exceptions import (
    ModelInvalidRequestError,
)

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import End, Request
from langchain_spec_thinking.backends.openai.capabilities import capabilities
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.wire import Server, continued, delta, probe, refused, sse, text, turn

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("said", [" yellow. The", (4 * " The banana is yellow.").strip()])
def test_auto_probes_the_flag_once(said: str) -> None:
    server = Server(probe(said), sse(delta(content="A", reason="stop")), sse(delta(content="B", reason="stop")))
    backend = server.backend(tokenizer=None)
    assert [continued(backend)[0] for _ in range(2)] == ["A", "B"]
    assert [path for path, _ in server.requests] == ["/v1/chat/completions"] * 3
    assert backend.describe()["continuation"] == "chat_flag"


CANNOT = [probe("Sure! one two"), lambda: httpx2.Response(422, json={"detail": "unknown field"})]


@pytest.mark.parametrize("answer", CANNOT)
async def test_auto_probes_one_strategy_after_another(answer: Callable[[], httpx2.Response]) -> None:
    server = Server(answer, probe(" yellow. The"), sse(delta(content="A", reason="stop")))
    backend = server.backend(tokenizer=None)
    assert continued(backend, turn("So"))[0] == "A"
    assert backend.describe()["continuation"] == "chat_trailing"
    assert server.requests[-1][1]["messages"][-1] == {"role": "assistant", "content": "So"}
    capabilities.cache_clear()
    server = Server(answer, probe(" yellow. The"), sse(delta(content="A", reason="stop")))
    backend = server.backend(tokenizer=None)
    assert [event async for event in backend.acontinue_turn(turn("So"), Request(5))][-1] == End("stop")
    assert backend.describe()["continuation"] == "chat_trailing"


@pytest.mark.parametrize("answer", CANNOT)
def test_the_last_strategy_is_reported(answer: Callable[[], httpx2.Response], caplog: pytest.LogCaptureFixture) -> None:
    texts = ("A.\n\nWait, no.", "B") * 2
    server = Server(answer, answer, *(sse(delta(content=content, reason="stop")) for content in texts))
    backend = server.backend(tokenizer=None)
    pair = ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend("So be it. " * 20))
    for report in [pair.invoke("x").response_metadata["speculative_thinking"] for _ in range(2)]:
        assert report["takeovers"] == 1
        assert "only gets an instruction to continue" in report["degraded"][0]
        assert "pass `tokenizer=`" in report["degraded"][0]
    assert len([record for record in caplog.records if "only gets an instruction to continue" in record.message]) == 1


def test_a_refusal_during_a_turn_changes_the_strategy_for_good() -> None:
    a, b, c = (sse(delta(content=content, reason="stop")) for content in "ABC")
    server = Server(probe(" yellow. The"), a, refused(400, "prefill is not supported"), b, c)
    backend = server.backend(tokenizer=None)
    assert [continued(backend, turn("So"))[0] for _ in range(3)] == ["A", "B", "C"]
    flagged = ["continue_final_message" in body for _, body in server.requests]
    assert flagged == [True, True, True, False, False]


def test_a_change_of_strategy_that_does_not_help_is_undone() -> None:
    server = Server(probe(" yellow. The"), refused(400, "no"), refused(400, "no"))
    backend = server.backend(tokenizer=None)
    with pytest.raises(ModelInvalidRequestError):
        continued(backend, turn("So"))
    assert backend.describe()["continuation"] == "chat_flag"


def test_the_token_limit_is_sent_in_the_field_that_the_model_accepts() -> None:
    says = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    warm = "Unsupported value: 'temperature' does not support 0.6 with this model."
    server = Server(refused(400, says), refused(400, warm), lambda: sse(delta("stop", content="A")))
    backend = server.backend(tokenizer=None, continuation="chat_instruct")
    assert [continued(backend, temperature=0.6)[0] for _ in range(2)] == ["A", "A"]
    bodies = [body for _, body in server.requests]
    assert [("max_tokens" in body, body.get("max_completion_tokens")) for body in bodies] == [
        (True, None),
        *[(False, 20)] * 3,
    ]
    assert ["temperature" in body for body in bodies] == [True, True, False, False]


def test_further_fields_are_sent_with_every_request() -> None:
    server = Server(sse(delta("stop", content="A")))
    further = {"provider": {"order": ["one"], "allow_fallbacks": False}}
    backend = server.backend(tokenizer=None, continuation="chat_flag", extra_body=further)
    continued(backend, turn("So"), top_k=5)
    body = server.requests[0][1]
    assert body["provider"] == further["provider"]
    assert (body["top_k"], body["continue_final_message"]) == (5, True)
    assert backend.describe()["extra_body"] == further


def test_refused_fields_are_omitted_in_later_requests() -> None:
    refusal = httpx2.Response(422, json={"detail": "Unexpected keys in the request: {'stream_options'}"})
    server = Server(refusal, sse(text("A", "stop")), sse(text("B", "stop")))
    backend = server.backend()
    assert [continued(backend, seed=1)[0] for _ in range(2)] == ["A", "B"]
    assert ["stream_options" in body for _, body in server.requests] == [True, False, False]
    assert all("seed" in body for _, body in server.requests)
