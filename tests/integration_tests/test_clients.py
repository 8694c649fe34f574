"""Real clients, which are not changed, ask `spec-thinking serve` with the pocket pair. `make clients` installs them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from benchmarks.serving import serving
from langchain_spec_thinking import ChatSpeculativeThinking, pocket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "clients"
ENVIRONMENT, OF_INSTRUCTOR = ROOT / ".venv-clients", ROOT / ".venv-client-instructor"
if not (ENVIRONMENT / ".node").exists() or not (OF_INSTRUCTOR / ".ready").exists():
    pytest.skip("`make clients` installs the clients and runs this", allow_module_level=True)

KEY = "sk-clients"
MODEL = "pocket-pair"
PROBLEM = pocket.problems()[16]  # short, with one takeover
COMMAND = [
    sys.executable,
    "-m",
    "langchain_spec_thinking.cli",
    "serve",
    "--model-name",
    MODEL,
    "--api-key-env",
    "MY_KEY",
]
COLOURS = {"red", "blue"}


class RunningServer:
    """The command in a process of its own.

    Attributes:
        url: The address for clients.
        log: The file that its output goes to.
    """

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self.log = log

    def ask(self, *command: str) -> dict[str, Any]:
        """Run the program of a client and return what it got."""
        settings = {"SERVER_URL": self.url, "SERVER_KEY": KEY, "SERVER_MODEL": MODEL, "QUESTION": PROBLEM.question}
        alone = {"PATH": "/usr/bin:/bin", "HOME": str(self.log.parent), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        ended = subprocess.run(command, cwd=ROOT, env=alone | settings, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        assert ended.returncode == 0, ended.stderr[-4000:]
        found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    log = tmp_path_factory.mktemp("clients") / "log"
    with serving(COMMAND, {"MY_KEY": KEY, "OMP_NUM_THREADS": "1"}, log, key=KEY) as url:
        yield RunningServer(url, log)


@pytest.fixture(scope="module")
def expected() -> AIMessage:
    """The reply of the same pair in this process."""
    return ChatSpeculativeThinking.pocket().invoke(PROBLEM.question)


def program(client: str) -> list[str]:
    """Return the command that runs the program of a client."""
    if client == "ai_sdk":
        copy = shutil.copy(PROGRAMS / "ask_with_ai_sdk.mjs", ENVIRONMENT)  # beside the packages that it imports
        return [str(ENVIRONMENT / "bin" / "node"), str(copy)]
    environment = OF_INSTRUCTOR if client == "instructor" else ENVIRONMENT
    return [str(environment / "bin" / "python"), "-m", f"tests.integration_tests.clients.ask_with_{client}"]


@pytest.mark.parametrize(
    ("client", "apis"),
    [
        ("openai", {"chat", "responses"}),
        ("langchain_openai", {"chat", "responses"}),
        ("openai_agents", {"responses"}),
        ("litellm", {"chat", "responses"}),
        ("pydantic_ai", {"chat", "responses"}),
        ("instructor", {"chat", "responses"}),
        ("llm", {"chat", "responses"}),
        ("ai_sdk", {"chat"}),
    ],
)
def test_a_client_gets_what_the_pair_writes(
    client: str, apis: set[str], server: RunningServer, expected: AIMessage
) -> None:
    found = server.ask(*program(client))
    assert apis <= found.keys()
    for api in apis:
        check(found[api], expected)


def check(found: dict[str, Any], expected: AIMessage) -> None:
    """Compare what a client got through one API with the reply of the pair. Not every client shows everything."""
    assert pocket.boxed(expected.text) == PROBLEM.answer
    thought = "".join(block.get("reasoning", "") for block in expected.content_blocks if block["type"] == "reasoning")
    values = {"answer": expected.text, "final": expected.text, "thought": thought}
    for name in values.keys() & found.keys():
        assert found[name].strip() == values[name].strip(), name
    if "pieces" in found:
        assert "".join(found["pieces"]).strip() == expected.text.strip()
        assert len(found["pieces"]) > 1
    if "called" in found:
        called = found["called"]
        arguments = json.loads(called) if isinstance(called, str) else called
        assert arguments.keys() == {"colour"}
        assert arguments["colour"] in COLOURS
    if "result" in found:
        assert found["result"] in {f"{colour} is chosen" for colour in COLOURS}
    if "chosen" in found:
        assert found["chosen"] in COLOURS


def test_the_log_and_the_metrics_show_the_requests_and_no_text(server: RunningServer) -> None:
    """Every line of the log is JSON. This test asks too, so it also holds if it runs alone."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": PROBLEM.question}]}
    with httpx2.Client(headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as asking:
        reply = asking.post(f"{server.url}/chat/completions", json=body)
        # The line of the reply is written before the server answers the next request.
        metrics = asking.get(f"{server.url.removesuffix('/v1')}/metrics").text
    written = server.log.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in written.splitlines()]
    (line,) = (line for line in lines if line.get("id") == reply.headers["x-request-id"])
    assert (line["status"], line["outcome"], line["endpoint"]) == (200, "complete", "/v1/chat/completions")
    assert line["takeovers"] == reply.json()["speculative_thinking"]["takeovers"]
    assert PROBLEM.question[:30] not in written
    assert KEY not in written
    done = sum(line.get("endpoint") == "/v1/chat/completions" and line.get("status") == 200 for line in lines)
    assert f'spec_thinking_requests_total{{endpoint="/v1/chat/completions",status="200"}} {done}.0' in metrics
