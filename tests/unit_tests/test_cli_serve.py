"""The command `spec-thinking serve`, up to the point where it listens."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.cli.serve import KEY_VARIABLE, client_key
from langchain_spec_thinking.serving import connections
from tests.unit_tests.asgi import Transport

KEY = "sk-client"


class Listener:
    """Takes the place of uvicorn."""

    def __init__(self) -> None:
        self.app: Any = None
        self.settings: dict[str, Any] = {}

    def run(self, app: Any, **settings: Any) -> None:
        self.app, self.settings = app, settings


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    listener = Listener()
    monkeypatch.setattr(connections, "uvicorn", listener)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return listener


def serve(*options: str) -> Any:
    return CliRunner().invoke(app, ["serve", *options], catch_exceptions=False)


async def listed(application: Any, key: str) -> httpx2.Response:
    asking = httpx2.AsyncClient(transport=Transport(application))
    return await asking.get("http://pair.test/v1/models", headers={"Authorization": f"Bearer {key}"})


async def test_the_pocket_pair_is_served_by_default(listener: Listener) -> None:
    result = serve()
    assert result.exit_code == 0, result.output
    (model,) = (await listed(listener.app, KEY)).json()["data"]
    assert (model["id"], model["max_model_len"]) == ("speculative-thinking", 2048)
    assert (listener.settings["host"], listener.settings["port"]) == ("127.0.0.1", 8080)
    assert (listener.settings["access_log"], listener.settings["timeout_graceful_shutdown"]) == (False, 10)
    assert KEY not in result.output


async def test_the_options_name_the_models_the_policy_the_key_and_the_limits(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-mine")
    options = {
        "--speculative": "pocket:small",
        "--target": "pocket:large",
        "--policy": "gated",
        "--model-name": "tea",
        "--host": "0.0.0.0",  # noqa: S104 - nothing listens
        "--port": "9000",
        "--api-key-env": "MY_KEY",
        "--max-tokens": "9",
        "--reply-seconds": "1800",
    }
    result = serve(*[word for option in options.items() for word in option])
    assert result.exit_code == 0, result.output
    limits = listener.app.state.limits
    assert (limits.tokens, limits.reply_seconds) == (9, 1800)
    assert (listener.settings["host"], listener.settings["port"]) == ("0.0.0.0", 9000)  # noqa: S104 - as above
    assert (await listed(listener.app, KEY)).status_code == 401
    assert (await listed(listener.app, "sk-mine")).json()["data"][0]["id"] == "tea"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--api-key-env", "NOT_SET"], 1, "--api-key-env: expected the name of an environment variable"),
        (["--speculative", "pocket:small"], 1, "name both models"),
        (["--policy", "gated:fly=1"], 1, "fly: no such setting"),
        (["--speculative", "pocket:medium", "--target", "pocket:large"], 1, "pocket:medium: expected pocket:small"),
        (["--port", "0"], 2, "--port"),
        (["--max-tokens", "0"], 2, "--max-tokens"),
        *[(["--reply-seconds", seconds], 2, "--reply-seconds") for seconds in ("0", "-1", "inf", "soon")],
    ],
)
def test_invalid_options_give_an_error_before_anything_listens(
    options: list[str], code: int, words: str, listener: Listener
) -> None:
    result = serve(*options)
    assert result.exit_code == code
    assert words in result.output
    assert "Traceback" not in result.output
    assert listener.app is None


def test_a_key_is_never_shown(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "")
    with pytest.raises(ValueError, match=KEY_VARIABLE):
        client_key()
    assert serve().exit_code == 1
    mistaken = serve("--api-key-env", KEY)  # the key instead of the name of its variable
    assert mistaken.exit_code == 1
    assert KEY not in mistaken.output
    monkeypatch.setenv(KEY_VARIABLE, f"{KEY}\n")  # no client can send it
    refused = serve()
    assert "ASCII characters" in refused.output
    assert KEY not in refused.output
    assert listener.app is None


MISSING = """
import sys
sys.modules.update(dict.fromkeys(("fastapi", "prometheus_client", "uvicorn")))  # Python takes them for missing ones
import langchain_spec_thinking, langchain_spec_thinking.cli.commands as commands
commands.app(["serve"])
"""


def test_without_the_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package and the other commands need no server."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    ended = subprocess.run([sys.executable, "-c", MISSING], check=False, capture_output=True, text=True)  # noqa: S603 - our own code
    assert ended.returncode == 1
    assert "'.[server]'" in ended.stderr.replace("\n", "")
    assert "Traceback" not in ended.stderr
