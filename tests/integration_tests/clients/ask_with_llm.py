"""The command `llm`, through both APIs. It reads the address of the server from a file of its user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.integration_tests.clients.asked import KEY, MODEL, QUESTION, URL, Choice, report

SERVER = {"model_name": MODEL, "api_base": URL, "api_key_name": "pair", "supports_schema": True}
MODELS = [SERVER | {"model_id": "chat"}, SERVER | {"model_id": "responses", "responses": True}]
SCHEMA = json.dumps(Choice.model_json_schema())


def llm(folder: Path, model: str, *options: str) -> str:
    """Run the command and return what it prints."""
    command = [str(Path(sys.executable).with_name("llm")), "prompt", "--model", model, "--key", KEY, QUESTION]
    environment = {**os.environ, "LLM_USER_PATH": str(folder)}
    ended = subprocess.run([*command, *options], env=environment, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command
    return ended.stdout.strip()


def main() -> None:
    """Ask for an answer in one piece, in a stream, and as JSON."""
    with tempfile.TemporaryDirectory() as name:
        user = Path(name)
        (user / "extra-openai-models.yaml").write_text(json.dumps(MODELS), encoding="utf-8")  # JSON is YAML too
        chosen = json.loads(llm(user, "chat", "--no-stream", "--schema", SCHEMA))
        chat = {"answer": llm(user, "chat"), "chosen": chosen["colour"]}
        report(chat=chat, responses={"answer": llm(user, "responses", "--no-stream"), "final": llm(user, "responses")})


main()
