"""The pocket pair on Ray Serve, in two processes on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest

from langchain_spec_thinking import pocket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("ray", reason="`make ray` installs it and runs this")

KEY = "sk-ray"
NAME = "speculative-thinking"
START_MAX = 180.0
"""How long Ray and its replicas may take to start, in seconds."""
PROBLEM = pocket.problems()[2]
ASKED: Any = {"model": NAME, "messages": [{"role": "user", "content": PROBLEM.question}], "temperature": 0}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    log = tmp_path_factory.mktemp("ray") / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "integrations.ray_serve.recipe", "--port", str(port), "--replicas", "2"]
    settings = {"SPEC_THINKING_API_KEY": KEY, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **settings})  # noqa: S603
    asking = openai.OpenAI(api_key=KEY, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
    try:
        wait_for(server, asking, log)
        yield asking
    finally:
        asking.close()
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def wait_for(server: subprocess.Popen[bytes], asking: openai.OpenAI, log: Path) -> None:
    until = time.monotonic() + START_MAX
    while time.monotonic() < until and server.poll() is None:
        try:
            asking.models.list()
        except openai.APIError:
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"Ray Serve did not start: {log.read_text(errors='replace')[-3000:]}")


def test_every_replica_answers(client: openai.OpenAI) -> None:
    replicas = set()
    for _ in range(20):
        raw = client.chat.completions.with_raw_response.create(**ASKED)
        reply: Any = raw.parse()
        assert pocket.boxed(reply.choices[0].message.content) == PROBLEM.answer
        assert reply.choices[0].message.reasoning_content
        replicas.add(raw.headers["x-replica"])
        if len(replicas) == 2:
            break
    assert len(replicas) == 2


def test_a_stream_comes_as_it_is_written(client: openai.OpenAI) -> None:
    came: list[float] = []
    text = ""
    for part in client.chat.completions.create(**ASKED, stream=True):
        came.append(time.monotonic())
        text += part.choices[0].delta.content or ""
    assert pocket.boxed(text) == PROBLEM.answer
    assert len(came) > 50
    assert came[-1] - came[0] > 0.1


def test_a_wrong_key_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-wrong").models.list()
