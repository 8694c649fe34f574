"""The command `llm`, which reads the address of the server from a file of its user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.integration_tests.clients.asked import KEY, MODEL, QUESTION, URL, Choice, report

MODELS = [
    {
        "model_id": "pair",
        "model_name": MODEL,
        "api_base": URL,
        "api_key_name": "pair",
        "supports_schema": True,
        "supports_tools": True,
    }
]


def llm(folder: Path, *options: str) -> str:
    """Run the command and return what it prints."""
    command = [str(Path(sys.executable).with_name("llm")), "prompt", "--model", "pair", "--key", KEY, QUESTION]
    environment = {**os.environ, "LLM_USER_PATH": str(folder)}
    ended = subprocess.run([*command, *options], env=environment, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command
    return ended.stdout.strip()


with tempfile.TemporaryDirectory() as name:
    user = Path(name)
    (user / "extra-openai-models.yaml").write_text(json.dumps(MODELS), encoding="utf-8")  # JSON is YAML too
    schema = json.dumps(Choice.model_json_schema())
    chosen = json.loads(llm(user, "--schema", schema, "--no-stream"))
    report(chat={"answer": llm(user, "--no-stream"), "final": llm(user), "chosen": chosen["colour"]})
