"""Tests of the pocket pair on Ray Serve, in two processes on loopback."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest

from benchmarks.serving import serving
from langchain_spec_thinking import pocket

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("ray", reason="`make ray` installs it and runs this")
pytestmark = pytest.mark.timeout(800)  # Ray starts slowly

KEY = "sk-ray"
NAME = "speculative-thinking"
PROBLEM = pocket.problems()[2]
REQUEST: Any = {"model": NAME, "messages": [{"role": "user", "content": PROBLEM.question}], "temperature": 0}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    command = [sys.executable, "-m", "integrations.ray_serve.recipe", "--replicas", "2"]
    settings = {"SPEC_THINKING_API_KEY": KEY, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    # Ray checks three times, for this many seconds, whether its proxy is ready. Then it kills the proxy, and the server
    # ends. With its own 5 seconds, this happened on a busy machine.
    settings["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "60"
    with (
        serving(command, settings, tmp_path_factory.mktemp("ray") / "log", key=KEY) as url,
        openai.OpenAI(api_key=KEY, base_url=url, max_retries=0) as openai_client,
    ):
        yield openai_client


def test_every_replica_answers(client: openai.OpenAI) -> None:
    replicas = set()
    for _ in range(20):
        raw = client.chat.completions.with_raw_response.create(**REQUEST)
        reply: Any = raw.parse()
        assert pocket.boxed(reply.choices[0].message.content) == PROBLEM.answer
        assert reply.choices[0].message.reasoning_content
        replicas.add(raw.headers["x-replica"])
        if len(replicas) == 2:
            break
    assert len(replicas) == 2


def test_a_reply_is_streamed_while_it_is_written(client: openai.OpenAI) -> None:
    times: list[float] = []
    text = ""
    for part in client.chat.completions.create(**REQUEST, stream=True):
        times.append(time.monotonic())
        text += part.choices[0].delta.content or ""
    assert pocket.boxed(text) == PROBLEM.answer
    assert len(times) > 50
    assert times[-1] - times[0] > 0.1


def test_a_wrong_key_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-wrong").models.list()
